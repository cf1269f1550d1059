//! Removes secrets from bytes while they are read, so that they are neither hashed nor written.
//!
//! Each filter works byte by byte and holds no more than a few bytes back, however the input is
//! cut.

/// What is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedactionRule {
    /// From `/proc/PID/environ`: all but the names. A piece without `=` is no variable (a process
    /// may write anything there) and goes away whole.
    Environment,
    /// From `passwd` and `group`: a second field that may be a password's hash.
    Accounts,
    /// From JSON: the values in any array of texts that is called `env`, as container engines write
    /// them.
    JsonEnvironment,
}

impl RedactionRule {
    /// For people, in the bundle's config.
    #[must_use]
    pub fn what(self) -> &'static str {
        match self {
            Self::Environment => "values of environment variables of processes",
            Self::Accounts => "password fields of passwd and group files",
            Self::JsonEnvironment => "values of environment variables in container configurations",
        }
    }
}

/// Stands where a password's hash stood.
const HASH_REMOVED: &[u8] = b"[removed]";
/// Bytes of a variable's name that are held back until its `=` is seen; a longer one is taken for
/// no name.
const NAME_BYTES_MAX: usize = 4096;

/// A [`RedactionRule`] under way.
#[derive(Debug)]
pub(crate) struct RedactionFilter {
    kind: RedactionRule,
    held: Vec<u8>,
    place: FilterState,
    /// Things removed.
    pub count: u64,
}

/// Where in its input a filter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FilterState {
    /// Environment: in a name. Accounts: in the first field.
    Name,
    /// Environment: in a value.
    Value,
    /// Accounts: in the second field.
    Password,
    /// Accounts: behind the second field.
    Rest,
    /// JSON.
    Json(JsonState),
}

/// Where in a JSON text the filter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum JsonState {
    /// Between tokens; `named` if the last was the text `env`, `ready` if a colon followed it.
    Outside { named: bool, ready: bool },
    /// In a text.
    Text { escaped: bool },
    /// In the array, between texts.
    Array,
    /// In a text of the array; `value` behind its `=`.
    Variable { value: bool, escaped: bool },
}

impl RedactionFilter {
    pub(super) fn new(kind: RedactionRule) -> Self {
        let place = match kind {
            RedactionRule::JsonEnvironment => FilterState::Json(JsonState::Outside {
                named: false,
                ready: false,
            }),
            RedactionRule::Environment | RedactionRule::Accounts => FilterState::Name,
        };
        Self {
            kind,
            held: Vec::new(),
            place,
            count: 0,
        }
    }

    /// Takes the next bytes and appends what may be kept to `out`.
    pub(super) fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        for &b in bytes {
            match self.kind {
                RedactionRule::Environment => self.environment(b, out),
                RedactionRule::Accounts => self.accounts(b, out),
                RedactionRule::JsonEnvironment => self.json(b, out),
            }
        }
    }

    /// The input has ended.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        match self.place {
            FilterState::Name if self.kind == RedactionRule::Environment => {
                self.count += u64::from(!self.held.is_empty())
            }
            FilterState::Password => self.end_password(out),
            _ => {}
        }
        self.held.clear();
    }

    fn environment(&mut self, b: u8, out: &mut Vec<u8>) {
        match (self.place, b) {
            (FilterState::Name, b'=') => {
                out.append(&mut self.held);
                out.push(0);
                self.count += 1;
                self.place = FilterState::Value;
            }
            (FilterState::Name, 0) => {
                self.count += u64::from(!self.held.is_empty());
                self.held.clear();
            }
            (FilterState::Name, _) if self.held.len() < NAME_BYTES_MAX => self.held.push(b),
            (FilterState::Name, _) => {
                self.held.clear();
                self.count += 1;
                self.place = FilterState::Value;
            }
            (_, 0) => self.place = FilterState::Name,
            _ => {}
        }
    }

    fn accounts(&mut self, b: u8, out: &mut Vec<u8>) {
        match (self.place, b) {
            (FilterState::Password, b':' | b'\n') => {
                self.end_password(out);
                self.place = if b == b'\n' {
                    FilterState::Name
                } else {
                    FilterState::Rest
                };
                out.push(b);
            }
            (FilterState::Password, _) => {
                if self.held.len() < NAME_BYTES_MAX {
                    self.held.push(b);
                }
            }
            (place, _) => {
                out.push(b);
                self.place = match (place, b) {
                    (_, b'\n') => FilterState::Name,
                    (FilterState::Name, b':') => FilterState::Password,
                    _ => place,
                };
            }
        }
    }

    /// Keeps what is certainly no hash: `x`, `*`, `!` and the like, or nothing, are shorter than
    /// any hash.
    fn end_password(&mut self, out: &mut Vec<u8>) {
        if self.held.len() <= 2 || self.held == b"*NP*" {
            out.append(&mut self.held);
        } else {
            self.held.clear();
            self.count += 1;
            out.extend_from_slice(HASH_REMOVED);
        }
    }

    fn json(&mut self, b: u8, out: &mut Vec<u8>) {
        let FilterState::Json(place) = self.place else {
            return;
        };
        let next = match place {
            JsonState::Outside { named, ready } => self.json_outside(b, named, ready),
            JsonState::Text { escaped: false } if b == b'"' => {
                let named = self.held.eq_ignore_ascii_case(b"env");
                self.held.clear();
                JsonState::Outside {
                    named,
                    ready: false,
                }
            }
            JsonState::Text { escaped } => {
                if self.held.len() < 4 {
                    self.held.push(b); // enough to tell `env` from anything else
                }
                JsonState::Text {
                    escaped: !escaped && b == b'\\',
                }
            }
            JsonState::Array if b == b'"' => JsonState::Variable {
                value: false,
                escaped: false,
            },
            JsonState::Array if b == b']' => JsonState::Outside {
                named: false,
                ready: false,
            },
            JsonState::Array => JsonState::Array,
            JsonState::Variable { escaped: false, .. } if b == b'"' => JsonState::Array,
            JsonState::Variable { value, escaped } => {
                let begins = !value && b == b'=';
                self.count += u64::from(begins);
                JsonState::Variable {
                    value: value || begins,
                    escaped: !escaped && b == b'\\',
                }
            }
        };
        let inside_value =
            matches!(place, JsonState::Variable { value: true, .. }) && next != JsonState::Array;
        if !inside_value {
            out.push(b);
        }
        self.place = FilterState::Json(next);
    }

    fn json_outside(&mut self, b: u8, named: bool, ready: bool) -> JsonState {
        match b {
            b'"' => JsonState::Text { escaped: false },
            b':' if named => JsonState::Outside {
                named: false,
                ready: true,
            },
            b'[' if ready => JsonState::Array,
            b' ' | b'\t' | b'\r' | b'\n' => JsonState::Outside { named, ready },
            _ => JsonState::Outside {
                named: false,
                ready: false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The output and the count, which must not depend on how the input is cut.
    fn filter(kind: RedactionRule, input: &[u8]) -> (Vec<u8>, u64) {
        let run = |step: usize| {
            let (mut filter, mut out) = (RedactionFilter::new(kind), Vec::new());
            for part in input.chunks(step) {
                filter.push(part, &mut out);
            }
            filter.finish(&mut out);
            (out, filter.count)
        };
        let whole = run(input.len().max(1));
        for step in 1..8 {
            assert_eq!(run(step), whole);
        }
        whole
    }

    #[test]
    fn only_the_names_of_variables_stay() {
        let (out, count) = filter(
            RedactionRule::Environment,
            b"PATH=/bin\0TOKEN=a=b\n\0junk\0\0EMPTY=\0tail of a secret",
        );
        assert_eq!(out, b"PATH\0TOKEN\0EMPTY\0");
        assert_eq!(count, 5);
        let (out, _) = filter(RedactionRule::Environment, &[b'x'; 10_000]);
        assert_eq!(out, b"");
    }

    #[test]
    fn a_hash_in_passwd_is_removed_and_anything_else_stays() {
        let passwd = b"root:x:0:0:root:/root:/bin/sh\nold:$6$salt$hash:1:1::/:/bin/sh\n+nis\nno:*:1\nlast:ab01FAX.bQRSU";
        let (out, count) = filter(RedactionRule::Accounts, passwd);
        let expected = b"root:x:0:0:root:/root:/bin/sh\nold:[removed]:1:1::/:/bin/sh\n+nis\nno:*:1\nlast:[removed]";
        assert_eq!((out.as_slice(), count), (&expected[..], 2));
    }

    #[test]
    fn values_in_a_containers_configuration_are_removed() {
        let json =
            br#"{"Config":{"Env" : ["A=secret \" \\","B=","PATH"],"Cmd":["x=1"]},"env":["C=x]"],"environ":["D=1"],"k":"env"}"#;
        let (out, count) = filter(RedactionRule::JsonEnvironment, json);
        let expected = br#"{"Config":{"Env" : ["A=","B=","PATH"],"Cmd":["x=1"]},"env":["C="],"environ":["D=1"],"k":"env"}"#;
        assert_eq!(
            (String::from_utf8_lossy(&out), count),
            (String::from_utf8_lossy(expected), 3)
        );
    }
}
