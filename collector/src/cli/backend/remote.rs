//! A server, which works by itself.

use std::fs::{self, File};
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use evidence_format::digest::Digest;
use evidence_format::id::IncidentId;
use evidence_format::time::Timestamp;
use platform::terminal::{ProgressLine, size};
use serde::Deserialize;
use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::super::attach;
use super::super::interrupt::INTERRUPTED;
use super::{
    AttachRequest, AttachmentReceipt, Backend, EventFeed, NewDeclaration, PlanTarget, TokenRequest,
    Visitor, describe,
};
use crate::client::follow::EventSubscription;
use crate::client::keys::{KeyHistory, folder};
use crate::client::upload::Upload;
use crate::client::{ApiCall, ApiClient, ClientError};
use domain::incident::TimelineRow;
use domain::incident::{Command, Line, Name, PlayName};
use domain::plan::CapturePlan;
use domain::token::TokenId;
use pipeline::timeline::Filter;
use pipeline::{AttachError, Content};
use platform::progress::ProgressCounter;
use server::answers::{
    Bundle, Bundles, Capture, ChangeView, Changed, Created, Declared, Full, Happened, Listed, Page,
    PlayView, Plays, SourceView, Sources, Token, Tokens,
};

/// Incidents on one page: as many as there may be.
const PAGE: u32 = 200;
/// Between two looks whether captures are over, where no event says that something has changed.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// The same behind an event that says so.
const LOOK_SOON: Duration = Duration::from_millis(200);
/// How long the server may be away while somebody waits for captures: an upgrade and a restart take
/// less.
const AWAY_MAX: Duration = Duration::from_secs(300);
/// Between two drawings of the line that says how far a download is.
const DRAW_EVERY: Duration = Duration::from_millis(100);

/// A server, and who types.
pub(crate) struct RemoteBackend {
    pub(crate) client: ApiClient,
    /// For what names him by default: journals have the holder of the token.
    pub(crate) by: Name,
    pub(crate) quiet: bool,
    /// Cancelled when nobody wants to look on any more.
    pub(crate) looking: CancellationToken,
}

/// Of an incident, what everybody may see who may see it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CaptureStatus {
    under_way: bool,
}

fn path(id: &IncidentId, rest: &str) -> String {
    format!("v1/incidents/{id}{rest}")
}

impl RemoteBackend {
    /// The key that the server answers `call` with, kept on this machine.
    async fn known_key(&self, call: &ApiCall) -> Result<PathBuf> {
        let variable = |name| std::env::var_os(name).map(PathBuf::from);
        let key = self
            .client
            .key(call, &folder(variable("XDG_STATE_HOME"), variable("HOME"))?)
            .await?;
        match key.before {
            KeyHistory::Unchanged => {}
            KeyHistory::FirstSeen => self.note(&format!("this server signs with the key {}", key.fingerprint)),
            KeyHistory::Changed => self.note(&format!(
                "this server signs with the key {}, and did so with another one before: ask its operator whether that is right",
                key.fingerprint
            )),
        }
        Ok(key.path)
    }

    /// All incidents, page by page.
    async fn pages(&self) -> Result<Vec<Listed>, ClientError> {
        let (mut incidents, mut cursor) = (Vec::new(), None);
        loop {
            let call = ApiCall::get("v1/incidents")
                .query("limit", [PAGE])
                .query("cursor", cursor);
            let page: Page = self.client.json(&call).await?;
            let is_empty = page.incidents.is_empty(); // then there is no end to be hoped for
            incidents.extend(page.incidents);
            cursor = Some(match page.next {
                Some(next) if !is_empty => next,
                _ => return Ok(incidents),
            });
        }
    }

    /// The one bundle whose id begins so.
    async fn resolve(&self, beginning: &str) -> Result<Digest> {
        if let Ok(id) = beginning.parse() {
            return Ok(id);
        }
        let hex = beginning.strip_prefix("sha256:").unwrap_or(beginning);
        let mut found = Vec::new();
        if !hex.is_empty() {
            for incident in self.pages().await? {
                let bundles = self
                    .bundles(&incident.id)
                    .await?
                    .into_iter()
                    .map(|bundle| bundle.id);
                found.extend(bundles.filter(|id| id.hex().starts_with(hex)));
            }
        }
        match found.as_slice() {
            [only] => Ok(*only),
            [] => bail!("no bundle's id begins with {beginning:?}: `exhibit bundles` lists them"),
            _ => bail!("more than one bundle's id begins with {hex}: give more of it"),
        }
    }

    async fn download(&self, id: Digest, to: &Path, quiet: bool) -> Result<(), ClientError> {
        let (meter, mut line) = (ProgressCounter::default(), ProgressLine::new(quiet));
        let download = self.client.download(id, to, &meter);
        tokio::pin!(download);
        loop {
            tokio::select! {
                done = &mut download => return done,
                () = tokio::time::sleep(DRAW_EVERY) => {
                    line.draw(|| format!("received {}", size(meter.bytes.load(std::sync::atomic::Ordering::Relaxed))));
                }
            }
        }
    }

    fn note(&self, text: &str) {
        if !self.quiet {
            let _ = writeln!(io::stderr(), "exhibit: {text}");
        }
    }
}

#[async_trait]
impl Backend for RemoteBackend {
    async fn now(&self) -> Result<Timestamp> {
        Ok(self.client.now().await?)
    }

    fn due(&self) -> &'static str {
        "now"
    }

    async fn incidents(&self) -> Result<Vec<Listed>> {
        Ok(self.pages().await?)
    }

    async fn has(&self, id: &IncidentId) -> Result<bool> {
        match self
            .client
            .json::<CaptureStatus>(&ApiCall::get(path(id, "")))
            .await
        {
            Ok(_) => Ok(true),
            Err(error) if error.code() == Some("not-found") => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    async fn incident(&self, id: &IncidentId) -> Result<Full> {
        Ok(self.client.json(&ApiCall::get(path(id, ""))).await?)
    }

    async fn is_under_way(&self, id: &IncidentId) -> Result<bool> {
        let CaptureStatus { under_way } = self.client.json(&ApiCall::get(path(id, ""))).await?;
        Ok(under_way)
    }

    /// Sent again where its answer is lost, under a key by which the server knows it again.
    async fn declare(&self, declaring: NewDeclaration) -> Result<Declared> {
        let key = match &declaring.idempotency_key {
            Some(key) => key.clone(),
            None => data_encoding::HEXLOWER
                .encode(&platform::random::<16>().map_err(ClientError::Random)?),
        };
        let call = ApiCall::post("v1/incidents", &declaring).idempotency_key(&key);
        Ok(self
            .client
            .json(&call.context("an idempotency key has visible ASCII characters")?)
            .await?)
    }

    async fn capture(&self, id: &IncidentId, capture: Capture) -> Result<()> {
        Ok(self
            .client
            .done(&ApiCall::post(path(id, "/captures"), &capture))
            .await?)
    }

    async fn stop(&self, id: &IncidentId) -> Result<()> {
        Ok(self
            .client
            .done(&ApiCall::delete(path(id, "/captures")))
            .await?)
    }

    /// Looks on. Whoever may not see events looks now and then.
    async fn finish(&self, id: &IncidentId, quiet: bool) -> Result<()> {
        let (mut line, mut events) = (
            ProgressLine::new(quiet),
            EventSubscription::new(self.client.clone(), id.clone(), 0),
        );
        let (mut is_listening, mut heard) = (true, Instant::now());
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.looking.cancelled() => {
                    drop(line);
                    let _ = writeln!(
                        io::stderr(),
                        "\rexhibit: no longer looking on; the capture goes on: `exhibit watch {id}` looks on, `exhibit stop {id}` ends it"
                    );
                    std::process::exit(INTERRUPTED)
                }
                happened = events.next(), if is_listening => match happened {
                    Ok(Happened::Progress(progress)) => line.draw(|| describe(&progress)),
                    Ok(Happened::Entry { .. }) => look.reset_after(LOOK_SOON),
                    Err(error) if error.code() == Some("forbidden") => is_listening = false,
                    Err(error) => return Err(error.into()),
                },
                _ = look.tick() => match self.client.json::<CaptureStatus>(&ApiCall::get(path(id, ""))).await {
                    Ok(CaptureStatus { under_way: false }) => return Ok(()),
                    Ok(_) => heard = Instant::now(),
                    Err(error) if error.may_pass() && heard.elapsed() < AWAY_MAX => {}
                    Err(error) => return Err(error.into()),
                },
            }
        }
    }

    async fn apply(&self, id: &IncidentId, wishes: &[Command]) -> Result<Vec<ChangeView>> {
        let changed: Changed = self
            .client
            .json(&ApiCall::patch(path(id, ""), &json!({"commands": wishes})))
            .await?;
        Ok(changed.changes)
    }

    async fn close(
        &self,
        id: &IncidentId,
        reason: Option<Line>,
    ) -> Result<Option<Vec<ChangeView>>> {
        let call = ApiCall::post(path(id, "/close"), &json!({"reason": reason}));
        match self.client.json::<Changed>(&call).await {
            Ok(changed) => Ok(Some(changed.changes)),
            Err(error) if error.code() == Some("not-ready-to-close") => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn attach(&self, id: &IncidentId, attaching: AttachRequest) -> Result<AttachmentReceipt> {
        let AttachRequest {
            content,
            name,
            meter,
        } = attaching;
        let sending = match content {
            Content::File(path) => {
                let (content, bytes) = attachable(&path)?;
                let of_file =
                    || Line::escaped(&path.file_name().unwrap_or_default().to_string_lossy());
                Upload {
                    content,
                    bytes,
                    name: name.unwrap_or_else(of_file),
                    meter,
                }
            }
            Content::Stream(content) => Upload {
                content,
                bytes: None,
                name: name.unwrap_or_else(|| Line::escaped(attach::STANDARD_INPUT)),
                meter,
            },
        };
        Ok(AttachmentReceipt {
            receipt: self.client.attach(id, sending).await?,
            gaps: 0,
        })
    }

    async fn brief(&self, id: &IncidentId, external: bool) -> Result<String> {
        let audience = if external { "external" } else { "internal" };
        Ok(self
            .client
            .text(&ApiCall::get(path(id, "/brief")).query("audience", [audience]))
            .await?)
    }

    async fn timeline(
        &self,
        id: &IncidentId,
        filter: Filter,
        each: Visitor<'_, TimelineRow>,
    ) -> Result<()> {
        let Filter {
            from,
            until,
            kinds,
            contains,
        } = filter;
        let call = ApiCall::get(path(id, "/timeline"))
            .query("from", from)
            .query("until", until);
        let call = call
            .query("kind", kinds)
            .query("contains", contains)
            .accept("application/x-ndjson");
        let taken = |line: &[u8]| {
            each(serde_json::from_slice(line).context("cannot read a line of the timeline")?)
        };
        self.client.lines(&call, taken).await
    }

    fn follow(&self, id: &IncidentId, seq: u64) -> Box<dyn EventFeed> {
        Box::new(EventSubscription::new(self.client.clone(), id.clone(), seq))
    }

    async fn bundles(&self, id: &IncidentId) -> Result<Vec<Bundle>> {
        let Bundles { bundles } = self
            .client
            .json(&ApiCall::get(path(id, "/bundles")))
            .await?;
        Ok(bundles)
    }

    async fn bundles_if_seen(&self, id: &IncidentId) -> Result<Option<Vec<Bundle>>> {
        match self
            .client
            .json::<Bundles>(&ApiCall::get(path(id, "/bundles")))
            .await
        {
            Ok(Bundles { bundles }) => Ok(Some(bundles)),
            Err(error) if error.code() == Some("forbidden") => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn locate(&self, bundle: &Digest) -> Result<String> {
        Ok(self.client.url(&format!("v1/bundles/{bundle}")))
    }

    async fn fetch(
        &self,
        beginning: &str,
        to: Option<&Path>,
        quiet: bool,
    ) -> Result<(Digest, PathBuf)> {
        let id = self.resolve(beginning).await?;
        let to = to.map_or_else(|| format!("{}.tar", id.hex()).into(), Path::to_owned);
        match self.download(id, &to, quiet).await {
            Ok(()) => Ok((id, to)),
            Err(error) if error.may_pass() => {
                Err(error).context("the download was cut off; what has arrived is kept, and the same command goes on behind it")
            }
            Err(error) if error.code() == Some("not-found") => {
                bail!("there is no bundle {id}, or none that this token may see: `exhibit bundles` lists them")
            }
            Err(error) => Err(error).with_context(|| format!("cannot fetch {id} into {}", to.display())),
        }
    }

    async fn key(&self) -> Result<PathBuf> {
        self.known_key(&ApiCall::get("v1/key")).await
    }

    async fn key_of(&self, bundle: &Digest, _to: &Path) -> Result<PathBuf> {
        self.known_key(&ApiCall::get(format!("v1/bundles/{bundle}/key")))
            .await
    }

    async fn plan(&self, of: &PlanTarget, capture: Capture) -> Result<CapturePlan> {
        let call = match of {
            PlanTarget::Incident(id) => ApiCall::get(path(id, "/plan")),
            PlanTarget::Play(play, pivots) => ApiCall::get("v1/plan")
                .query("play", [play])
                .query("pivot", pivots),
        };
        let Capture {
            from,
            until,
            sources,
            accounts,
            regions,
            deadline_seconds,
        } = capture;
        let call = call
            .query("from", from)
            .query("until", until)
            .query("source", sources);
        let call = call
            .query("account", accounts)
            .query("region", regions)
            .query("deadlineSeconds", deadline_seconds);
        Ok(self.client.json(&call.long()).await?)
    }

    async fn plays(&self) -> Result<Vec<PlayView>> {
        let Plays { plays } = self.client.json(&ApiCall::get("v1/plays")).await?;
        Ok(plays)
    }

    async fn sources(&self, play: &PlayName, each: Visitor<'_, SourceView>) -> Result<()> {
        let Sources { sources } = self
            .client
            .json(&ApiCall::get("v1/sources").query("play", [play]).long())
            .await?;
        sources.into_iter().try_for_each(each)
    }

    async fn issue(&self, wanted: TokenRequest) -> Result<Created> {
        let TokenRequest {
            role,
            label,
            incident,
            valid,
        } = wanted;
        let wanted = json!({"role": role, "label": label, "incident": incident, "validSeconds": valid.as_secs()});
        Ok(self
            .client
            .json(&ApiCall::post("v1/tokens", &wanted))
            .await?)
    }

    async fn tokens(&self) -> Result<Vec<Token>> {
        let Tokens { tokens } = self.client.json(&ApiCall::get("v1/tokens")).await?;
        Ok(tokens)
    }

    async fn revoke(&self, id: &TokenId) -> Result<Timestamp> {
        match self
            .client
            .done(&ApiCall::delete(format!("v1/tokens/{id}")))
            .await
        {
            Err(error) if error.code() == Some("not-found") => {
                bail!("there is no token {id}: `exhibit token list` lists them")
            }
            done => done?,
        }
        let tokens = self.tokens().await?;
        let revoked = tokens
            .into_iter()
            .find(|token| token.id == *id)
            .and_then(|token| token.revoked);
        revoked.with_context(|| {
            format!("the server says that {id} is revoked, and lists it as good: look into its log")
        })
    }

    fn by(&self) -> &Name {
        &self.by
    }
}

#[async_trait]
impl EventFeed for EventSubscription {
    async fn next(&mut self) -> Result<Happened> {
        Ok(Self::next(self).await?)
    }
}

/// A file to be read, and its bytes where it tells them before its end: not so below /proc.
fn attachable(path: &Path) -> Result<(Box<dyn Read + Send>, Option<u64>)> {
    let metadata = fs::metadata(path)?; // before it is opened: some devices do something then
    let file = File::open(path)?;
    match metadata.len() {
        _ if metadata.is_dir() => bail!(AttachError::Folder {
            path: path.to_owned()
        }),
        _ if !metadata.is_file() => bail!(AttachError::Special {
            path: path.to_owned()
        }),
        0 => Ok((Box::new(file), None)),
        bytes => Ok((Box::new(file.take(bytes)), Some(bytes))),
    }
}
