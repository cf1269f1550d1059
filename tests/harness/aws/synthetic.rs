//! Synthetic events: any number, of realistic format and size, generated from a seed on demand.
//! Nothing is kept in memory.
//!
//! They have what makes real lookups hard: more than a page of events in one second, duplicates
//! across page boundaries, services as actors without key or name, errors, text outside ASCII, and
//! HTML in text.

use std::borrow::Cow;
use std::fmt::Write as _;

use jiff::Timestamp;

use super::events::{AccountRegion, Attribute, EventCorpus, LookupEvent, mix, mix_text};

/// Consecutive positions that may share one second. It is more than a page of LookupEvents.
const BURST: u64 = 64;

/// One in this many rows of [`BURST`] positions shares one second.
const BURST_EVERY: u64 = 8;

/// The number of actors of an account.
const ACTORS: u64 = 48;

/// The largest distance between an event and its duplicate, which may be on the next page.
const DUPLICATE_DISTANCE_MAX: u64 = 60;

/// A generator of events.
#[derive(Clone, Debug)]
pub struct SyntheticEvents {
    seed: u64,
    start: i64,
    end: i64,
    duplicates_per_mille: u64,
    places: Vec<AccountRegion>,
    counts: Vec<u64>,
    actors: Vec<Vec<Actor>>,
}

impl SyntheticEvents {
    /// This many events of one account in four regions of different size, on the day before
    /// 2026-09-01T00:00:00Z.
    #[must_use]
    pub fn new(events: u64) -> Self {
        let end = 1_788_220_800;
        let (places, counts, actors) = Default::default();
        let new = Self {
            seed: 1,
            start: end - 86_400,
            end,
            duplicates_per_mille: 20,
            places,
            counts,
            actors,
        };
        new.spread(
            events,
            &["111122223333"],
            &[
                ("us-east-1", 4),
                ("eu-west-1", 2),
                ("us-west-2", 1),
                ("ap-southeast-2", 1),
            ],
        )
    }

    /// Distributes this many events equally over the accounts, and by weight over the regions. The
    /// first place gets the remainder.
    #[must_use]
    pub fn spread(mut self, events: u64, accounts: &[&str], regions: &[(&str, u64)]) -> Self {
        let weights: u64 =
            accounts.len() as u64 * regions.iter().map(|(_, weight)| weight).sum::<u64>();
        let places = accounts.iter().flat_map(|account| {
            regions
                .iter()
                .map(|(region, weight)| (AccountRegion::new(account, region), *weight))
        });
        (self.places, self.counts) = places
            .map(|(place, weight)| (place, events * weight / weights))
            .unzip();
        self.counts[0] += events - self.counts.iter().sum::<u64>();
        self.actors = self
            .places
            .iter()
            .map(|place| {
                (0..ACTORS)
                    .map(|index| Actor::new(&place.account, index))
                    .collect()
            })
            .collect();
        self
    }

    /// Sets the times of the events: from `start` to `end`, both inclusive, in seconds since 1970.
    #[must_use]
    pub fn window(self, start: i64, end: i64) -> Self {
        Self { start, end, ..self }
    }

    /// Makes another corpus with the same distribution.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// Sets how many of a thousand events are duplicates. Only an event that follows another one of
    /// the same second can be a duplicate.
    #[must_use]
    pub fn duplicates_per_mille(self, duplicates_per_mille: u64) -> Self {
        Self {
            duplicates_per_mille,
            ..self
        }
    }

    /// A pseudorandom number of an event; each `purpose` gives another one.
    fn number(&self, place: usize, position: u64, purpose: u64) -> u64 {
        mix(&[self.seed, place as u64, position, purpose])
    }

    /// The distance to the original, if this position is meant to be a duplicate.
    fn duplicate_distance(&self, place: usize, position: u64) -> Option<u64> {
        let number = self.number(place, position, 1);
        let distance = if number & 1 == 0 {
            1 + (number >> 32) % DUPLICATE_DISTANCE_MAX
        } else {
            1 + (number >> 32) % 3
        };
        ((number >> 1) % 1000 < self.duplicates_per_mille && distance <= position)
            .then_some(distance)
    }

    /// The event without its record, and the ingredients of the record.
    fn head(&self, place: usize, position: u64) -> (LookupEvent<'_>, EventParts<'_>) {
        let position = self.first(place, position);
        let number = self.number(place, position, 2);
        let kind = &KINDS[(number % KINDS.len() as u64) as usize];
        let actor = &self.actors[place][(mix(&[number, 3]) % ACTORS) as usize];
        let resource = format!("{}-{:06x}", kind.prefix, mix(&[number, 4]) % 4096);
        let event = LookupEvent {
            id: uuid(mix(&[number, 5]), mix(&[number, 6])).into(),
            name: kind.name.into(),
            source: kind.source.into(),
            read_only: Some(kind.read_only),
            access_key_id: actor.access_key_id.as_deref().map(Cow::Borrowed),
            username: actor.username.as_deref().map(Cow::Borrowed),
            resources: if kind.resource_type.is_empty() {
                Vec::new()
            } else {
                vec![(kind.resource_type.into(), resource.clone().into())]
            },
            record: Vec::new(),
        };
        (
            event,
            EventParts {
                number,
                kind,
                actor,
                resource,
            },
        )
    }
}

/// The choices from which an event is generated.
struct EventParts<'a> {
    number: u64,
    kind: &'static EventKind,
    actor: &'a Actor,
    resource: String,
}

impl EventCorpus for SyntheticEvents {
    fn places(&self) -> &[AccountRegion] {
        &self.places
    }

    fn count(&self, place: usize) -> u64 {
        self.counts[place]
    }

    fn time(&self, place: usize, position: u64) -> i64 {
        let row = position / BURST;
        let position = if self.number(place, row, 7).is_multiple_of(BURST_EVERY) {
            row * BURST
        } else {
            position
        };
        // Each position has its own slot of the window, so times never increase with the position.
        let window_ms = (self.end - self.start) as u128 * 1000 + 999;
        let slot_ms = (window_ms / u128::from(self.counts[place])).max(1) as u64;
        let back_ms = (u128::from(position) * window_ms / u128::from(self.counts[place])) as u64;
        (self.end * 1000 + 999 - (back_ms + self.number(place, position, 8) % slot_ms) as i64)
            .div_euclid(1000)
    }

    fn first(&self, place: usize, position: u64) -> u64 {
        let Some(distance) = self.duplicate_distance(place, position) else {
            return position;
        };
        let original = position - distance;
        // A duplicate of a duplicate, or one of another second, would not be the same event.
        if self.duplicate_distance(place, original).is_none()
            && self.time(place, original) == self.time(place, position)
        {
            original
        } else {
            position
        }
    }

    fn event(&self, place: usize, position: u64) -> LookupEvent<'_> {
        let (mut event, made) = self.head(place, position);
        event.record = record(
            &self.places[place],
            self.time(place, position),
            &event.id,
            &made,
        )
        .into_bytes();
        event
    }

    fn has(&self, place: usize, position: u64, attribute: &Attribute) -> bool {
        self.head(place, position).0.has(attribute)
    }
}

#[derive(Clone, Debug)]
struct Actor {
    identity: String,
    access_key_id: Option<String>,
    username: Option<String>,
    address: String,
}

impl Actor {
    fn new(account: &str, index: u64) -> Self {
        let number = mix_text(index, account);
        let id = name_of_21(number);
        let address = format!("198.18.{}.{}", number >> 8 & 0xff, number & 0xff);
        if index < 6 {
            let service = [
                "autoscaling",
                "config",
                "cloudtrail",
                "eks",
                "lambda",
                "ssm",
            ][index as usize];
            let identity =
                format!(r#"{{"type":"AWSService","invokedBy":"{service}.amazonaws.com"}}"#);
            return Self {
                identity,
                access_key_id: None,
                username: None,
                address: format!("{service}.amazonaws.com"),
            };
        }
        if index == 6 {
            let key = format!("ASIA{}", &id[..16]);
            let identity = format!(
                r#"{{"type":"Root","principalId":"{account}","arn":"arn:aws:iam::{account}:root","accountId":"{account}","accessKeyId":"{key}","sessionContext":{{"attributes":{{"creationDate":"2026-08-30T06:12:41Z","mfaAuthenticated":"true"}}}}}}"#
            );
            return Self {
                identity,
                access_key_id: Some(key),
                username: Some("root".to_owned()),
                address,
            };
        }
        if index < 20 {
            let (key, name) = (format!("AKIA{}", &id[..16]), format!("user-{index:02}"));
            let identity = format!(
                r#"{{"type":"IAMUser","principalId":"AIDA{}","arn":"arn:aws:iam::{account}:user/{name}","accountId":"{account}","accessKeyId":"{key}","userName":"{name}"}}"#,
                &id[..17]
            );
            return Self {
                identity,
                access_key_id: Some(key),
                username: Some(name),
                address,
            };
        }
        let (key, role, session) = (
            format!("ASIA{}", &id[..16]),
            format!("role-{:02}", index % 9),
            format!("session-{index:02}"),
        );
        let identity = format!(
            r#"{{"type":"AssumedRole","principalId":"AROA{0}:{session}","arn":"arn:aws:sts::{account}:assumed-role/{role}/{session}","accountId":"{account}","accessKeyId":"{key}","sessionContext":{{"sessionIssuer":{{"type":"Role","principalId":"AROA{0}","arn":"arn:aws:iam::{account}:role/{role}","accountId":"{account}","userName":"{role}"}},"attributes":{{"creationDate":"2026-08-31T04:11:07Z","mfaAuthenticated":"false"}}}}}}"#,
            &id[..17]
        );
        Self {
            identity,
            access_key_id: Some(key),
            username: Some(session),
            address,
        }
    }
}

/// A kind of event. In `request` and `response`, `$R` is replaced by the name of the resource and
/// `$A` by the account.
struct EventKind {
    source: &'static str,
    name: &'static str,
    read_only: bool,
    resource_type: &'static str,
    prefix: &'static str,
    request: &'static str,
    response: &'static str,
}

const fn kind(
    [source, name, resource_type, prefix]: [&'static str; 4],
    read_only: bool,
    [request, response]: [&'static str; 2],
) -> EventKind {
    EventKind {
        source,
        name,
        read_only,
        resource_type,
        prefix,
        request,
        response,
    }
}

static KINDS: &[EventKind] = &[
    kind(
        ["sts.amazonaws.com", "AssumeRole", "AWS::IAM::Role", "svc"],
        true,
        [
            r#"{"roleArn":"arn:aws:iam::$A:role/$R","roleSessionName":"session","durationSeconds":3600}"#,
            r#"{"credentials":{"accessKeyId":"ASIAEXAMPLEEXAMPLE00","sessionToken":"IQoJb3JpZ2luX2VjEHoaCXVzLWVhc3QtMSJHMEUCIQDexample","expiration":"Aug 31, 2026, 9:12:07 PM"},"assumedRoleUser":{"assumedRoleId":"AROAEXAMPLE:session","arn":"arn:aws:sts::$A:assumed-role/$R/session"}}"#,
        ],
    ),
    kind(
        [
            "iam.amazonaws.com",
            "CreateAccessKey",
            "AWS::IAM::User",
            "person",
        ],
        false,
        [
            r#"{"userName":"$R"}"#,
            r#"{"accessKey":{"userName":"$R","accessKeyId":"AKIAEXAMPLEEXAMPLE00","status":"Active","createDate":"Aug 31, 2026, 4:32:10 PM"}}"#,
        ],
    ),
    kind(
        [
            "iam.amazonaws.com",
            "AttachRolePolicy",
            "AWS::IAM::Role",
            "role",
        ],
        false,
        [
            r#"{"roleName":"$R","policyArn":"arn:aws:iam::aws:policy/AdministratorAccess"}"#,
            "null",
        ],
    ),
    kind(
        ["signin.amazonaws.com", "ConsoleLogin", "", "login"],
        false,
        ["null", r#"{"ConsoleLogin":"Success"}"#],
    ),
    kind(
        ["ec2.amazonaws.com", "DescribeInstances", "", "i"],
        true,
        [
            r#"{"maxResults":1000,"instancesSet":{},"filterSet":{"items":[{"name":"tag:Name","valueSet":{"items":[{"value":"$R"}]}}]}}"#,
            "null",
        ],
    ),
    kind(
        [
            "ec2.amazonaws.com",
            "AuthorizeSecurityGroupIngress",
            "AWS::EC2::SecurityGroup",
            "sg",
        ],
        false,
        [
            r#"{"groupId":"$R","ipPermissions":{"items":[{"ipProtocol":"tcp","fromPort":22,"toPort":22,"groups":{},"ipRanges":{"items":[{"cidrIp":"0.0.0.0/0"}]},"ipv6Ranges":{},"prefixListIds":{}}]}}"#,
            r#"{"requestId":"9a1c1d0e-0000-4000-8000-000000000000","_return":true,"securityGroupRuleSet":{"items":[{"groupOwnerId":"$A","groupId":"$R","isEgress":false,"ipProtocol":"tcp","fromPort":22,"toPort":22,"cidrIpv4":"0.0.0.0/0"}]}}"#,
        ],
    ),
    kind(
        [
            "s3.amazonaws.com",
            "GetBucketAcl",
            "AWS::S3::Bucket",
            "bucket",
        ],
        true,
        [
            r#"{"bucketName":"$R","Host":"$R.s3.amazonaws.com","acl":""}"#,
            "null",
        ],
    ),
    kind(
        [
            "s3.amazonaws.com",
            "PutBucketPolicy",
            "AWS::S3::Bucket",
            "bucket",
        ],
        false,
        [
            r#"{"bucketName":"$R","Host":"$R.s3.amazonaws.com","policy":"","bucketPolicy":{"Version":"2012-10-17","Statement":[{"Sid":"Public","Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::$R/*"}]}}"#,
            "null",
        ],
    ),
    kind(
        ["kms.amazonaws.com", "Decrypt", "AWS::KMS::Key", "key"],
        true,
        [
            r#"{"encryptionContext":{"aws:s3:arn":"arn:aws:s3:::$R"},"encryptionAlgorithm":"SYMMETRIC_DEFAULT"}"#,
            "null",
        ],
    ),
    kind(
        [
            "lambda.amazonaws.com",
            "UpdateFunctionCode20150331v2",
            "AWS::Lambda::Function",
            "function",
        ],
        false,
        [
            r#"{"functionName":"$R","s3Bucket":"deploy-$A","s3Key":"$R.zip","publish":true,"dryRun":false}"#,
            r#"{"functionName":"$R","functionArn":"arn:aws:lambda:us-east-1:$A:function:$R","runtime":"provided.al2023","codeSize":4194304,"memorySize":512,"lastModified":"2026-08-31T10:00:00.000+0000"}"#,
        ],
    ),
    kind(
        [
            "secretsmanager.amazonaws.com",
            "GetSecretValue",
            "",
            "prod/db",
        ],
        true,
        [r#"{"secretId":"$R","versionStage":"AWSCURRENT"}"#, "null"],
    ),
    kind(
        [
            "ssm.amazonaws.com",
            "UpdateInstanceInformation",
            "AWS::EC2::Instance",
            "i",
        ],
        false,
        [
            r#"{"instanceId":"$R","agentVersion":"3.3.987.0","agentStatus":"Active","platformType":"Linux","platformName":"Amazon Linux","platformVersion":"2023"}"#,
            "null",
        ],
    ),
];

/// User agents, escaped for JSON strings. The last two are what an attacker might write.
const AGENTS: &[&str] = &[
    "aws-sdk-go-v2/1.30.3 os/linux lang/go#1.22.5 md/GOOS#linux md/GOARCH#amd64 api/sts#1.30.3",
    "Boto3/1.34.140 md/Botocore#1.34.140 ua/2.0 os/linux#6.1.97 md/arch#x86_64 lang/python#3.12.4 cfg/retry-mode#standard",
    "AWS Internal",
    "APN/1.0 HashiCorp/1.0 Terraform/1.9.2 terraform-provider-aws/5.58.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
    r#"Mozilla/5.0 \"><script>alert(1)</script>"#,
    r"curl/8.5.0 Z\u00fcrich Zürich \u202e\u001b[31m",
];

fn record(place: &AccountRegion, time: i64, id: &str, made: &EventParts<'_>) -> String {
    let EventParts {
        number,
        kind,
        actor,
        resource,
    } = made;
    let AccountRegion { account, region } = place;
    let service = kind.source.split('.').next().unwrap_or_default();
    let seldom = mix(&[*number, 9]);
    let agent = AGENTS[if seldom.is_multiple_of(64) {
        5 + (seldom >> 8) as usize % 2
    } else {
        (seldom >> 8) as usize % 5
    }];
    let time = Timestamp::from_second(time).expect("corpora are of this century");
    let mut text = String::with_capacity(2048);
    let _ = write!(
        text,
        r#"{{"eventVersion":"1.11","userIdentity":{},"eventTime":"{time}","eventSource":"{}","eventName":"{}","awsRegion":"{region}","sourceIPAddress":"{}","userAgent":"{agent}","#,
        actor.identity, kind.source, kind.name, actor.address,
    );
    if seldom % 16 == 1 {
        let action = format!("{service}:{}", kind.name);
        let _ = write!(
            text,
            r#""errorCode":"AccessDenied","errorMessage":"User is not authorized to perform: {action} because no identity-based policy allows the {action} action","#
        );
    }
    text.push_str(r#""requestParameters":"#);
    fill(&mut text, kind.request, resource, account);
    text.push_str(r#","responseElements":"#);
    fill(
        &mut text,
        if seldom % 16 == 1 {
            "null"
        } else {
            kind.response
        },
        resource,
        account,
    );
    let request_id = uuid(mix(&[*number, 10]), seldom);
    let _ = write!(
        text,
        r#","requestID":"{request_id}","eventID":"{id}","readOnly":{},"#,
        kind.read_only
    );
    if !kind.resource_type.is_empty() {
        let _ = write!(
            text,
            r#""resources":[{{"accountId":"{account}","type":"{}","ARN":"arn:aws:{service}:{region}:{account}:{resource}"}}],"#,
            kind.resource_type
        );
    }
    let _ = write!(
        text,
        r#""eventType":"AwsApiCall","managementEvent":true,"recipientAccountId":"{account}","eventCategory":"Management","tlsDetails":{{"tlsVersion":"TLSv1.3","cipherSuite":"TLS_AES_128_GCM_SHA256","clientProvidedHostHeader":"{}"}}}}"#,
        kind.source,
    );
    text
}

fn fill(text: &mut String, template: &str, resource: &str, account: &str) {
    let mut parts = template.split('$');
    text.push_str(parts.next().unwrap_or_default());
    for part in parts {
        text.push_str(if part.starts_with('R') {
            resource
        } else {
            account
        });
        text.push_str(&part[1..]);
    }
}

/// A version 4 UUID from 128 bits.
pub(super) fn uuid(high: u64, low: u64) -> String {
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xfff,
        0x8000 | low >> 48 & 0x3fff,
        low & 0xffff_ffff_ffff
    )
}

/// Letters and digits, as in the ids of IAM.
fn name_of_21(number: u64) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    (0..21)
        .map(|i| char::from(ALPHABET[(mix(&[number, i]) % 32) as usize]))
        .collect()
}
