//! XML of AWS as JSON, so that the same pointers lead into it. Attributes and namespaces are left
//! out: they say nothing in these answers.

use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::Event;
use serde_json::{Map, Value};

/// Deepest nesting that is read.
const DEPTH_MAX: usize = 32;
/// Names of the elements of a list, in the query protocols of AWS.
const LIST_ELEMENTS: [&str; 3] = ["member", "item", "entry"];

/// An element whose end has not come.
#[derive(Default)]
struct OpenElement {
    name: String,
    text: String,
    members: Map<String, Value>,
    elements: Vec<Value>,
}

/// The content of the root element of `document`; `None` if it is not well-formed. An element
/// without children is a text, an empty one null. One that occurs several times is an array, and so
/// is what has children called `member`, `item` or `entry` only.
#[must_use]
pub fn to_json(document: &[u8]) -> Option<Value> {
    let mut reader = Reader::from_reader(document);
    let (mut open, mut root): (Vec<OpenElement>, Option<Value>) = (Vec::new(), None);
    loop {
        match reader.read_event().ok()? {
            Event::Start(start) => {
                if root.is_some() || open.len() == DEPTH_MAX {
                    return None;
                }
                open.push(OpenElement::named(start.local_name().as_ref())?);
            }
            Event::Empty(start) => {
                let element = OpenElement::named(start.local_name().as_ref())?;
                close(element, &mut open, &mut root)?;
            }
            Event::End(_) => close(open.pop()?, &mut open, &mut root)?,
            Event::Text(text) => {
                if let Some(element) = open.last_mut() {
                    element.text.push_str(&text.decode().ok()?);
                }
            }
            Event::CData(text) => open.last_mut()?.text.push_str(&text.decode().ok()?),
            Event::GeneralRef(reference) => {
                let text = &mut open.last_mut()?.text;
                match reference.resolve_char_ref().ok()? {
                    Some(c) => text.push(c),
                    None => text.push_str(resolve_predefined_entity(&reference.decode().ok()?)?),
                }
            }
            Event::Decl(_) | Event::Comment(_) | Event::PI(_) => {}
            Event::DocType(_) => return None,
            Event::Eof => return root.filter(|_| open.is_empty()),
        }
    }
}

impl OpenElement {
    fn named(name: &[u8]) -> Option<Self> {
        Some(Self {
            name: std::str::from_utf8(name).ok()?.to_owned(),
            ..Self::default()
        })
    }

    fn add(&mut self, name: String, value: Value) {
        if LIST_ELEMENTS.contains(&name.as_str()) {
            self.elements.push(value);
            return;
        }
        match self.members.get_mut(&name) {
            Some(Value::Array(values)) => values.push(value),
            Some(first) => *first = Value::Array(vec![first.take(), value]),
            None => {
                self.members.insert(name, value);
            }
        }
    }

    fn value(mut self) -> Value {
        if self.members.is_empty() && !self.elements.is_empty() {
            return Value::Array(self.elements);
        }
        for element in self.elements {
            self.members
                .entry("member")
                .or_insert_with(|| Value::Array(Vec::new()));
            if let Some(Value::Array(elements)) = self.members.get_mut("member") {
                elements.push(element);
            }
        }
        if !self.members.is_empty() {
            Value::Object(self.members)
        } else if self.text.trim().is_empty() {
            Value::Null
        } else {
            Value::String(self.text)
        }
    }
}

fn close(
    mut element: OpenElement,
    open: &mut [OpenElement],
    root: &mut Option<Value>,
) -> Option<()> {
    let name = std::mem::take(&mut element.name);
    match open.last_mut() {
        Some(parent) => parent.add(name, element.value()),
        None if root.is_none() => *root = Some(element.value()),
        None => return None,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn elements_become_members_lists_and_texts() {
        let document = r#"<?xml version="1.0"?>
<Answer xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><Result>
  <Users><member><Name>a &amp; b&#x21;</Name><Tags/></member></Users>
  <None/> <Key>1</Key><Key>2</Key><Text><![CDATA[<x>]]></Text>
</Result></Answer>"#;
        let expected = json!({"Result": {
            "Users": [{"Name": "a & b!", "Tags": null}],
            "None": null, "Key": ["1", "2"], "Text": "<x>",
        }});
        assert_eq!(to_json(document.as_bytes()), Some(expected));
    }

    #[test]
    fn hostile_documents_are_refused() {
        let deep = "<a>".repeat(100);
        for bad in [
            "",
            "{}",
            "<a>",
            "<a></b>",
            "<a/><b/>",
            "<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>",
            "<a>&b;</a>",
            &deep,
        ] {
            assert_eq!(to_json(bad.as_bytes()), None, "{bad}");
        }
    }
}
