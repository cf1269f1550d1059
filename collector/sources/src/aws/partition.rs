//! Partitions of AWS: the commercial one, GovCloud, China. Each has regions, endpoints and
//! credentials of its own.

use domain::spelling::nearest;

/// A partition, with the regions that are enabled by default in each of its accounts.
pub(crate) struct Partition {
    /// As in ARNs.
    name: &'static str,
    /// The end of its services' hosts (`partitions.json` of AWS' SDKs).
    pub(crate) domain: &'static str,
    /// How the names of its regions begin; empty for all that no other partition has.
    region_prefixes: &'static [&'static str],
    /// "Specify which AWS Regions your account can use", AWS Account Management Reference Guide.
    /// Captured if we may not list the account's own.
    pub(crate) default_regions: &'static [&'static str],
}

const COMMERCIAL: Partition = Partition {
    name: "aws",
    domain: "amazonaws.com",
    region_prefixes: &[],
    default_regions: &[
        "us-east-1",
        "ap-northeast-1",
        "ap-northeast-2",
        "ap-northeast-3",
        "ap-south-1",
        "ap-southeast-1",
        "ap-southeast-2",
        "ca-central-1",
        "eu-central-1",
        "eu-north-1",
        "eu-west-1",
        "eu-west-2",
        "eu-west-3",
        "sa-east-1",
        "us-east-2",
        "us-west-1",
        "us-west-2",
    ],
};

/// All other partitions, the public ones first. The first region of each answers for credentials that
/// name none.
const OTHERS: [Partition; 7] = [
    Partition {
        name: "aws-us-gov",
        domain: "amazonaws.com",
        region_prefixes: &["us-gov-"],
        default_regions: &["us-gov-west-1", "us-gov-east-1"],
    },
    Partition {
        name: "aws-cn",
        domain: "amazonaws.com.cn",
        region_prefixes: &["cn-"],
        default_regions: &["cn-north-1", "cn-northwest-1"],
    },
    Partition {
        name: "aws-eusc",
        domain: "amazonaws.eu",
        region_prefixes: &["eusc-de-"],
        default_regions: &["eusc-de-east-1"],
    },
    Partition {
        name: "aws-iso",
        domain: "c2s.ic.gov",
        region_prefixes: &["us-iso-"],
        default_regions: &["us-iso-east-1", "us-iso-west-1"],
    },
    Partition {
        name: "aws-iso-b",
        domain: "sc2s.sgov.gov",
        region_prefixes: &["us-isob-"],
        default_regions: &["us-isob-east-1"],
    },
    Partition {
        name: "aws-iso-e",
        domain: "cloud.adc-e.uk",
        region_prefixes: &["eu-isoe-"],
        default_regions: &["eu-isoe-west-1"],
    },
    Partition {
        name: "aws-iso-f",
        domain: "csp.hci.ic.gov",
        region_prefixes: &["us-isof-"],
        default_regions: &["us-isof-south-1", "us-isof-east-1"],
    },
];

/// The partitions that can be reached from the internet. Inside the others, a region is always
/// configured.
pub(crate) const PUBLIC_PARTITIONS: [&Partition; 4] =
    [&COMMERCIAL, &OTHERS[0], &OTHERS[1], &OTHERS[2]];

/// The regions of all partitions, as AWS publishes them with its SDKs (`partitions.json`, read
/// 2026-11).
pub(crate) const KNOWN_REGIONS: [&str; 46] = [
    "af-south-1",
    "ap-east-1",
    "ap-east-2",
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-northeast-3",
    "ap-south-1",
    "ap-south-2",
    "ap-southeast-1",
    "ap-southeast-2",
    "ap-southeast-3",
    "ap-southeast-4",
    "ap-southeast-5",
    "ap-southeast-6",
    "ap-southeast-7",
    "ca-central-1",
    "ca-west-1",
    "cn-north-1",
    "cn-northwest-1",
    "eu-central-1",
    "eu-central-2",
    "eu-isoe-west-1",
    "eu-north-1",
    "eu-south-1",
    "eu-south-2",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "eusc-de-east-1",
    "il-central-1",
    "me-central-1",
    "me-south-1",
    "mx-central-1",
    "sa-east-1",
    "us-east-1",
    "us-east-2",
    "us-gov-east-1",
    "us-gov-west-1",
    "us-iso-east-1",
    "us-iso-west-1",
    "us-isob-east-1",
    "us-isob-west-1",
    "us-isof-east-1",
    "us-isof-south-1",
    "us-west-1",
    "us-west-2",
];

/// Where the commercial partition has regions.
const COMMERCIAL_AREAS: [&str; 9] = [
    "af-", "ap-", "ca-", "eu-", "il-", "me-", "mx-", "sa-", "us-",
];
/// The words between an area and the number.
const DIRECTIONS: [&str; 9] = [
    "central",
    "east",
    "north",
    "northeast",
    "northwest",
    "south",
    "southeast",
    "southwest",
    "west",
];

/// What a text says that is to name a region.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum RegionName {
    Known,
    /// It is formed as AWS forms them. AWS adds some each year, which older versions of this program
    /// do not know.
    New,
    /// It names none; the nearest known one.
    Unknown(Option<&'static str>),
}

impl RegionName {
    pub(crate) fn of(text: &str) -> Self {
        if KNOWN_REGIONS.contains(&text) {
            return Self::Known;
        }
        let mut areas = OTHERS
            .iter()
            .flat_map(|partition| partition.region_prefixes)
            .chain(&COMMERCIAL_AREAS);
        let is_formed = areas.any(|area| {
            let rest = text
                .strip_prefix(area)
                .and_then(|rest| rest.split_once('-'));
            rest.is_some_and(|(direction, number)| {
                DIRECTIONS.contains(&direction)
                    && number.len() == 1
                    && number.bytes().all(|byte| byte.is_ascii_digit())
            })
        });
        if is_formed {
            Self::New
        } else {
            Self::Unknown(nearest(text, KNOWN_REGIONS))
        }
    }
}

impl Partition {
    /// The partition that an ARN is of.
    pub(crate) fn of_arn(arn: &str) -> &'static Self {
        let name = arn.split(':').nth(1).unwrap_or_default();
        let mut others = OTHERS.iter();
        others
            .find(|partition| partition.name == name)
            .unwrap_or(&COMMERCIAL)
    }

    pub(crate) fn of_region(region: &str) -> &'static Self {
        let mut others = OTHERS.iter();
        others
            .find(|partition| {
                let mut prefixes = partition.region_prefixes.iter();
                prefixes.any(|prefix| region.starts_with(prefix))
            })
            .unwrap_or(&COMMERCIAL)
    }

    /// As in ARNs.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// True if the region is one of this partition: credentials of another one are unknown there.
    pub(crate) fn has(&self, region: &str) -> bool {
        Self::of_region(region).name == self.name
    }

    /// The default regions, and the one that the credentials' owner has configured.
    pub(crate) fn regions(&self, configured: Option<&str>) -> Vec<String> {
        let mut regions: Vec<String> = self
            .default_regions
            .iter()
            .map(|&region| region.to_owned())
            .collect();
        let own = configured.filter(|region| self.has(region));
        if let Some(own) = own
            && !regions.iter().any(|region| region == own)
        {
            regions.push(own.to_owned());
        }
        regions
    }
}

/// True if two regions are of one partition.
pub(crate) fn is_same(region: &str, other: &str) -> bool {
    Partition::of_region(region).name == Partition::of_region(other).name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_of_a_partition_lead_to_its_regions() {
        let of = |arn: &str| Partition::of_arn(arn);
        let gov = of("arn:aws-us-gov:iam::1:user/a");
        assert_eq!(gov.regions(None), ["us-gov-west-1", "us-gov-east-1"]);
        assert_eq!(
            gov.regions(Some("us-east-1")),
            ["us-gov-west-1", "us-gov-east-1"],
            "a region of another partition refuses these credentials"
        );
        let china = of("arn:aws-cn:sts::1:assumed-role/a/b");
        assert_eq!(china.regions(None), ["cn-north-1", "cn-northwest-1"]);
        let commercial = of("arn:aws:iam::1:root");
        assert_eq!(commercial.regions(Some("us-east-1")).len(), 17);
        let with_own = commercial.regions(Some("me-south-1"));
        assert_eq!((with_own.len(), with_own[17].as_str()), (18, "me-south-1"));
        assert_eq!(of("unknown").name, "aws");
    }

    #[test]
    fn regions_tell_their_partition() {
        assert!(is_same("us-gov-west-1", "us-gov-east-1") && is_same("eu-west-1", "us-east-1"));
        assert!(
            !is_same("us-gov-west-1", "us-west-1") && !is_same("us-iso-east-1", "us-isob-east-1")
        );
    }
}
