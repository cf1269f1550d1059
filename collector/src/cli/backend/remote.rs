//! The backend for a server, which captures by itself.

use std::fs::{self, File};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use api::timeline::EVIDENCE_HEADER;
use api::{
    AgentAuthorityInfo, AgentAuthorityList, AgentAuthorityRequest, AgentDetails, AgentInfo,
    AgentList, AgentPatch, BundleList, BundleSummary, CaptureOptions, ChangeResponse, CloseRequest,
    DeclareRequest, DeclareResponse, EnrollmentTokenInfo, EnrollmentTokenList,
    EnrollmentTokenRequest, EnrollmentTokenWithSecret, EventSummary, IncidentDetails,
    IncidentListItem, IncidentPage, PlayDetails, PlayList, ProblemCode, SourceList, SourceStatus,
    StreamEvent, TimelineRow, TokenId, TokenInfo, TokenList, TokenRequest, TokenWithSecret,
};
use async_trait::async_trait;
use evidence_format::digest::Digest;
use evidence_format::id::IncidentId;
use evidence_format::time::Timestamp;
use protocol::identity::AgentId;
use protocol::keyring::AgentKeyring;
use protocol::token::EnrollmentTokenId;
use serde::Deserialize;
use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::super::attach;
use super::super::interrupt::EXIT_INTERRUPTED;
use super::super::output::OutputClosed;
use super::selection::path_variable;
use super::{
    AttachRequest, AttachmentResult, Backend, CaptureDisplay, ChunkVisitor, EventFeed, PlanTarget,
    Visitor, bundle_file, draw_bytes,
};
use client::config::ProfileName;
use client::keys::{KeyHistory, state_folder};
use client::{ApiCall, ApiClient, ClientError, EventSubscription, Upload};
use domain::answers::{
    AnswerWindow, ChangesAnswer, CoverageAnswer, ExposureAnswer, IdentitiesAnswer,
    PersistenceAnswer, TrustsAnswer,
};
use domain::incident::{Command, Line, Name, PlayName};
use domain::plan::CapturePlan;
use pipeline::timeline::{LineName, TimelineFilter};
use pipeline::{AttachError, AttachmentContent};
use platform::progress::ProgressCounter;
use server::answers::EventQuestion;

/// Incidents on one page: the API's limit.
const PAGE_INCIDENTS: u32 = 200;
/// How often the end of captures is checked without events, and how soon after an event.
const POLL_INTERVAL: Duration = Duration::from_secs(2);
const POLL_AFTER_EVENT: Duration = Duration::from_millis(200);
/// How long the server may be unreachable while captures are watched. An upgrade and a restart take
/// less.
const OUTAGE_MAX: Duration = Duration::from_secs(300);

pub(crate) struct RemoteBackend {
    pub(crate) client: ApiClient,
    /// The profile that names the server, if one does.
    pub(crate) profile: Option<ProfileName>,
    /// The default label. Journals name the token's holder instead.
    pub(crate) by: Name,
    pub(crate) quiet: bool,
    /// Cancelled when the user does not want to watch any longer.
    pub(crate) interrupted: CancellationToken,
}

/// The members that a token with any role may see of an incident.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CaptureStatus {
    under_way: bool,
}

fn incident_path(id: &IncidentId, suffix: &str) -> String {
    format!("v1/incidents/{id}{suffix}")
}

impl RemoteBackend {
    /// Requests a public key with `call`, stores it on this machine, and reports a new one.
    async fn remember_key(&self, call: &ApiCall) -> Result<PathBuf> {
        let key = self
            .client
            .key(
                call,
                &state_folder(path_variable("XDG_STATE_HOME"), path_variable("HOME"))?,
            )
            .await?;
        let remark = match key.history {
            // Silence means that nothing changed, so that a warning stands out.
            KeyHistory::Unchanged => return Ok(key.path),
            KeyHistory::FirstSeen => "seen for the first time",
            KeyHistory::Changed => {
                "and signed with another key before: ask its operator whether that is right"
            }
        };
        let fingerprint = &key.fingerprint;
        self.print_note(&format!(
            "the server signs with key {fingerprint}, {remark}"
        ));
        Ok(key.path)
    }

    async fn capture_status(&self, id: &IncidentId) -> Result<CaptureStatus, ClientError> {
        self.client.json(&ApiCall::get(incident_path(id, ""))).await
    }

    /// Reads all pages of incidents.
    async fn list_incidents(&self) -> Result<Vec<IncidentListItem>, ClientError> {
        let (mut incidents, mut cursor) = (Vec::new(), None);
        loop {
            let call = ApiCall::get("v1/incidents")
                .query("limit", [PAGE_INCIDENTS])
                .query("cursor", cursor);
            let page: IncidentPage = self.client.json(&call).await?;
            // A server that always names a next page must not keep the client here forever.
            let is_empty = page.incidents.is_empty();
            incidents.extend(page.incidents);
            cursor = Some(match page.next {
                Some(next) if !is_empty => next,
                Some(_) | None => return Ok(incidents),
            });
        }
    }

    /// The only bundle whose id begins with `prefix`, with or without `sha256:`. The API has no
    /// search by prefix, so this reads the bundles of all incidents.
    async fn resolve_bundle_id(&self, prefix: &str) -> Result<Digest> {
        if let Ok(id) = prefix.parse() {
            return Ok(id);
        }
        let hex = prefix.strip_prefix("sha256:").unwrap_or(prefix);
        let mut found = Vec::new();
        if !hex.is_empty() {
            for incident in self.list_incidents().await? {
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
            [] => bail!("no bundle id begins with {prefix:?}: `exhibit bundles` lists them"),
            _ => bail!("several bundle ids begin with {hex}: give more digits"),
        }
    }

    async fn download(&self, id: Digest, to: &Path, quiet: bool) -> Result<(), ClientError> {
        let counter = ProgressCounter::default();
        let download = self.client.download(id, to, &counter);
        draw_bytes(download, "received", &counter, None, quiet).await
    }

    fn print_note(&self, text: &str) {
        if !self.quiet {
            let _ = writeln!(io::stderr(), "exhibit: {text}");
        }
    }
}

#[async_trait]
impl Backend for RemoteBackend {
    async fn now(&self) -> Result<Timestamp> {
        Ok(self.client.server_time().await?)
    }

    fn location(&self) -> String {
        let server = self.client.server();
        match &self.profile {
            Some(profile) => format!("on {server} (profile {profile})"),
            None => format!("on {server}"),
        }
    }

    fn is_interrupted(&self) -> bool {
        false // Ctrl-C ends the watching, and with it this process
    }

    fn resume_command(&self) -> Option<&'static str> {
        None
    }

    fn due_now_hint(&self) -> &'static str {
        "now"
    }

    async fn incidents(&self) -> Result<Vec<IncidentListItem>> {
        Ok(self.list_incidents().await?)
    }

    async fn has_incident(&self, id: &IncidentId) -> Result<bool> {
        match self.capture_status(id).await {
            Ok(_) => Ok(true),
            // The server answers the same for an incident that this token may not see.
            Err(error) if error.code() == Some(ProblemCode::NotFound) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    async fn incident(&self, id: &IncidentId) -> Result<IncidentDetails> {
        Ok(self
            .client
            .json(&ApiCall::get(incident_path(id, "")))
            .await?)
    }

    async fn is_under_way(&self, id: &IncidentId) -> Result<bool> {
        Ok(self.capture_status(id).await?.under_way)
    }

    /// The idempotency key lets the client repeat the request if the answer is lost.
    async fn declare(
        &self,
        request: DeclareRequest,
        idempotency_key: Option<String>,
    ) -> Result<DeclareResponse> {
        let key = match idempotency_key {
            Some(key) => key,
            None => platform::random_hex::<16>().map_err(ClientError::Randomness)?,
        };
        let call = ApiCall::post("v1/incidents", &request).idempotency_key(&key);
        Ok(self
            .client
            .json(&call.context("an idempotency key must consist of visible ASCII characters")?)
            .await?)
    }

    async fn capture(&self, id: &IncidentId, capture: CaptureOptions) -> Result<()> {
        Ok(self
            .client
            .execute(&ApiCall::post(incident_path(id, "/captures"), &capture))
            .await?)
    }

    async fn stop_captures(&self, id: &IncidentId) -> Result<()> {
        Ok(self
            .client
            .execute(&ApiCall::delete(incident_path(id, "/captures")))
            .await?)
    }

    /// Watches events, and polls the incident, which alone says that the captures have ended. A
    /// token that may not read events only polls.
    async fn finish_captures(&self, id: &IncidentId, quiet: bool) -> Result<()> {
        let (mut display, mut events) = (
            CaptureDisplay::new(quiet),
            EventSubscription::new(self.client.clone(), id.clone(), 0),
        );
        // The poll decides about outages: events come only while something happens.
        let (mut is_subscribed, mut reachable_at) = (true, Instant::now());
        let mut poll = interval(POLL_INTERVAL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.interrupted.cancelled() => {
                    // Erases the progress line before the message.
                    display.clear();
                    let _ = writeln!(
                        io::stderr(),
                        "\rexhibit: stopped watching; the server continues: `exhibit watch {id}` \
                         watches again, `exhibit stop {id}` ends the captures"
                    );
                    std::process::exit(EXIT_INTERRUPTED)
                }
                event = events.next(), if is_subscribed => match event {
                    Ok(StreamEvent::Progress(captures)) => {
                        display.show(captures, "Ctrl-C ends only the watching");
                    }
                    // An entry may be the end of the last capture: the check need not wait for its
                    // turn.
                    Ok(StreamEvent::JournalEntry { .. }) => poll.reset_after(POLL_AFTER_EVENT),
                    Err(error) if error.code() == Some(ProblemCode::Forbidden) => {
                        is_subscribed = false;
                    }
                    Err(error) => return Err(error.into()),
                },
                _ = poll.tick() => match self.capture_status(id).await {
                    Ok(status) if !status.under_way => return Ok(()),
                    Ok(_) => reachable_at = Instant::now(),
                    Err(error)
                        // An upgrade of the server must not end the watching.
                        if error.is_transient() && reachable_at.elapsed() < OUTAGE_MAX => {}
                    Err(error) => return Err(error.into()),
                },
            }
        }
    }

    async fn apply(&self, id: &IncidentId, commands: &[Command]) -> Result<Vec<EventSummary>> {
        let changed: ChangeResponse = self
            .client
            .json(&ApiCall::patch(
                incident_path(id, ""),
                &json!({"commands": commands}),
            ))
            .await?;
        Ok(changed.changes)
    }

    async fn close(
        &self,
        id: &IncidentId,
        reason: Option<Line>,
    ) -> Result<Option<Vec<EventSummary>>> {
        let call = ApiCall::post(incident_path(id, "/close"), &CloseRequest { reason });
        match self.client.json::<ChangeResponse>(&call).await {
            Ok(changed) => Ok(Some(changed.changes)),
            Err(error) if error.code() == Some(ProblemCode::NotReadyToClose) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn attach(&self, id: &IncidentId, request: AttachRequest) -> Result<AttachmentResult> {
        let AttachRequest {
            content,
            name,
            progress,
        } = request;
        let upload = match content {
            AttachmentContent::File(path) => {
                let (content, bytes) = open_attachment(&path)?;
                let file_name = path.file_name().unwrap_or_default().to_string_lossy();
                Upload {
                    content,
                    bytes,
                    name: name.unwrap_or_else(|| Line::escaped(&file_name)),
                    progress,
                }
            }
            AttachmentContent::Stream(content) => Upload {
                content,
                bytes: None,
                name: name.unwrap_or_else(|| Line::escaped(attach::STANDARD_INPUT)),
                progress,
            },
        };
        Ok(AttachmentResult {
            receipt: self.client.attach(id, upload).await?,
            // A server seals a stream that it has received to its end, so there are no gaps.
            gaps: 0,
        })
    }

    async fn brief(&self, id: &IncidentId, external: bool) -> Result<String> {
        let audience = if external { "external" } else { "internal" };
        Ok(self
            .client
            .text(&ApiCall::get(incident_path(id, "/brief")).query("audience", [audience]))
            .await?)
    }

    async fn read_timeline(
        &self,
        id: &IncidentId,
        filter: TimelineFilter,
        each: Visitor<'_, TimelineRow>,
    ) -> Result<()> {
        let call = ApiCall::get(incident_path(id, "/timeline"));
        let call = with_filter(call, filter)
            // One row a line, so that a long timeline is never in memory as a whole.
            .accept("application/x-ndjson");
        self.client
            .lines(&call, |line| {
                each(serde_json::from_slice(line).context("cannot read a row of the timeline")?)
            })
            .await
    }

    async fn read_record(
        &self,
        id: &IncidentId,
        line: &LineName,
        each: ChunkVisitor<'_>,
    ) -> Result<LineName> {
        let call = ApiCall::get(incident_path(id, "/record"))
            .query("line", [line])
            .slow(); // the server verifies the whole bundle first
        let evidence = self
            .client
            .chunks::<anyhow::Error>(&call, EVIDENCE_HEADER, each)
            .await?;
        Ok(evidence.parse()?)
    }

    async fn identities(
        &self,
        id: &IncidentId,
        question: EventQuestion,
    ) -> Result<IdentitiesAnswer> {
        let call = ApiCall::get(incident_path(id, "/identities"));
        Ok(self.client.json(&with_question(call, question)).await?)
    }

    async fn changes(&self, id: &IncidentId, question: EventQuestion) -> Result<ChangesAnswer> {
        let call = ApiCall::get(incident_path(id, "/changes"));
        Ok(self.client.json(&with_question(call, question)).await?)
    }

    async fn persistence(
        &self,
        id: &IncidentId,
        question: EventQuestion,
    ) -> Result<PersistenceAnswer> {
        let call = ApiCall::get(incident_path(id, "/persistence"));
        Ok(self.client.json(&with_question(call, question)).await?)
    }

    async fn trusts(
        &self,
        id: &IncidentId,
        name: &str,
        depth: Option<u32>,
    ) -> Result<TrustsAnswer> {
        let call = ApiCall::get(incident_path(id, "/trusts"))
            .query("name", [name])
            .query("depth", depth);
        Ok(self.client.json(&call.slow()).await?)
    }

    async fn exposure(
        &self,
        id: &IncidentId,
        name: &str,
        question: EventQuestion,
        depth: Option<u32>,
    ) -> Result<ExposureAnswer> {
        let call = ApiCall::get(incident_path(id, "/exposure"))
            .query("name", [name])
            .query("depth", depth);
        Ok(self.client.json(&with_question(call, question)).await?)
    }

    async fn coverage(&self, id: &IncidentId, window: AnswerWindow) -> Result<CoverageAnswer> {
        let call = ApiCall::get(incident_path(id, "/coverage"))
            .query("from", window.from)
            .query("until", window.until);
        Ok(self.client.json(&call).await?)
    }

    fn subscribe(&self, id: &IncidentId, seq: u64) -> Box<dyn EventFeed> {
        Box::new(EventSubscription::new(self.client.clone(), id.clone(), seq))
    }

    async fn bundles(&self, id: &IncidentId) -> Result<Vec<BundleSummary>> {
        let BundleList { bundles } = self
            .client
            .json(&ApiCall::get(incident_path(id, "/bundles")))
            .await?;
        Ok(bundles)
    }

    async fn bundles_if_permitted(&self, id: &IncidentId) -> Result<Option<Vec<BundleSummary>>> {
        match self
            .client
            .json::<BundleList>(&ApiCall::get(incident_path(id, "/bundles")))
            .await
        {
            Ok(BundleList { bundles }) => Ok(Some(bundles)),
            // Any other failure is not about the token's role.
            Err(error) if error.code() == Some(ProblemCode::Forbidden) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn location_of(&self, bundle: &Digest) -> Result<String> {
        Ok(self.client.url(&format!("v1/bundles/{bundle}")))
    }

    async fn fetch_bundle(
        &self,
        id_prefix: &str,
        to: Option<&Path>,
        _recorded_as: Option<&Path>,
        quiet: bool,
    ) -> Result<(Digest, PathBuf)> {
        let id = self.resolve_bundle_id(id_prefix).await?;
        let to = bundle_file(to, &id)?;
        // The caller can only act on some of the failures; these say how.
        match self.download(id, &to, quiet).await {
            Ok(()) => Ok((id, to)),
            Err(error) if error.is_transient() => {
                Err(error).context("the download broke off; the received part is kept, and the same command resumes it")
            }
            Err(error) if error.code() == Some(ProblemCode::NotFound) => {
                bail!("there is no bundle {id} that this token may see: `exhibit bundles` lists them")
            }
            Err(error) => Err(error).with_context(|| format!("cannot fetch {id} into {}", to.display())),
        }
    }

    /// The bundle is verified in a file before its first byte is written.
    async fn stream_bundle(&self, id_prefix: &str) -> Result<()> {
        let random = platform::random_hex::<8>().map_err(ClientError::Randomness)?;
        let folder = std::env::temp_dir().join(format!("exhibit-fetch-{random}"));
        let mut builder = fs::DirBuilder::new();
        builder.mode(0o700).create(&folder)?;
        let copied = async {
            let (_, file) = self
                .fetch_bundle(id_prefix, Some(&folder), None, self.quiet)
                .await?;
            match io::copy(&mut File::open(file)?, &mut io::stdout()) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(OutputClosed.into()),
                copied => Ok(copied.map(drop)?),
            }
        }
        .await;
        let _ = fs::remove_dir_all(&folder); // the system removes what is left in its folder
        copied
    }

    async fn public_key_file(&self) -> Result<PathBuf> {
        self.remember_key(&ApiCall::get("v1/key")).await
    }

    async fn public_key_file_of(&self, bundle: &Digest, _to: &Path) -> Result<PathBuf> {
        self.remember_key(&ApiCall::get(format!("v1/bundles/{bundle}/key")))
            .await
    }

    async fn plan(&self, target: &PlanTarget, capture: CaptureOptions) -> Result<CapturePlan> {
        let call = match target {
            PlanTarget::Incident(id) => ApiCall::get(incident_path(id, "/plan")),
            PlanTarget::Play(play, pivots) => ApiCall::get("v1/plan")
                .query("play", [play])
                .query("pivot", pivots),
        };
        let CaptureOptions {
            from,
            until,
            sources,
            accounts,
            regions,
            deadline_seconds,
            // A plan is of sources; which hosts have agents, `exhibit agents` lists.
            hosts: _,
            host_labels: _,
            nodes: _,
            pods: _,
            images: _,
        } = capture;
        let call = call
            .query("from", from)
            .query("until", until)
            .query("source", sources);
        let call = call
            .query("account", accounts)
            .query("region", regions)
            .query("deadlineSeconds", deadline_seconds);
        // The server checks every source for a plan.
        Ok(self.client.json(&call.slow()).await?)
    }

    async fn plays(&self) -> Result<Vec<PlayDetails>> {
        let PlayList { plays } = self.client.json(&ApiCall::get("v1/plays")).await?;
        Ok(plays)
    }

    async fn check_sources(&self, play: &PlayName, each: Visitor<'_, SourceStatus>) -> Result<()> {
        let SourceList { sources } = self
            .client
            .json(&ApiCall::get("v1/sources").query("play", [play]).slow())
            .await?;
        sources.into_iter().try_for_each(each)
    }

    async fn create_token(&self, request: TokenRequest) -> Result<TokenWithSecret> {
        Ok(self
            .client
            .json(&ApiCall::post("v1/tokens", &request))
            .await?)
    }

    async fn tokens(&self) -> Result<Vec<TokenInfo>> {
        let TokenList { tokens } = self.client.json(&ApiCall::get("v1/tokens")).await?;
        Ok(tokens)
    }

    async fn revoke_token(&self, id: &TokenId) -> Result<Timestamp> {
        match self
            .client
            .execute(&ApiCall::delete(format!("v1/tokens/{id}")))
            .await
        {
            Err(error) if error.code() == Some(ProblemCode::NotFound) => {
                bail!("there is no token {id}: `exhibit token list` lists them")
            }
            result => result?,
        }
        // The answer has no content; the list has the time.
        let tokens = self.tokens().await?;
        let revoked = tokens
            .into_iter()
            .find(|token| token.id == *id)
            .and_then(|token| token.revoked_at);
        revoked.with_context(|| {
            format!(
                "the server accepted the revocation of {id} but lists it as valid: read its log"
            )
        })
    }

    async fn agents(&self) -> Result<Vec<AgentInfo>> {
        let AgentList { agents } = self.client.json(&ApiCall::get("v1/agents")).await?;
        Ok(agents)
    }

    async fn agent(&self, id: &AgentId) -> Result<AgentDetails> {
        let call = ApiCall::get(format!("v1/agents/{id}"));
        Ok(self.client.json(&call).await?)
    }

    async fn change_agent(&self, id: &AgentId, patch: AgentPatch) -> Result<AgentDetails> {
        let call = ApiCall::patch(format!("v1/agents/{id}"), &patch);
        Ok(self.client.json(&call).await?)
    }

    async fn agent_keyring(&self) -> Result<Option<AgentKeyring>> {
        match self.client.json(&ApiCall::get("v1/agent-keyring")).await {
            // A token for one incident.
            Err(error) if error.code() == Some(ProblemCode::Forbidden) => Ok(None),
            keyring => Ok(Some(keyring?)),
        }
    }

    async fn agent_authorities(&self) -> Result<Vec<AgentAuthorityInfo>> {
        let call = ApiCall::get("v1/agent-authorities");
        let AgentAuthorityList { authorities } = self.client.json(&call).await?;
        Ok(authorities)
    }

    async fn rotate_agent_authority(&self, generation: u64) -> Result<Vec<AgentAuthorityInfo>> {
        let request = AgentAuthorityRequest {
            replaces: generation,
        };
        let call = ApiCall::post("v1/agent-authorities", &request);
        let AgentAuthorityList { authorities } = self.client.json(&call).await?;
        Ok(authorities)
    }

    async fn create_enrollment_token(
        &self,
        request: EnrollmentTokenRequest,
    ) -> Result<EnrollmentTokenWithSecret> {
        let call = ApiCall::post("v1/agent-tokens", &request);
        Ok(self.client.json(&call).await?)
    }

    async fn enrollment_tokens(&self) -> Result<Vec<EnrollmentTokenInfo>> {
        let call = ApiCall::get("v1/agent-tokens");
        let EnrollmentTokenList { tokens } = self.client.json(&call).await?;
        Ok(tokens)
    }

    async fn revoke_enrollment_token(&self, id: &EnrollmentTokenId) -> Result<()> {
        let call = ApiCall::delete(format!("v1/agent-tokens/{id}"));
        match self.client.execute(&call).await {
            Err(error) if error.code() == Some(ProblemCode::NotFound) => {
                bail!("there is no token {id}: `exhibit agents token list` lists them")
            }
            result => Ok(result?),
        }
    }

    fn user(&self) -> &Name {
        &self.by
    }
}

fn with_filter(call: ApiCall, filter: TimelineFilter) -> ApiCall {
    let TimelineFilter {
        from,
        until,
        kinds,
        contains,
        writes,
        categories,
        outcomes,
        actors,
        credentials,
        targets,
        addresses,
    } = filter;
    call.query("from", from)
        .query("until", until)
        .query("kind", kinds)
        .query("contains", contains)
        .query("writes", writes.then_some(true))
        .query("category", categories.into_iter().map(|one| one.as_str()))
        .query("outcome", outcomes.into_iter().map(|one| one.as_str()))
        .query("actor", actors)
        .query("credential", credentials)
        .query("target", targets)
        .query("address", addresses)
}

fn with_question(call: ApiCall, question: EventQuestion) -> ApiCall {
    with_filter(call, question.filter)
        .query("all", question.all.then_some(true))
        .query("limit", question.limit)
        .query("cursor", question.cursor)
        // The server reads all events of the window.
        .slow()
}

#[async_trait]
impl EventFeed for EventSubscription {
    async fn next(&mut self) -> Result<StreamEvent> {
        Ok(Self::next(self).await?)
    }
}

/// Opens a file for upload, with its length. Files below /proc claim to be empty, so a length of 0
/// is no length.
fn open_attachment(path: &Path) -> Result<(Box<dyn Read + Send>, Option<u64>)> {
    let path = path.to_owned();
    // Checked before the file is opened: opening a device may have effects.
    let metadata = fs::metadata(&path)?;
    if metadata.is_dir() {
        bail!(AttachError::Folder { path });
    }
    if !metadata.is_file() {
        bail!(AttachError::Special { path });
    }
    let file = File::open(&path)?;
    match metadata.len() {
        0 => Ok((Box::new(file), None)),
        bytes => Ok((Box::new(file.take(bytes)), Some(bytes))),
    }
}
