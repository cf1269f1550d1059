//! Checks `[sources.aws_cloudtrail]` before a capture needs it. Reads the shared AWS configuration,
//! and sends nothing.

use domain::spelling::did_you_mean;

use crate::aws::{KNOWN_REGIONS, RegionName, profile_names};
use crate::config::{AwsConfig, ConfigFindings};

/// What is wrong in the section.
pub(crate) async fn check(config: &AwsConfig) -> ConfigFindings {
    let mut findings = ConfigFindings::default();
    if !config.enabled {
        return findings;
    }
    let key = |name: &str| format!("[sources.aws_cloudtrail] {name}");
    if config.regions.as_ref().is_some_and(Vec::is_empty) {
        let fault = format!("{}: the list is empty", key("regions"));
        findings.faults.push(fault);
    }
    let mut unknown = None;
    for region in config.regions.iter().flatten() {
        let region_key = key("regions");
        match RegionName::of(region) {
            RegionName::Known => {}
            RegionName::New => findings.warnings.push(format!(
                "{region_key}: this version does not know {region:?}; if it is misspelled, its \
                 events are not captured"
            )),
            RegionName::Unknown(nearest) => {
                unknown = Some(findings.faults.len());
                findings.faults.push(format!(
                    "{region_key}: {region:?} is not a region{}",
                    did_you_mean(nearest)
                ));
            }
        }
    }
    // Once, after the last one.
    if let Some(last) = unknown.and_then(|index| findings.faults.get_mut(index)) {
        last.push_str(&format!("; known are {}", KNOWN_REGIONS.join(", ")));
    }
    for role in &config.roles {
        if !role.starts_with("arn:aws") || !role.contains(":role/") {
            let fault = format!("{}: {role:?} is not the ARN of a role", key("roles"));
            findings.faults.push(fault);
        }
    }
    if config.requests_per_second == 0 {
        let fault = format!(
            "{} is 0, so nothing is ever asked",
            key("requests-per-second")
        );
        findings.faults.push(fault);
    }
    if let Some(profiles) = &config.profiles {
        check_profiles(profiles, &mut findings).await;
    }
    findings
}

async fn check_profiles(profiles: &[String], findings: &mut ConfigFindings) {
    let key = "[sources.aws_cloudtrail] profiles";
    if profiles.is_empty() {
        return; // only the default credentials and roles
    }
    let Some(known) = profile_names().await else {
        let fault = format!("{key}: the shared AWS configuration cannot be read");
        findings.faults.push(fault);
        return;
    };
    for profile in profiles.iter().filter(|profile| !known.contains(profile)) {
        let nearest = domain::spelling::nearest(profile, known.iter().map(String::as_str));
        findings.faults.push(format!(
            "{key}: the shared AWS configuration has no profile {profile:?}{}",
            did_you_mean(nearest)
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn misspelled_region_is_a_fault_and_new_one_a_warning() {
        let config = |regions: &[&str]| AwsConfig {
            regions: Some(regions.iter().map(|region| (*region).to_owned()).collect()),
            ..AwsConfig::default()
        };
        let known = ["us-gov-west-1", "cn-north-1", "eu-west-1", "eusc-de-east-1"];
        let findings = check(&config(&known)).await;
        assert_eq!(findings, ConfigFindings::default());

        let findings = check(&config(&["eu-wst-1", "Frankfurt"])).await;
        let text = findings.faults.join("\n");
        assert!(text.contains(r#""eu-wst-1" is not a region (did you mean "eu-west-1"?)"#));
        assert!(text.contains(r#""Frankfurt""#) && text.contains("me-south-1, mx-central-1"));

        let findings = check(&config(&["eu-southeast-7"])).await;
        assert_eq!((findings.faults.len(), findings.warnings.len()), (0, 1));

        let off = AwsConfig {
            enabled: false,
            ..config(&["eu-wst-1"])
        };
        assert_eq!(check(&off).await, ConfigFindings::default());
    }
}
