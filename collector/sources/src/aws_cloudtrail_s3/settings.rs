//! Checks `[sources.aws_cloudtrail_s3]` before a capture needs it. Sends nothing.

use super::config::TrailsConfig;
use crate::aws::RegionName;

/// What is wrong in the section.
pub(crate) fn faults(config: &TrailsConfig) -> Vec<String> {
    let mut faults = Vec::new();
    if config.requests_per_second == 0 {
        faults.push(
            "[sources.aws_cloudtrail_s3] requests-per-second is 0, so nothing is ever asked"
                .to_owned(),
        );
    }
    for (index, trail) in config.trails.iter().enumerate() {
        let place = format!("[sources.aws_cloudtrail_s3] {}", trail.id());
        if config.trails[..index]
            .iter()
            .any(|other| other.id() == trail.id())
        {
            faults.push(format!("{place} is configured twice"));
        }
        if trail.bucket.is_empty() || trail.bucket.contains(['/', ':', ' ']) {
            faults.push(format!(
                "{place}: {:?} is not the name of a bucket",
                trail.bucket
            ));
        }
        if matches!(RegionName::of(&trail.region), RegionName::Unknown(_)) {
            faults.push(format!("{place}: {:?} is not a region", trail.region));
        }
        if trail.role.is_some() && trail.profile.is_some() {
            faults.push(format!("{place}: give role or profile, not both"));
        }
        let is_account = |id: &str| id.len() == 12 && id.bytes().all(|b| b.is_ascii_digit());
        let others = trail.accounts.iter().filter(|id| !is_account(id));
        faults.extend(others.map(|id| format!("{place}: {id:?} is not the number of an account")));
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelled_trails_are_faults() {
        let read = |json: &str| -> TrailsConfig { serde_json::from_str(json).expect("a section") };
        let good = r#"{"trails": [{"bucket": "b", "region": "eu-west-1"},
            {"bucket": "b", "region": "eu-west-1", "prefix": "audit/", "accounts": ["111122223333"]}]}"#;
        assert_eq!(faults(&read(good)), [""; 0]);
        assert_eq!(read(good).trails[1].root(), "audit/AWSLogs/");
        let bad = r#"{"requests-per-second": 0, "trails": [
            {"bucket": "s3://b", "region": "eu-wst-1", "accounts": ["1"], "role": "r", "profile": "p"},
            {"bucket": "b", "region": "eu-west-1", "prefix": "/"}, {"bucket": "b", "region": "eu-west-1"}]}"#;
        assert_eq!(faults(&read(bad)).len(), 6, "{:?}", faults(&read(bad)));
    }
}
