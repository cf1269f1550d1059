//! Which log files have been captured, for the difference to what a listing has. Pure.
//!
//! The last name alone does not tell which files are captured: CloudTrail delivers some late, under
//! names that sort before it. A restart lists each day again. If the files up to the last captured
//! name are exactly those that were captured, it goes on after them; else it captures the day again.

use std::collections::{BTreeMap, HashSet};

use evidence_format::digest::Digest;
use serde::{Deserialize, Serialize};

/// Longest cursor; it is written with each group of files. Days that have no room in it are
/// captured again after a restart.
const CURSOR_BYTES_MAX: usize = 56 << 10;

/// What has been captured of one day in one region.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CapturedDay {
    #[serde(rename = "n")]
    files: u32,
    /// The digests of their names, combined so that the order does not matter.
    #[serde(rename = "x")]
    names: String,
    /// The last part of the last of their names.
    #[serde(rename = "u")]
    last: String,
}

/// The log files that a step has captured.
#[derive(Debug, Default)]
pub(super) struct CapturedFiles {
    days: BTreeMap<String, CapturedDay>,
    /// Days of an earlier run that were not listed in this one.
    earlier: BTreeMap<String, CapturedDay>,
    names: HashSet<[u8; 32]>,
}

impl CapturedFiles {
    /// Reads what [`Self::cursor`] wrote. Anything else costs only time.
    pub(super) fn resumed(cursor: Option<&str>) -> Self {
        let earlier = cursor.and_then(|text| serde_json::from_str(text).ok());
        Self {
            earlier: earlier.unwrap_or_default(),
            ..Self::default()
        }
    }

    /// Those of `keys`, which are sorted and all that the day `day` has, that are not captured.
    pub(super) fn missing(&mut self, day: &str, keys: &[String]) -> Vec<String> {
        if let Some(earlier) = self.earlier.remove(day) {
            let known = keys
                .iter()
                .take_while(|key| file_name(key) <= earlier.last.as_str());
            let mut same = CapturedDay::default();
            known.clone().for_each(|key| same.add(key));
            if same == earlier {
                self.names.extend(known.map(|key| digest_of(key)));
                self.days.insert(day.to_owned(), same);
            }
        }
        let missing = keys.iter().filter(|key| !self.has(key));
        missing.cloned().collect()
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.names.contains(&digest_of(key))
    }

    pub(super) fn add(&mut self, day: &str, key: &str) {
        if self.names.insert(digest_of(key)) {
            self.days.entry(day.to_owned()).or_default().add(key);
        }
    }

    /// What a restart resumes from.
    pub(super) fn cursor(&self) -> String {
        let mut days: BTreeMap<&str, &CapturedDay> = BTreeMap::new();
        days.extend(self.earlier.iter().map(|(day, own)| (day.as_str(), own)));
        days.extend(self.days.iter().map(|(day, own)| (day.as_str(), own)));
        loop {
            let text = serde_json::to_string(&days).expect("texts and numbers are JSON");
            if text.len() <= CURSOR_BYTES_MAX {
                return text;
            }
            let surplus = 1 + days.len() * (text.len() - CURSOR_BYTES_MAX) / text.len();
            days = days.into_iter().skip(surplus).collect();
        }
    }
}

impl CapturedDay {
    fn add(&mut self, key: &str) {
        let digest = digest_of(key);
        let half = u64::from_be_bytes(*digest.first_chunk().expect("32 bytes"));
        let own = u64::from_str_radix(&self.names, 16).unwrap_or(0);
        self.names = format!("{:x}", own ^ half);
        self.files += 1;
        let name = file_name(key);
        if self.last.as_str() < name {
            name.clone_into(&mut self.last);
        }
    }
}

fn file_name(key: &str) -> &str {
    key.rsplit('/').next().unwrap_or_default()
}

fn digest_of(key: &str) -> [u8; 32] {
    *Digest::of(key.as_bytes()).as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| format!("f/{name}")).collect()
    }

    #[test]
    fn late_file_that_sorts_before_others_is_found() {
        let mut captured = CapturedFiles::default();
        for key in captured.missing("d", &keys(&["b", "d"])) {
            captured.add("d", &key);
        }
        assert_eq!(
            captured.missing("d", &keys(&["a", "b", "c", "d"])),
            keys(&["a", "c"])
        );
    }

    #[test]
    fn restart_goes_on_where_the_listing_is_still_the_same() {
        let mut captured = CapturedFiles::default();
        for key in keys(&["a", "b"]) {
            captured.add("d", &key);
        }
        let resumed = || CapturedFiles::resumed(Some(&captured.cursor()));
        let mut same = resumed();
        assert_eq!(same.missing("d", &keys(&["a", "b", "c"])), keys(&["c"]));
        assert_eq!(same.missing("other", &keys(&["x"])), keys(&["x"]));
        // a file came late: which ones are captured is not known any more
        assert_eq!(resumed().missing("d", &keys(&["a", "aa", "b"])).len(), 3);
        // one was deleted since
        assert_eq!(resumed().missing("d", &keys(&["b", "c"])).len(), 2);
        for bad in ["{", "[]", r#"{"d":{"n":1}}"#] {
            assert_eq!(
                CapturedFiles::resumed(Some(bad))
                    .missing("d", &keys(&["a"]))
                    .len(),
                1
            );
        }
        assert_eq!(
            resumed().cursor(),
            captured.cursor(),
            "days that were not listed yet stay"
        );
    }

    #[test]
    fn cursor_of_many_days_is_bounded() {
        let mut captured = CapturedFiles::default();
        for day in 0..3000 {
            captured.add(
                &format!("111122223333/eu-west-1/{day}"),
                "f/name-of-some-length.json.gz",
            );
            captured.names.clear();
        }
        let cursor = captured.cursor();
        assert!(
            (40 << 10..=CURSOR_BYTES_MAX).contains(&cursor.len()),
            "{}",
            cursor.len()
        );
    }
}
