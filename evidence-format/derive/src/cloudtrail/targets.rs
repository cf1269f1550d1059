//! What was acted on, from a request's parameters, its response and the resources beside them.

use serde_json::Value;

use super::arn::entity;
use super::{CloudTrailRecord, NAME_CHARS_MAX, read_only};
use crate::json::{first_text, list_at, text_at};
use crate::text::shortened;
use crate::{ActivityEvent, EntityKind, EntityRef};

/// A target, and the word that a summary puts before its name.
pub(super) struct Target {
    pub(super) entity: EntityRef,
    word: &'static str,
}

impl Target {
    /// `user x`.
    pub(super) fn phrase(&self) -> String {
        let name = shortened(self.entity.label(), NAME_CHARS_MAX);
        if self.word.is_empty() {
            name
        } else {
            format!("{} {name}", self.word)
        }
    }
}

/// A member of parameters that names an object.
type Member = (&'static str, EntityKind, &'static str);

use EntityKind::{
    Account, Application, Artifact, AuditLog, Bucket, Cluster, Credential, Database, Deployment,
    Domain, File, Group, Host, IdentityProvider, Network, Other, Policy, Repository, Role, Secret,
    Session, User, Workflow, Workload,
};

/// Members whose meaning depends on the service, before [`MEMBERS`].
const MEMBERS_OF_SERVICES: &[(&str, &[Member])] = &[
    (
        "cloudtrail",
        &[
            ("name", AuditLog, "trail"),
            ("trailName", AuditLog, "trail"),
            ("trailARN", AuditLog, "trail"),
            ("eventDataStore", AuditLog, "event data store"),
        ],
    ),
    (
        "ec2",
        &[
            ("instanceId", Host, "instance"),
            ("imageId", Artifact, "image"),
            ("snapshotId", Artifact, "snapshot"),
            ("volumeId", Other, "volume"),
            ("groupId", Network, "security group"),
            ("groupName", Network, "security group"),
            ("keyName", Credential, "key pair"),
        ],
    ),
    (
        "ssm",
        &[
            ("target", Host, "instance"),
            ("name", Secret, "parameter"),
            ("names", Secret, "parameter"),
            ("path", Secret, "parameters below"),
            ("sessionId", Session, "session"),
        ],
    ),
    (
        "s3",
        &[("bucketName", Bucket, "bucket"), ("key", File, "object")],
    ),
    (
        "kms",
        &[
            ("keyId", Credential, "key"),
            ("targetKeyId", Credential, "key"),
            ("aliasName", Other, "alias"),
        ],
    ),
    (
        "rolesanywhere",
        &[("name", IdentityProvider, ""), ("roleArns", Role, "role")],
    ),
    ("sqs", &[("queueUrl", Other, "queue")]),
    ("sns", &[("topicArn", Other, "topic")]),
    ("organizations", &[("accountId", Account, "account")]),
    (
        "eks",
        &[
            ("name", Cluster, "cluster"),
            ("principalArn", Role, "principal"),
        ],
    ),
    ("ecr", &[("repositoryName", Repository, "repository")]),
    (
        "codecommit",
        &[("repositoryName", Repository, "repository")],
    ),
    ("codebuild", &[("name", Workflow, "project")]),
    ("cloudformation", &[("stackName", Deployment, "stack")]),
    ("logs", &[("logGroupName", AuditLog, "log group")]),
    (
        "config",
        &[("configurationRecorderName", AuditLog, "recorder")],
    ),
];

/// Members of all services, most important first.
const MEMBERS: &[Member] = &[
    ("userName", User, "user"),
    ("roleName", Role, "role"),
    ("roleArn", Role, "role"),
    ("groupName", Group, "group"),
    ("policyArn", Policy, "policy"),
    ("policyName", Policy, "policy"),
    ("instanceProfileName", Role, "instance profile"),
    ("accessKeyId", Credential, "access key"),
    ("serialNumber", Credential, "MFA device"),
    ("sAMLProviderArn", IdentityProvider, "SAML provider"),
    (
        "openIDConnectProviderArn",
        IdentityProvider,
        "OIDC provider",
    ),
    ("bucketName", Bucket, "bucket"),
    ("secretId", Secret, "secret"),
    ("secretIdList", Secret, "secret"),
    ("functionName", Workload, "function"),
    ("snapshotId", Artifact, "snapshot"),
    ("imageId", Artifact, "image"),
    ("dBSnapshotIdentifier", Artifact, "snapshot"),
    ("dBClusterSnapshotIdentifier", Artifact, "snapshot"),
    ("dBInstanceIdentifier", Database, "database"),
    ("dBClusterIdentifier", Database, "database cluster"),
    ("tableName", Database, "table"),
    ("instanceId", Host, "instance"),
    ("instanceIds", Host, "instance"),
    ("volumeId", Other, "volume"),
    ("groupId", Network, "security group"),
    ("networkAclId", Network, "network ACL"),
    ("routeTableId", Network, "route table"),
    ("internetGatewayId", Network, "internet gateway"),
    ("flowLogId", AuditLog, "flow log"),
    ("vpcId", Network, "VPC"),
    ("subnetId", Network, "subnet"),
    ("resolverQueryLogConfigId", AuditLog, "query log config"),
    ("detectorId", AuditLog, "detector"),
    ("trailName", AuditLog, "trail"),
    ("hostedZoneId", Domain, "zone"),
    ("domainName", Domain, "domain"),
    ("keyId", Credential, "key"),
    ("kmsKeyId", Credential, "key"),
    ("clusterName", Cluster, "cluster"),
    ("cluster", Cluster, "cluster"),
    ("taskDefinition", Workload, "task definition"),
    ("service", Workload, "service"),
    ("repositoryName", Repository, "repository"),
    ("projectName", Workflow, "project"),
    ("projectArn", Workflow, "project"),
    ("stackName", Deployment, "stack"),
    ("modelId", Artifact, "model"),
    ("documentName", Other, "document"),
    ("loadBalancerArn", Network, "load balancer"),
    ("webACLArn", Network, "web ACL"),
    ("clientId", Application, "client"),
    ("userPoolId", IdentityProvider, "user pool"),
    ("guardrailIdentifier", Policy, "guardrail"),
    ("resourceArn", Other, ""),
    ("resourceId", Other, ""),
    ("name", Other, ""),
];

/// Members whose names and values are conditions or labels.
const NO_OBJECTS: &[&str] = &["filters", "filterSet", "parameterFilters", "tags", "tagSet"];

/// Types of CloudFormation that resources have.
const RESOURCE_TYPES: &[Member] = &[
    ("AWS::IAM::User", User, "user"),
    ("AWS::IAM::Role", Role, "role"),
    ("AWS::IAM::Group", Group, "group"),
    ("AWS::IAM::Policy", Policy, "policy"),
    ("AWS::IAM::AccessKey", Credential, "access key"),
    ("AWS::IAM::InstanceProfile", Role, "instance profile"),
    ("AWS::STS::AssumedRole", Session, "session"),
    ("AWS::S3::Bucket", Bucket, "bucket"),
    ("AWS::S3::Object", File, "object"),
    ("AWS::KMS::Key", Credential, "key"),
    ("AWS::SecretsManager::Secret", Secret, "secret"),
    ("AWS::SSM::Parameter", Secret, "parameter"),
    ("AWS::Lambda::Function", Workload, "function"),
    ("AWS::CloudTrail::Trail", AuditLog, "trail"),
    ("AWS::Logs::LogGroup", AuditLog, "log group"),
    ("AWS::EC2::Instance", Host, "instance"),
    ("AWS::EC2::Snapshot", Artifact, "snapshot"),
    ("AWS::EC2::Ami", Artifact, "image"),
    ("AWS::EC2::Volume", Other, "volume"),
    ("AWS::EC2::SecurityGroup", Network, "security group"),
    ("AWS::EC2::VPC", Network, "VPC"),
    ("AWS::EC2::Subnet", Network, "subnet"),
    ("AWS::RDS::DBInstance", Database, "database"),
    ("AWS::RDS::DBSnapshot", Artifact, "snapshot"),
    ("AWS::DynamoDB::Table", Database, "table"),
    ("AWS::EKS::Cluster", Cluster, "cluster"),
    ("AWS::ECR::Repository", Repository, "repository"),
];

/// Depth of parameters that is searched, and values that are looked at: hostile parameters must not
/// cost much.
const DEPTH_MAX: usize = 8;
const VALUES_MAX: usize = 2000;

pub(super) fn of(record: &CloudTrailRecord<'_>) -> Vec<Target> {
    let mut found = TargetList::default();
    found.add_members(record, &record.request);
    if found.0.is_empty() {
        found.add_unknown(&record.request);
    }
    found.add_grantees(&record.request);
    // Responses to reads, where they are logged, are what was found and not what was acted on.
    if read_only(record) != Some(true) || record.service == "sts" {
        found.add_members(record, &record.response);
    }
    for resource in list_at(record.details, "/resources") {
        let id = first_text(resource, &["/ARN", "/arn", "/ARNPrefix"]);
        found.add_resource(text_at(resource, "/type"), id);
    }
    for resource in list_at(record.element, "/Resources") {
        let id = text_at(resource, "/ResourceName");
        found.add_resource(text_at(resource, "/ResourceType"), id);
    }
    found.0.truncate(ActivityEvent::TARGETS_MAX);
    found.0
}

#[derive(Default)]
struct TargetList(Vec<Target>);

impl TargetList {
    fn push(&mut self, kind: EntityKind, word: &'static str, id: &str) {
        let new = Target {
            entity: entity(kind, id),
            word,
        };
        // The same object by its name and by its ARN is one target, and the ARN is its id.
        let same = self
            .0
            .iter()
            .position(|known| is_same(&known.entity, &new.entity));
        match same {
            Some(at) if id.starts_with("arn:") && !self.0[at].entity.id.starts_with("arn:") => {
                let kind = self.0[at].entity.kind;
                self.0[at].entity = EntityRef { kind, ..new.entity };
            }
            Some(_) => {}
            // Twice the limit, since an ARN that comes later may still improve one of the first.
            None if self.0.len() < 2 * ActivityEvent::TARGETS_MAX => self.0.push(new),
            None => {}
        }
    }

    fn add_members(&mut self, record: &CloudTrailRecord<'_>, parameters: &Value) {
        let of_service = MEMBERS_OF_SERVICES
            .iter()
            .find(|(service, _)| *service == record.service)
            .map_or(&[][..], |(_, members)| members);
        let members: Vec<Member> = of_service.iter().chain(MEMBERS).copied().collect();
        let mut search = MemberSearch {
            members: &members,
            values_left: VALUES_MAX,
            hits: Vec::new(),
        };
        search.visit(parameters, 0);
        let mut hits = search.hits;
        // Stable: values of one member keep their order.
        hits.sort_by_key(|(rank, _)| *rank);
        for (rank, id) in hits {
            let (_, kind, word) = members[rank];
            self.push(kind, word, &id);
        }
    }

    /// What looks like the name of an object, in a request whose members we do not know.
    fn add_unknown(&mut self, request: &Value) {
        const ENDINGS: [&str; 5] = ["Name", "Arn", "ARN", "Id", "Identifier"];
        for (member, value) in request.as_object().into_iter().flatten() {
            let names_object = ENDINGS.iter().any(|ending| member.ends_with(ending));
            if let (true, Some(id)) = (names_object, value.as_str()) {
                self.push(Other, "", id);
            }
        }
    }

    fn add_grantees(&mut self, request: &Value) {
        let mut accounts = Vec::new();
        for permission in ["/createVolumePermission", "/launchPermission"] {
            if let Some(permission) = request.pointer(permission) {
                accounts.extend(grantees(permission, "/add"));
                accounts.extend(grantees(permission, "/remove"));
            }
        }
        for values in ["/valuesToAdd", "/valuesToRemove"] {
            accounts.extend(texts(list_at(request, values)));
        }
        for account in accounts {
            self.push(Account, "account", &account);
        }
    }

    fn add_resource(&mut self, resource_type: Option<&str>, id: Option<&str>) {
        let known = RESOURCE_TYPES
            .iter()
            .find(|(name, _, _)| Some(*name) == resource_type);
        let (kind, word) = known.map_or((Other, ""), |(_, kind, word)| (*kind, *word));
        if let Some(id) = id {
            self.push(kind, word, id);
        }
    }
}

fn is_same(known: &EntityRef, new: &EntityRef) -> bool {
    let (label, new_label) = (known.label(), new.label());
    match (known.kind, new.kind) {
        // The ARN of an object in S3 begins with its bucket.
        (File, File) => new_label
            .strip_suffix(label)
            .is_some_and(|bucket| bucket.is_empty() || bucket.ends_with('/')),
        // Resources of a type that is not in our table have the kind `Other`.
        (kind, other) => (kind == other || other == Other) && label.eq_ignore_ascii_case(new_label),
    }
}

struct MemberSearch<'m> {
    members: &'m [Member],
    values_left: usize,
    /// Index of the member, and the id.
    hits: Vec<(usize, String)>,
}

impl MemberSearch<'_> {
    fn visit(&mut self, value: &Value, depth: usize) {
        if depth == DEPTH_MAX || self.values_left == 0 {
            return;
        }
        self.values_left -= 1;
        match value {
            Value::Object(members) => {
                for (name, value) in members {
                    if NO_OBJECTS.contains(&name.as_str()) {
                        continue;
                    }
                    let rank = self
                        .members
                        .iter()
                        .position(|(member, _, _)| member.eq_ignore_ascii_case(name));
                    match rank.map(|rank| (rank, ids(value))) {
                        Some((rank, ids)) if !ids.is_empty() => {
                            self.hits.extend(ids.into_iter().map(|id| (rank, id)));
                        }
                        Some(_) | None => self.visit(value, depth + 1),
                    }
                }
            }
            Value::Array(list) => list.iter().for_each(|value| self.visit(value, depth + 1)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
}

/// Ids in the value of a member: a text, a list of texts, or XML that became `{"content": …}`.
fn ids(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) if !text.is_empty() => vec![text.clone()],
        Value::Array(list) => texts(list),
        Value::Object(_) => text_at(value, "/content")
            .map(str::to_owned)
            .into_iter()
            .collect(),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
    }
}

/// Ids of accounts, and `all`, in a change of permissions.
pub(super) fn grantees(permission: &Value, change: &str) -> Vec<String> {
    list_at(permission, &format!("{change}/items"))
        .iter()
        .filter_map(|item| first_text(item, &["/userId", "/group", "/organizationArn"]))
        .map(str::to_owned)
        .collect()
}

pub(super) fn texts(list: &[Value]) -> Vec<String> {
    list.iter()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}
