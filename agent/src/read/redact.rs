//! Removes secrets from bytes while they are read, so that they are neither hashed nor written.
//!
//! Each filter works byte by byte and holds back at most one name or password field, however the
//! input is cut.

/// Which secrets are removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RedactionRule {
    /// From `/proc/PID/environ`: everything but the names. A part without `=` is not a variable (a
    /// process may write anything there) and is removed whole.
    Environment,
    /// From `passwd` and `group`: a second field that may be a password's hash.
    Accounts,
    /// From JSON: the values in any array of strings that is called `env`, in any case, as
    /// container engines write them.
    JsonEnvironment,
}

impl RedactionRule {
    /// For people, in the bundle's config.
    pub(crate) fn what(self) -> &'static str {
        match self {
            Self::Environment => "values of environment variables of processes",
            Self::Accounts => "password fields of passwd and group files",
            Self::JsonEnvironment => "values of environment variables in container configurations",
        }
    }
}

/// Replaces a password hash.
const HASH_REMOVED: &[u8] = b"[removed]";
/// Bytes of a variable's name that are held back until its `=` is seen; what is longer is not a
/// name.
const NAME_BYTES_MAX: usize = 4096;

/// Applies a [`RedactionRule`] to one object.
#[derive(Debug)]
pub(crate) struct RedactionFilter {
    rule: RedactionRule,
    /// Bytes that are kept or removed depending on what follows.
    held: Vec<u8>,
    state: FilterState,
    /// Secrets removed.
    pub(crate) count: u64,
}

/// What the next byte belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FilterState {
    /// Environment: in a name. Accounts: in the first field.
    Name,
    /// Environment: in a value.
    Value,
    /// Accounts: in the second field.
    Password,
    /// Accounts: after the second field.
    Rest,
    /// JSON.
    Json(JsonState),
}

/// What the next byte of JSON belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum JsonState {
    /// Between tokens; `after_env` if the last was the string `env`, `after_colon` if a colon
    /// followed it.
    Outside { after_env: bool, after_colon: bool },
    /// In a string.
    Text { escaped: bool },
    /// In the array, between strings.
    Array,
    /// In a string of the array; `in_value` after its `=`.
    Variable { in_value: bool, escaped: bool },
}

impl RedactionFilter {
    pub(super) fn new(rule: RedactionRule) -> Self {
        let state = match rule {
            RedactionRule::JsonEnvironment => FilterState::Json(JsonState::Outside {
                after_env: false,
                after_colon: false,
            }),
            RedactionRule::Environment | RedactionRule::Accounts => FilterState::Name,
        };
        Self {
            rule,
            held: Vec::new(),
            state,
            count: 0,
        }
    }

    /// Takes the next bytes and appends what may be kept to `out`.
    pub(super) fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        for &b in bytes {
            match self.rule {
                RedactionRule::Environment => self.environment(b, out),
                RedactionRule::Accounts => self.accounts(b, out),
                RedactionRule::JsonEnvironment => self.json(b, out),
            }
        }
    }

    /// The input has ended.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        match self.state {
            // the last part had no `=`
            FilterState::Name if self.rule == RedactionRule::Environment => {
                self.count += u64::from(!self.held.is_empty())
            }
            FilterState::Password => self.end_password(out),
            FilterState::Name | FilterState::Value | FilterState::Rest | FilterState::Json(_) => {}
        }
        self.held.clear();
    }

    fn environment(&mut self, b: u8, out: &mut Vec<u8>) {
        match (self.state, b) {
            (FilterState::Name, b'=') => {
                out.append(&mut self.held);
                out.push(0);
                self.count += 1;
                self.state = FilterState::Value;
            }
            (FilterState::Name, 0) => {
                self.count += u64::from(!self.held.is_empty());
                self.held.clear();
            }
            (FilterState::Name, _) if self.held.len() < NAME_BYTES_MAX => self.held.push(b),
            // too long for a name: drop it up to the next NUL, as if it were a value
            (FilterState::Name, _) => {
                self.held.clear();
                self.count += 1;
                self.state = FilterState::Value;
            }
            (FilterState::Value, 0) => self.state = FilterState::Name,
            (
                FilterState::Value
                | FilterState::Password
                | FilterState::Rest
                | FilterState::Json(_),
                _,
            ) => {}
        }
    }

    fn accounts(&mut self, b: u8, out: &mut Vec<u8>) {
        match (self.state, b) {
            (FilterState::Password, b':' | b'\n') => {
                self.end_password(out);
                self.state = if b == b'\n' {
                    FilterState::Name
                } else {
                    FilterState::Rest
                };
                out.push(b);
            }
            (FilterState::Password, _) => {
                // No hash is that long, and a hostile file must not fill the memory.
                if self.held.len() < NAME_BYTES_MAX {
                    self.held.push(b);
                }
            }
            (state, _) => {
                out.push(b);
                self.state = match (state, b) {
                    (_, b'\n') => FilterState::Name,
                    (FilterState::Name, b':') => FilterState::Password,
                    _ => state,
                };
            }
        }
    }

    /// Keeps a field that cannot be a hash: `x`, `*`, `!` and the like are shorter than any hash.
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
        let FilterState::Json(state) = self.state else {
            return; // this rule has no other states
        };
        let next = match state {
            JsonState::Outside {
                after_env,
                after_colon,
            } => self.json_outside(b, after_env, after_colon),
            JsonState::Text { escaped: false } if b == b'"' => {
                // Docker writes `Env`, the OCI `env`.
                let after_env = self.held.eq_ignore_ascii_case(b"env");
                self.held.clear();
                JsonState::Outside {
                    after_env,
                    after_colon: false,
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
                in_value: false,
                escaped: false,
            },
            JsonState::Array if b == b']' => JsonState::Outside {
                after_env: false,
                after_colon: false,
            },
            JsonState::Array => JsonState::Array,
            JsonState::Variable { escaped: false, .. } if b == b'"' => JsonState::Array,
            JsonState::Variable { in_value, escaped } => {
                let begins = !in_value && b == b'=';
                self.count += u64::from(begins);
                JsonState::Variable {
                    in_value: in_value || begins,
                    escaped: !escaped && b == b'\\',
                }
            }
        };
        let is_secret =
            // The closing quote is kept, so that the output is still JSON.
            matches!(state, JsonState::Variable { in_value: true, .. }) && next != JsonState::Array;
        if !is_secret {
            out.push(b);
        }
        self.state = FilterState::Json(next);
    }

    fn json_outside(&mut self, b: u8, after_env: bool, after_colon: bool) -> JsonState {
        match b {
            b'"' => JsonState::Text { escaped: false },
            b':' if after_env => JsonState::Outside {
                after_env: false,
                after_colon: true,
            },
            b'[' if after_colon => JsonState::Array,
            b' ' | b'\t' | b'\r' | b'\n' => JsonState::Outside {
                after_env,
                after_colon,
            },
            // another token: whatever follows is not the array of `env`
            _ => JsonState::Outside {
                after_env: false,
                after_colon: false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The output and the count, which must not depend on how the input is cut.
    fn filter(rule: RedactionRule, input: &[u8]) -> (Vec<u8>, u64) {
        let run = |step: usize| {
            let (mut filter, mut out) = (RedactionFilter::new(rule), Vec::new());
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
    fn keeps_only_names_of_environment_variables() {
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
    fn removes_only_hashes_from_passwd() {
        let passwd = b"root:x:0:0:root:/root:/bin/sh\nold:$6$salt$hash:1:1::/:/bin/sh\n+nis\nno:*:1\nlast:ab01FAX.bQRSU";
        let (out, count) = filter(RedactionRule::Accounts, passwd);
        let expected = b"root:x:0:0:root:/root:/bin/sh\nold:[removed]:1:1::/:/bin/sh\n+nis\nno:*:1\nlast:[removed]";
        assert_eq!((out.as_slice(), count), (&expected[..], 2));
    }

    #[test]
    fn removes_environment_values_from_json() {
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
