//! Partitions of AWS: the commercial one, GovCloud, China. Each has regions, endpoints and
//! credentials of its own.

/// A partition, with the regions that are enabled by default in each of its accounts.
pub(super) struct Partition {
    /// As in ARNs.
    name: &'static str,
    /// How the names of its regions begin; empty for all that no other partition has.
    region_prefixes: &'static [&'static str],
    /// "Specify which AWS Regions your account can use", AWS Account Management Reference Guide.
    /// Captured if we may not list the account's own.
    pub(super) default_regions: &'static [&'static str],
}

const COMMERCIAL: Partition = Partition {
    name: "aws",
    region_prefixes: &[],
    default_regions: &[
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
        "us-east-1",
        "us-east-2",
        "us-west-1",
        "us-west-2",
    ],
};

/// All other partitions. The first region of each answers for credentials that name none.
pub(super) const OTHERS: [Partition; 5] = [
    Partition {
        name: "aws-us-gov",
        region_prefixes: &["us-gov-"],
        default_regions: &["us-gov-west-1", "us-gov-east-1"],
    },
    Partition {
        name: "aws-cn",
        region_prefixes: &["cn-"],
        default_regions: &["cn-north-1", "cn-northwest-1"],
    },
    Partition {
        name: "aws-eusc",
        region_prefixes: &["eusc-"],
        default_regions: &["eusc-de-east-1"],
    },
    Partition {
        name: "aws-iso",
        region_prefixes: &["us-iso-"],
        default_regions: &["us-iso-east-1", "us-iso-west-1"],
    },
    Partition {
        name: "aws-iso-b",
        region_prefixes: &["us-isob-"],
        default_regions: &["us-isob-east-1"],
    },
];

/// How the names of AWS' own hosts end, in all partitions.
const HOSTS: [&str; 7] = [
    ".amazonaws.com",
    ".amazonaws.com.cn",
    ".api.aws",
    ".amazonaws.eu",
    ".c2s.ic.gov",
    ".sc2s.sgov.gov",
    ".api.amazonwebservices.com.cn",
];

impl Partition {
    /// True if it can be reached from the internet. Inside the others, a region is always configured.
    pub(super) fn is_public(&self) -> bool {
        !self.name.starts_with("aws-iso")
    }

    /// The partition that an ARN is of.
    pub(super) fn of_arn(arn: &str) -> &'static Self {
        let name = arn.split(':').nth(1).unwrap_or_default();
        let mut others = OTHERS.iter();
        others
            .find(|partition| partition.name == name)
            .unwrap_or(&COMMERCIAL)
    }

    fn of_region(region: &str) -> &'static Self {
        let mut others = OTHERS.iter();
        others
            .find(|partition| {
                let mut prefixes = partition.region_prefixes.iter();
                prefixes.any(|prefix| region.starts_with(prefix))
            })
            .unwrap_or(&COMMERCIAL)
    }

    /// The default regions, and the one that the credentials' owner has configured.
    pub(super) fn regions(&self, configured: Option<&str>) -> Vec<String> {
        let mut regions: Vec<String> = self
            .default_regions
            .iter()
            .map(|&region| region.to_owned())
            .collect();
        let own = configured.filter(|region| Self::of_region(region).name == self.name);
        if let Some(own) = own
            && !regions.iter().any(|region| region == own)
        {
            regions.push(own.to_owned());
        }
        regions
    }
}

/// True if two regions are of one partition.
pub(super) fn is_same(region: &str, other: &str) -> bool {
    Partition::of_region(region).name == Partition::of_region(other).name
}

/// True if `host` is one of AWS' own.
pub(super) fn is_host_of_aws(host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    HOSTS.iter().any(|end| host.ends_with(end))
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
    fn regions_and_hosts_tell_their_partition() {
        assert!(is_same("us-gov-west-1", "us-gov-east-1") && is_same("eu-west-1", "us-east-1"));
        assert!(
            !is_same("us-gov-west-1", "us-west-1") && !is_same("us-iso-east-1", "us-isob-east-1")
        );
        for own in [
            "sts.us-east-1.amazonaws.com",
            "STS.AMAZONAWS.COM",
            "cloudtrail.cn-north-1.amazonaws.com.cn",
        ] {
            assert!(is_host_of_aws(own), "{own}");
        }
        for other in [
            "127.0.0.1",
            "localhost",
            "amazonaws.com.example.com",
            "sts.us-east-1.amazonaws.com.evil.example",
            "xamazonaws.com",
        ] {
            assert!(!is_host_of_aws(other), "{other}");
        }
    }
}
