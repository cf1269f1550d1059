//! What kind of event an API call is.

use super::{CloudTrailRecord, read_only};
use crate::ActivityCategory::{self, Access, Authentication, Change, Deployment, Execution, Read};
use crate::ocsf;

pub(super) struct EventClass {
    pub(super) category: ActivityCategory,
    pub(super) class: u16,
    pub(super) activity: u8,
}

/// Calls that give credentials to somebody, besides all of `signin`. CloudTrail calls some of them
/// read-only.
const AUTHENTICATION: &[(&str, &str)] = &[
    ("sts", "AssumeRole"),
    ("sts", "GetFederationToken"),
    ("sts", "GetSessionToken"),
    ("sts", "AssumeRoot"),
    ("sso", "Authenticate"),
    ("sso", "Federate"),
    ("sso", "GetRoleCredentials"),
    ("sso-oauth", "CreateToken"),
    ("rolesanywhere", "CreateSession"),
    ("cognito-idp", "InitiateAuth"),
    ("cognito-idp", "AdminInitiateAuth"),
];

/// Calls that run code.
const EXECUTION: &[(&str, &str)] = &[
    ("ssm", "SendCommand"),
    ("ssm", "StartSession"),
    ("ssm", "ResumeSession"),
    ("ssm", "StartAutomationExecution"),
    ("lambda", "Invoke"),
    ("ecs", "RunTask"),
    ("ecs", "StartTask"),
    ("ecs", "ExecuteCommand"),
    ("codebuild", "StartBuild"),
    ("codebuild", "StartBuildBatch"),
    ("states", "StartExecution"),
    ("states", "StartSyncExecution"),
    ("glue", "StartJobRun"),
    ("batch", "SubmitJob"),
    ("athena", "StartQueryExecution"),
    ("redshift-data", "ExecuteStatement"),
    ("rds-data", "ExecuteStatement"),
    ("bedrock", "InvokeModel"),
    ("bedrock", "InvokeModelWithResponseStream"),
    ("bedrock", "Converse"),
    ("cloudshell", "CreateSession"),
];

/// Calls that bring a version into service.
const DEPLOYMENT: &[(&str, &str)] = &[
    ("lambda", "CreateFunction"),
    ("lambda", "UpdateFunctionCode"),
    ("lambda", "PublishVersion"),
    ("lambda", "CreateAlias"),
    ("lambda", "UpdateAlias"),
    ("ecs", "CreateService"),
    ("ecs", "UpdateService"),
    ("ecs", "RegisterTaskDefinition"),
    ("ecr", "PutImage"),
    ("cloudformation", "CreateStack"),
    ("cloudformation", "UpdateStack"),
    ("cloudformation", "ExecuteChangeSet"),
    ("cloudformation", "CreateStackInstances"),
    ("codedeploy", "CreateDeployment"),
    ("codepipeline", "StartPipelineExecution"),
    ("elasticbeanstalk", "UpdateEnvironment"),
    ("apprunner", "StartDeployment"),
    ("amplify", "StartDeployment"),
    ("apigateway", "CreateDeployment"),
];

/// Services whose changes all give or take rights.
const ACCESS_SERVICES: &[&str] = &[
    "iam",
    "rolesanywhere",
    "sso",
    "sso-directory",
    "identitystore",
    "access-analyzer",
    "ec2-instance-connect",
    "ram",
    "organizations",
    "cognito-identity",
    "acm-pca",
];

/// Words in the names of other changes that give or take rights.
const ACCESS_WORDS: &[&str] = &[
    "Policy",
    "Permission",
    "Grant",
    "Principal",
    "Acl",
    "PublicAccess",
    "AccessKey",
    "SecurityGroupIngress",
    "SecurityGroupEgress",
    "SnapshotAttribute",
    "ImageAttribute",
    "SerialConsoleAccess",
    "InstanceProfileAssociation",
    "IamInstanceProfile",
    "ModelAccess",
    "AccessEntry",
    "Visibility",
];

/// Beginnings of names, with the activity of OCSF's API Activity.
const VERBS: &[(&str, u8)] = &[
    ("Get", ocsf::READ),
    ("List", ocsf::READ),
    ("Describe", ocsf::READ),
    ("Lookup", ocsf::READ),
    ("BatchGet", ocsf::READ),
    ("Head", ocsf::READ),
    ("Search", ocsf::READ),
    ("Query", ocsf::READ),
    ("Scan", ocsf::READ),
    ("Select", ocsf::READ),
    ("Check", ocsf::READ),
    ("View", ocsf::READ),
    ("Simulate", ocsf::READ),
    ("Download", ocsf::READ),
    ("Decrypt", ocsf::READ),
    ("Create", ocsf::CREATE),
    ("Run", ocsf::CREATE),
    ("Register", ocsf::CREATE),
    ("Allocate", ocsf::CREATE),
    ("Request", ocsf::CREATE),
    ("Import", ocsf::CREATE),
    ("Issue", ocsf::CREATE),
    ("Delete", ocsf::DELETE),
    ("BatchDelete", ocsf::DELETE),
    ("Remove", ocsf::DELETE),
    ("Terminate", ocsf::DELETE),
    ("Deregister", ocsf::DELETE),
    ("Release", ocsf::DELETE),
    ("Purge", ocsf::DELETE),
];

impl EventClass {
    pub(super) fn of(record: &CloudTrailRecord<'_>) -> Self {
        let category = category(record);
        let (class, activity) = match category {
            Authentication => authentication(record.name),
            Access => access(record),
            Change
            | Deployment
            | Execution
            | Read
            | ActivityCategory::Finding
            | ActivityCategory::Other => (ocsf::API_ACTIVITY, api_activity(record)),
        };
        Self {
            category,
            class,
            activity,
        }
    }
}

fn category(record: &CloudTrailRecord<'_>) -> ActivityCategory {
    let (service, name) = (record.service, operation(record.name));
    let is_in = |list: &[(&str, &str)]| list.contains(&(service, name));
    if service == "signin" || is_in(AUTHENTICATION) || name.starts_with("AssumeRoleWith") {
        return Authentication;
    }
    if is_in(EXECUTION) {
        return Execution;
    }
    // Where CloudTrail does not say, the name does.
    let reads = read_only(record).unwrap_or_else(|| verb(name) == Some(ocsf::READ));
    if reads {
        return Read;
    }
    if is_in(DEPLOYMENT) {
        return Deployment;
    }
    let is_access =
        ACCESS_SERVICES.contains(&service) || ACCESS_WORDS.iter().any(|word| name.contains(word));
    if is_access { Access } else { Change }
}

/// `UpdateFunctionCode20150331v2` without the version of the API.
fn operation(name: &str) -> &str {
    match name.find("20") {
        Some(at) if at > 0 && name[at..].bytes().take(8).all(|b| b.is_ascii_digit()) => &name[..at],
        _ => name,
    }
}

fn verb(name: &str) -> Option<u8> {
    VERBS
        .iter()
        .find(|(verb, _)| name.starts_with(verb))
        .map(|(_, activity)| *activity)
}

fn api_activity(record: &CloudTrailRecord<'_>) -> u8 {
    let reads = read_only(record) == Some(true);
    let other = if reads { ocsf::READ } else { ocsf::UPDATE };
    verb(record.name).unwrap_or(other)
}

/// OCSF has no activity for credentials that are handed out.
fn authentication(name: &str) -> (u16, u8) {
    const LOGON: u8 = 1;
    const LOGOFF: u8 = 2;
    let activity = match name {
        "ConsoleLogin" | "UserAuthentication" | "Authenticate" | "SwitchRole" => LOGON,
        "Logout" | "ExitRole" => LOGOFF,
        _ => ocsf::OTHER,
    };
    (ocsf::AUTHENTICATION, activity)
}

fn access(record: &CloudTrailRecord<'_>) -> (u16, u8) {
    // Activities are those of the classes in `ocsf`.
    match record.name {
        "CreateUser" => (ocsf::ACCOUNT_CHANGE, 1),
        "EnableMFADevice" => (ocsf::ACCOUNT_CHANGE, 10),
        "DeactivateMFADevice" => (ocsf::ACCOUNT_CHANGE, 11),
        "ChangePassword" => (ocsf::ACCOUNT_CHANGE, 3),
        "UpdateLoginProfile" => (ocsf::ACCOUNT_CHANGE, 4),
        "DeleteUser" => (ocsf::ACCOUNT_CHANGE, 6),
        "AttachUserPolicy" | "PutUserPolicy" => (ocsf::ACCOUNT_CHANGE, 7),
        "DetachUserPolicy" | "DeleteUserPolicy" => (ocsf::ACCOUNT_CHANGE, 8),
        "CreateAccessKey" | "DeleteAccessKey" | "UpdateAccessKey" | "CreateLoginProfile"
        | "DeleteLoginProfile" => (ocsf::ACCOUNT_CHANGE, ocsf::OTHER),
        "AddUserToGroup" => (ocsf::GROUP_MANAGEMENT, 3),
        "RemoveUserFromGroup" => (ocsf::GROUP_MANAGEMENT, 4),
        "CreateGroup" if record.service == "iam" => (ocsf::GROUP_MANAGEMENT, 6),
        "DeleteGroup" if record.service == "iam" => (ocsf::GROUP_MANAGEMENT, 5),
        "AttachGroupPolicy" | "PutGroupPolicy" => (ocsf::GROUP_MANAGEMENT, 1),
        "DetachGroupPolicy" | "DeleteGroupPolicy" => (ocsf::GROUP_MANAGEMENT, 2),
        "AttachRolePolicy" | "PutRolePolicy" => (ocsf::USER_ACCESS_MANAGEMENT, 1),
        "DetachRolePolicy" | "DeleteRolePolicy" => (ocsf::USER_ACCESS_MANAGEMENT, 2),
        _ => (ocsf::API_ACTIVITY, api_activity(record)),
    }
}
