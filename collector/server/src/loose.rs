//! What clients may write in more than one way, read into the one type that it is.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};

use domain::incident::{InitialReport, Severity};

/// Programs write severities as numbers, and people as in the runbook.
pub(super) fn severity<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Severity, D::Error> {
    struct Read;
    impl Visitor<'_> for Read {
        type Value = Severity;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a severity: 1 to 4, or a text such as SEV-2")
        }

        fn visit_u64<E: Error>(self, number: u64) -> Result<Severity, E> {
            number
                .to_string()
                .parse()
                .map_err(|_| E::invalid_value(Unexpected::Unsigned(number), &self))
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Severity, E> {
            text.parse()
                .map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
        }
    }
    deserializer.deserialize_any(Read)
}

pub(super) fn severity_if_any<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Severity>, D::Error> {
    severity(deserializer).map(Some)
}

/// A form sends the runbook's five points, and a script what it knows: that is the current
/// evidence.
pub(super) fn report<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<InitialReport, D::Error> {
    struct Read;
    impl<'de> Visitor<'de> for Read {
        type Value = InitialReport;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a report: an object such as {\"reportedBy\": \"scanner\"}, or a text")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<InitialReport, E> {
            let current_evidence = Some(text.parse().map_err(E::custom)?);
            Ok(InitialReport {
                current_evidence,
                ..InitialReport::default()
            })
        }

        fn visit_map<M: MapAccess<'de>>(self, members: M) -> Result<InitialReport, M::Error> {
            InitialReport::deserialize(MapAccessDeserializer::new(members))
        }
    }
    deserializer.deserialize_any(Read)
}

/// An object, member by member. Derived code would also take a list of its members in their order,
/// which nobody means.
pub(super) fn object<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    object_if_any(deserializer)?
        .ok_or_else(|| D::Error::invalid_type(Unexpected::Unit, &"an object"))
}

/// The same, or `null`.
pub(super) fn object_if_any<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    struct Read<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for Read<T> {
        type Value = Option<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_unit<E: Error>(self) -> Result<Option<T>, E> {
            Ok(None)
        }

        fn visit_map<M: MapAccess<'de>>(self, members: M) -> Result<Option<T>, M::Error> {
            T::deserialize(MapAccessDeserializer::new(members)).map(Some)
        }
    }
    deserializer.deserialize_any(Read(PhantomData))
}

/// Tells `null` from what is absent.
pub(super) fn null_or_value<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_severity_is_a_number_or_a_word() {
        for good in [json!(2), json!("2"), json!("SEV-2"), json!("sev2")] {
            assert_eq!(severity(good).expect("a severity"), Severity::Sev2);
        }
        for bad in [
            json!(0),
            json!(5),
            json!(2.5),
            json!(-1),
            json!("high"),
            Value::Null,
            json!([2]),
        ] {
            assert!(severity(bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_object_is_no_list() {
        assert_eq!(
            object_if_any::<InitialReport, _>(json!(null)).expect("nothing"),
            None
        );
        assert!(
            object_if_any::<InitialReport, _>(json!({}))
                .expect("an object")
                .is_some()
        );
        assert!(object::<InitialReport, _>(json!({})).is_ok());
        for bad in [json!([]), json!(["Eve", null]), json!("Eve"), json!(1)] {
            let error = object_if_any::<InitialReport, _>(bad)
                .expect_err("no object")
                .to_string();
            assert!(error.contains("expected an object"), "{error}");
        }
        assert!(object::<InitialReport, _>(json!(null)).is_err());
    }

    #[test]
    fn a_report_is_an_object_or_what_is_known() {
        let text =
            report(json!("Key AKIA… in a public gist\nseen by the scanner")).expect("a text");
        assert_eq!(
            text.current_evidence.as_ref().map(|prose| prose.as_str()),
            Some("Key AKIA… in a public gist\nseen by the scanner")
        );
        assert_eq!(
            text.missing(),
            [
                "who reported",
                "when",
                "affected systems",
                "suspected impact"
            ]
        );
        assert_eq!(
            report(json!({"reportedBy": "Eve"}))
                .expect("an object")
                .missing()
                .len(),
            4
        );
        for (bad, said) in [
            (json!({"reporter": "Eve"}), "unknown field `reporter`"),
            (json!(""), "text is empty"),
            (json!("\u{1b}[2J"), "control or invisible character"),
            (json!("x".repeat(16 * 1024 + 1)), "limit is 16384"),
            (json!(["Eve"]), "expected a report: an object such as"),
            (json!(null), "expected a report"),
        ] {
            let error = report(bad).expect_err(said).to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
