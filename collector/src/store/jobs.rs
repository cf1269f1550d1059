//! stub
#![allow(missing_docs)]
use evidence_format::id::IncidentId;
use evidence_format::time::Timestamp;
use futures::stream::{FuturesUnordered, StreamExt};
use std::sync::{Arc, Mutex};
use tokio_util::sync::CancellationToken;
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    pub incident: IncidentId,
    pub source: String,
    pub pass: u32,
}
#[derive(Debug, thiserror::Error)]
#[error("jobs")]
pub struct JobsError;
pub enum Until {
    Idle,
    Cancelled(CancellationToken),
}
#[derive(Clone, Default)]
pub struct Jobs(Arc<Mutex<Vec<(Job, Timestamp, bool)>>>);
type Failed = Box<dyn std::error::Error + Send + Sync>;
impl Jobs {
    pub async fn open(_: &str) -> Result<Self, JobsError> {
        Ok(Self::default())
    }
    pub async fn push(&self, job: &Job, at: Timestamp) -> Result<(), JobsError> {
        let mut all = self.0.lock().expect("x");
        if !all.iter().any(|(j, ..)| j == job) {
            all.push((job.clone(), at, false));
        }
        Ok(())
    }
    pub async fn work<F, R>(&self, handler: F, _: Until, _: usize) -> Result<(), JobsError>
    where
        F: Fn(Job) -> R + Clone + Send + Sync + 'static,
        R: Future<Output = Result<(), Failed>> + Send + 'static,
    {
        let mut running = FuturesUnordered::new();
        loop {
            let now = crate::clock::now();
            for entry in self.0.lock().expect("x").iter_mut().filter(|e| !e.2 && e.1 <= now) {
                entry.2 = true;
                running.push(tokio::spawn(handler(entry.0.clone())));
            }
            if running.next().await.is_none() {
                return Ok(());
            }
        }
    }
}
