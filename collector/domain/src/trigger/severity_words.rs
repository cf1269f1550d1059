//! The severities that senders' words mean.
//!
//! Senders write a level in many ways: `P1`, `SEV0`, `1 - Critical`, `Priority 2`, `emerg`. A word
//! of several parts means the worst of them: what is taken for worse than it is costs a look, and
//! what is taken for better may cost the incident.

use crate::incident::Severity;

/// Single words: incident managers' levels, the usual Prometheus label, syslog's and Zabbix' levels,
/// and the names that trackers give their priorities.
const WORDS: [(&str, Severity); 49] = [
    ("critical", Severity::Sev1),
    ("crit", Severity::Sev1),
    ("fatal", Severity::Sev1),
    ("emergency", Severity::Sev1),
    ("emerg", Severity::Sev1),
    ("alert", Severity::Sev1),
    ("panic", Severity::Sev1),
    ("disaster", Severity::Sev1),
    ("catastrophe", Severity::Sev1),
    ("catastrophic", Severity::Sev1),
    ("highest", Severity::Sev1),
    ("extreme", Severity::Sev1),
    ("urgent", Severity::Sev1),
    ("immediate", Severity::Sev1),
    ("severe", Severity::Sev1),
    ("blocker", Severity::Sev1),
    ("showstopper", Severity::Sev1),
    ("red", Severity::Sev1),
    ("outage", Severity::Sev1),
    ("down", Severity::Sev1),
    ("veryhigh", Severity::Sev1),
    ("worst", Severity::Sev1),
    ("high", Severity::Sev2),
    ("major", Severity::Sev2),
    ("important", Severity::Sev2),
    ("significant", Severity::Sev2),
    ("error", Severity::Sev2),
    ("err", Severity::Sev2),
    ("page", Severity::Sev2),
    ("medium", Severity::Sev3),
    ("med", Severity::Sev3),
    ("moderate", Severity::Sev3),
    ("average", Severity::Sev3),
    ("minor", Severity::Sev3),
    ("warning", Severity::Sev3),
    ("warn", Severity::Sev3),
    ("low", Severity::Sev4),
    ("lowest", Severity::Sev4),
    ("trivial", Severity::Sev4),
    ("negligible", Severity::Sev4),
    ("planning", Severity::Sev4),
    ("info", Severity::Sev4),
    ("information", Severity::Sev4),
    ("informational", Severity::Sev4),
    ("notice", Severity::Sev4),
    ("none", Severity::Sev4),
    ("debug", Severity::Sev4),
    ("trace", Severity::Sev4),
    ("ok", Severity::Sev4),
];

/// Words that say of a following number that it is a level, of which 1 is the worst but for 0.
const SCALES: [&str; 11] = [
    "sev", "severity", "s", "p", "prio", "priority", "pri", "cat", "tier", "urgency", "impact",
];
/// The same, but some senders count these upwards: only the worst four are known to be levels.
const LOOSE_SCALES: [&str; 6] = ["level", "lvl", "l", "class", "grade", "rank"];
/// Words that turn the next one around: `non-critical`.
const NEGATIONS: [&str; 3] = ["non", "not", "no"];
/// Words that make the next one worse: `very high`.
const INTENSIFIERS: [&str; 4] = ["very", "extremely", "ultra", "most"];

/// The severity that `word` means; `None` if nothing in it is known.
pub(super) fn severity(word: &str) -> Option<Severity> {
    let word = word.to_lowercase();
    let parts: Vec<&str> = split(&word).collect();
    let mut worst = None;
    let mut before = "";
    for (index, part) in parts.iter().enumerate() {
        let is_scale = SCALES.contains(&before);
        let is_loose_scale = LOOSE_SCALES.contains(&before) || index == 0;
        let meant = match level(part, is_scale || LOOSE_SCALES.contains(&before)) {
            // A bare number beyond 4 may be the best or the worst of a scale that we don't know.
            Some(level) if is_scale || is_loose_scale && level <= 4 => Some(by_level(level)),
            Some(_) => None,
            None if NEGATIONS.contains(&before) => None,
            None => by_word(part).map(|severity| {
                if INTENSIFIERS.contains(&before) && severity == Severity::Sev2 {
                    Severity::Sev1
                } else {
                    severity
                }
            }),
        };
        // The worst severity is the smallest.
        worst = [worst, meant].into_iter().flatten().min();
        before = part;
    }
    worst
}

/// The words and the numbers of `text`: `sev1` is both.
fn split(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !c.is_alphanumeric());
    words.flat_map(|word| {
        let digits = word.find(|c: char| c.is_ascii_digit());
        let (letters, digits) = word.split_at(digits.unwrap_or(word.len()));
        [letters, digits]
            .into_iter()
            .filter(|part| !part.is_empty())
    })
}

/// The number of a level. Some scales have letters: `Sev A`.
fn level(part: &str, is_after_scale: bool) -> Option<u64> {
    match part {
        "a" if is_after_scale => Some(1),
        "b" if is_after_scale => Some(2),
        "c" if is_after_scale => Some(3),
        "d" if is_after_scale => Some(4),
        _ => part.parse().ok(),
    }
}

fn by_level(level: u64) -> Severity {
    match level {
        0 | 1 => Severity::Sev1,
        2 => Severity::Sev2,
        3 => Severity::Sev3,
        _ => Severity::Sev4,
    }
}

fn by_word(part: &str) -> Option<Severity> {
    let mut words = WORDS.iter();
    words
        .find(|(known, _)| *known == part)
        .map(|(_, severity)| *severity)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_word_means_less_than_it_says() {
        for (expected, words) in [
            (
                Severity::Sev1,
                &[
                    "P0",
                    "P1",
                    "p-1",
                    "SEV0",
                    "SEV1",
                    "Sev 1",
                    "sev_1",
                    "SEV-1",
                    "S1",
                    "0",
                    "1",
                    "1 - Critical",
                    "SEV1 - Critical",
                    "Priority 1",
                    "prio1",
                    "P1 (Critical)",
                    "Highest",
                    "disaster",
                    "urgent",
                    "severe",
                    "Blocker",
                    "emerg",
                    "alert",
                    "panic",
                    "CRIT",
                    "very high",
                    "2 - Critical",
                    "[critical]",
                    "code red",
                    "\u{1f534} Critical",
                    "P00",
                    "Level 1",
                    "level=1",
                    "L1",
                    "Class 1",
                    "Sev A",
                    "Severity A",
                    "major_outage",
                    "DOWN",
                    "VeryHigh",
                ][..],
            ),
            (
                Severity::Sev2,
                &[
                    "P2",
                    "sev2",
                    "2 - High",
                    "high",
                    "Major",
                    "err",
                    "S2",
                    "priority-2",
                    "Level 2",
                    "Sev B",
                ],
            ),
            (
                Severity::Sev3,
                &[
                    "P3",
                    "3 - Moderate",
                    "Average",
                    "warning",
                    "Sev 3",
                    "medium",
                ],
            ),
            (
                Severity::Sev4,
                &[
                    "P4",
                    "P5",
                    "P10",
                    "4 - Low",
                    "5 - Planning",
                    "lowest",
                    "info",
                    "Sev 5",
                ],
            ),
        ] {
            for word in words {
                assert_eq!(severity(word), Some(expected), "{word}");
            }
        }
        // Their meaning depends on the sender's scale: the configured default applies.
        for unknown in [
            "",
            "5",
            "7",
            "purple",
            "non-critical",
            "not urgent",
            "level 9",
            "-",
        ] {
            assert_eq!(severity(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn every_word_has_one_meaning() {
        let words: BTreeSet<_> = WORDS.iter().map(|(word, _)| word).collect();
        assert_eq!(words.len(), WORDS.len());
    }
}
