//! The three protocols of the services: AWS JSON 1.1 (CloudTrail), REST-JSON (Account) and Query
//! (STS), as the SDKs send and read them.

use serde_json::json;

use super::faults::Operation;
use super::http::HttpRequest;
use super::lookup::ServiceError;
use super::service::HttpReply;

pub(super) fn operation_of(request: &HttpRequest) -> Option<Operation> {
    if request.method != "POST" {
        return None;
    }
    if request.target == "/listRegions" {
        return Some(Operation::ListRegions);
    }
    if let Some(target) = request.header("x-amz-target") {
        // The Rust SDK sends the short form, botocore the long one.
        let target = target
            .strip_prefix("com.amazonaws.cloudtrail.v20131101.")
            .unwrap_or(target);
        return (target == "CloudTrail_20131101.LookupEvents").then_some(Operation::LookupEvents);
    }
    let action = url::form_urlencoded::parse(&request.body)
        .find(|(name, _)| name == "Action")
        .map(|(_, value)| value.into_owned());
    match action.as_deref() {
        Some("GetCallerIdentity") => Some(Operation::GetCallerIdentity),
        Some("AssumeRole") => Some(Operation::AssumeRole),
        _ => None,
    }
}

/// The access key, region and service of a version 4 signature.
pub(super) fn signature_scope(authorization: &str) -> Option<(&str, &str, &str)> {
    let credential = authorization
        .strip_prefix("AWS4-HMAC-SHA256 ")?
        .split("Credential=")
        .nth(1)?
        .split(',')
        .next()?;
    let mut parts = credential.trim().split('/');
    let (key, _date, region, service) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    (parts.next() == Some("aws4_request")).then_some((key, region, service))
}

pub(super) fn service_of(operation: Operation) -> &'static str {
    match operation {
        Operation::LookupEvents => "cloudtrail",
        Operation::ListRegions => "account",
        Operation::GetCallerIdentity | Operation::AssumeRole => "sts",
    }
}

pub(super) fn content_type(operation: Operation) -> &'static str {
    match operation {
        Operation::LookupEvents => "application/x-amz-json-1.1",
        Operation::ListRegions => "application/json",
        Operation::GetCallerIdentity | Operation::AssumeRole => "text/xml",
    }
}

/// Formats an error in the operation's protocol.
pub(super) fn error_reply(operation: Operation, (code, message): &ServiceError) -> HttpReply {
    let mut reply = HttpReply::of(Vec::new());
    match operation {
        Operation::LookupEvents => {
            reply.status = 400;
            reply.body = json!({ "__type": code, "message": message })
                .to_string()
                .into_bytes();
        }
        Operation::ListRegions => {
            reply.status = match *code {
                "ThrottlingException" => 429,
                "ValidationException" => 400,
                _ => 403,
            };
            reply.headers.push(("x-amzn-errortype", (*code).to_owned()));
            reply.body = json!({ "message": message }).to_string().into_bytes();
        }
        Operation::GetCallerIdentity | Operation::AssumeRole => {
            let (status, code) = match *code {
                "ThrottlingException" => (400, "Throttling"),
                "ExpiredTokenException" => (403, "ExpiredToken"),
                "AccessDeniedException" => (403, "AccessDenied"),
                "UnrecognizedClientException" => (403, "InvalidClientTokenId"),
                other => (400, other),
            };
            reply.status = status;
            reply.body = format!(
                r#"<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>"#
            )
            .into_bytes();
        }
    }
    reply
        .headers
        .push(("content-type", content_type(operation).to_owned()));
    reply
}

pub(super) fn sts_response(operation: Operation, result: &str) -> Vec<u8> {
    let name = operation.name();
    format!(r#"<{name}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{name}Result>{result}</{name}Result></{name}Response>"#)
        .into_bytes()
}
