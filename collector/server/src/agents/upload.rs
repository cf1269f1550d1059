//! Takes bundles in parts, each part in one request, and commits them.
//!
//! The parts of one bundle lie in one file. An agent has one such file at a time, so it can fill no
//! more of the disk than one bundle may have.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use axum::extract::{Path as UrlPath, Request, State};
use axum::response::Response;
use evidence_format::digest::Digest;
use pipeline::DeliveryError;
use protocol::identity::AgentId;
use protocol::limits::CHUNK_BYTES_MAX;
use protocol::refusal::RefusalCode;
use protocol::upload::{UploadOffer, UploadState};
use store::ledger::PassKey;
use tokio::task::spawn_blocking;

use super::gateway::{AgentsGateway, RequestAgent, answer};
use super::refused::Refused;
use domain::hosts::source_of_agent;

/// `POST /agents/v1/uploads`.
pub(super) async fn offer(
    State(gateway): State<AgentsGateway>,
    RequestAgent(entry): RequestAgent,
    request: Request,
) -> Result<Response, Refused> {
    let offer: UploadOffer = gateway.document(request).await?;
    let bytes_max = gateway.0.config.bundle_bytes_max;
    if offer.bytes > bytes_max {
        gateway.metrics().count_refused_bundle("too-large");
        let detail = format!("bundle has {} bytes, limit is {bytes_max}", offer.bytes);
        return Err(Refused::new(RefusalCode::TooLarge, detail));
    }
    let _lock = entry.upload.lock().await;
    let agent = entry.row();
    let key = order_key(&agent.id, &offer);
    if gateway.0.pipeline.is_delivered(&key, &offer.bundle).await? {
        return Ok(committed(offer.bytes));
    }
    // A bundle that nobody has ordered must not reach the disk.
    if gateway.ledger().pass(&key).await?.is_none() {
        let refused = DeliveryError::NotOrdered;
        count_refused(&gateway, &refused);
        return Err(refused.into());
    }
    let part = part_file(&gateway, &agent.id, &offer.bundle);
    let received = blocking(move || begin_part(&part)).await?;
    Ok(answer(&UploadState {
        received_bytes: received,
        committed: false,
    }))
}

/// `PUT /agents/v1/uploads/{bundle}?offset=…`.
pub(super) async fn receive(
    State(gateway): State<AgentsGateway>,
    RequestAgent(entry): RequestAgent,
    UrlPath(bundle): UrlPath<String>,
    request: Request,
) -> Result<Response, Refused> {
    let bundle = parse_bundle(&bundle)?;
    let query = request.uri().query().unwrap_or_default();
    let offset = query.strip_prefix("offset=").and_then(|n| n.parse().ok());
    let offset: u64 =
        offset.ok_or_else(|| Refused::new(RefusalCode::Malformed, "the offset is missing"))?;
    let body = gateway.0.bodies.read(request.into_body(), CHUNK_BYTES_MAX);
    let body = body.await?;
    let end = offset.saturating_add(body.len() as u64);
    let bytes_max = gateway.0.config.bundle_bytes_max;
    if end > bytes_max {
        let detail = format!("bundle has at least {end} bytes, limit is {bytes_max}");
        return Err(Refused::new(RefusalCode::TooLarge, detail));
    }
    let _lock = entry.upload.lock().await;
    let part = part_file(&gateway, &entry.row().id, &bundle);
    let received = blocking(move || append(&part, offset, &body)).await?;
    let received = received.ok_or(DeliveryError::NotOrdered)?; // it was never offered
    Ok(answer(&UploadState {
        received_bytes: received,
        committed: false,
    }))
}

/// `POST /agents/v1/uploads/{bundle}/commit`.
pub(super) async fn commit(
    State(gateway): State<AgentsGateway>,
    RequestAgent(entry): RequestAgent,
    request: Request,
) -> Result<Response, Refused> {
    let offer: UploadOffer = gateway.document(request).await?;
    let _lock = entry.upload.lock().await;
    let agent = entry.row();
    let part = part_file(&gateway, &agent.id, &offer.bundle);
    let received = part.metadata().map_or(0, |metadata| metadata.len());
    let key = order_key(&agent.id, &offer);
    if gateway.0.pipeline.is_delivered(&key, &offer.bundle).await? {
        return Ok(committed(offer.bytes));
    }
    if received != offer.bytes {
        return Ok(answer(&UploadState {
            received_bytes: received,
            committed: false,
        }));
    }
    let delivered = gateway.0.pipeline.deliver(&agent, &offer, &part).await;
    match &delivered {
        Ok(()) => gateway.metrics().count_delivery(offer.bytes),
        Err(error) => count_refused(&gateway, error),
    }
    if let Err(DeliveryError::Rejected(rejected)) = &delivered {
        let pipeline = &gateway.0.pipeline;
        pipeline.record_rejection(&agent, &offer, rejected).await?;
    }
    // An error of the store keeps the part: the agent commits again.
    if matches!(&delivered, Ok(()) | Err(DeliveryError::Rejected(_))) {
        blocking(move || remove(&part)).await?;
    }
    delivered?;
    Ok(committed(offer.bytes))
}

fn count_refused(gateway: &AgentsGateway, error: &DeliveryError) {
    if let Some(reason) = error.refusal_reason() {
        gateway.metrics().count_refused_bundle(reason);
    }
}

fn committed(bytes: u64) -> Response {
    answer(&UploadState {
        received_bytes: bytes,
        committed: true,
    })
}

fn order_key(agent: &AgentId, offer: &UploadOffer) -> PassKey {
    PassKey {
        incident: offer.order.incident.clone(),
        source: source_of_agent(agent),
        pass: offer.order.pass,
    }
}

fn parse_bundle(text: &str) -> Result<Digest, Refused> {
    Digest::from_hex(text).map_err(|error| Refused::new(RefusalCode::Malformed, error.to_string()))
}

/// The file of a bundle's parts: agent and bundle are hex digits, so it cannot leave the folder.
fn part_file(gateway: &AgentsGateway, agent: &AgentId, bundle: &Digest) -> PathBuf {
    let folder = gateway.0.uploads.join(agent.as_str());
    folder.join(format!("{}.part", bundle.hex()))
}

/// Creates the file unless it exists, and removes those of other bundles. Returns its length.
fn begin_part(part: &Path) -> io::Result<u64> {
    let folder = platform::durable::folder_of(part);
    fs::create_dir_all(folder)?;
    for entry in fs::read_dir(folder)?.flatten() {
        if entry.path() != part {
            remove(&entry.path())?;
        }
    }
    let file = OpenOptions::new().append(true).create(true).open(part)?;
    Ok(file.metadata()?.len())
}

/// Writes `bytes` at `offset` if that is the end of the file. Returns its length then; `None` if
/// there is no file.
fn append(part: &Path, offset: u64, bytes: &[u8]) -> io::Result<Option<u64>> {
    let mut file = match OpenOptions::new().write(true).open(part) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let length = file.metadata()?.len();
    if length != offset {
        return Ok(Some(length)); // the sender goes on from there
    }
    file.seek(SeekFrom::Start(offset))?;
    let written = file.write_all(bytes);
    if written.is_err() {
        truncate(&file, length)?; // so that no half request stays
    }
    written?;
    Ok(Some(length + bytes.len() as u64))
}

fn truncate(file: &File, length: u64) -> io::Result<()> {
    file.set_len(length)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Refused> {
    let done = spawn_blocking(work).await;
    Ok(done.map_err(io::Error::other)??)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_appended_in_order_and_only_if_offered() {
        let folder = tempfile::tempdir().expect("a folder");
        let part = folder.path().join("agent/one.part");
        assert_eq!(begin_part(&part).expect("own folder"), 0);
        assert_eq!(append(&part, 0, b"abc").expect("own file"), Some(3));
        assert_eq!(
            append(&part, 0, b"abc").expect("own file"),
            Some(3),
            "repeated"
        );
        assert_eq!(
            append(&part, 9, b"xyz").expect("own file"),
            Some(3),
            "a hole"
        );
        assert_eq!(append(&part, 3, b"d").expect("own file"), Some(4));
        assert_eq!(fs::read(&part).expect("own file"), b"abcd");
        let other = folder.path().join("agent/two.part");
        assert_eq!(append(&other, 0, b"x").expect("own folder"), None);
        assert_eq!(begin_part(&other).expect("own folder"), 0);
        assert!(!part.exists(), "an agent has one upload at a time");
    }
}
