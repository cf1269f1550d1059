//! The agents in memory: what is asked with each request, who waits for an order, and when each was
//! seen last.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use evidence_format::digest::Digest;
use platform::clock;
use protocol::identity::AgentId;
use protocol::poll::{OrderId, SpoolState};
use store::ledger::{AgentContact, AgentRow};
use tokio::sync::Notify;

/// All agents that have connected since the start. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Roster(Arc<Mutex<RosterTable>>);

#[derive(Default)]
struct RosterTable {
    agents: HashMap<AgentId, Arc<RosterEntry>>,
    certificates: HashMap<Digest, AgentId>,
}

/// One agent.
pub(crate) struct RosterEntry {
    /// As in the ledger, some seconds ago.
    row: Mutex<Arc<AgentRow>>,
    /// Wakes its poll: there is an order, or its row has changed.
    pub(crate) wake: Notify,
    /// Polls that wait for an order.
    pub(crate) polls: AtomicU64,
    /// Only one request at a time writes to its upload.
    pub(crate) upload: tokio::sync::Mutex<()>,
    contact: Mutex<AgentContact>,
    /// True if the contact is newer than the one in the ledger.
    has_news: AtomicBool,
}

impl RosterEntry {
    pub(crate) fn row(&self) -> Arc<AgentRow> {
        Arc::clone(&lock(&self.row))
    }

    /// The agent has sent a request.
    pub(crate) fn touch(&self) {
        lock(&self.contact).at = clock::now();
        self.has_news.store(true, Ordering::Relaxed);
    }

    /// The same, and how it is. True if people should see that soon.
    pub(crate) fn touch_with(
        &self,
        spool: Option<SpoolState>,
        capturing: Option<&OrderId>,
    ) -> bool {
        self.touch();
        let mut contact = lock(&self.contact);
        let was_full = contact.spool.is_full();
        contact.spool = spool.unwrap_or(contact.spool);
        let is_news =
            contact.capturing.as_ref() != capturing || contact.spool.is_full() != was_full;
        contact.capturing = capturing.cloned();
        is_news
    }
}

impl Roster {
    /// The agent with this certificate, if it is known here.
    pub(crate) fn find(&self, certificate: &Digest) -> Option<Arc<RosterEntry>> {
        let table = self.lock();
        let id = table.certificates.get(certificate)?;
        table.agents.get(id).cloned()
    }

    /// Takes over a row of the ledger. The certificate that it replaces is no longer accepted.
    pub(crate) fn update(&self, row: AgentRow) -> Arc<RosterEntry> {
        let mut table = self.lock();
        let (id, digest) = (row.id.clone(), row.certificate.digest);
        let entry = match table.agents.get(&id) {
            Some(entry) => {
                let entry = Arc::clone(entry);
                let old = std::mem::replace(&mut *lock(&entry.row), Arc::new(row));
                if old.certificate.digest != digest {
                    table.certificates.remove(&old.certificate.digest);
                }
                entry
            }
            None => {
                let entry = Arc::new(RosterEntry {
                    contact: Mutex::new(AgentContact {
                        agent: row.id.clone(),
                        at: row.seen_at,
                        spool: row.spool,
                        capturing: row.capturing.clone(),
                    }),
                    row: Mutex::new(Arc::new(row)),
                    wake: Notify::new(),
                    polls: AtomicU64::default(),
                    upload: tokio::sync::Mutex::default(),
                    has_news: AtomicBool::new(false),
                });
                table.agents.insert(id.clone(), Arc::clone(&entry));
                entry
            }
        };
        table.certificates.insert(digest, id);
        entry
    }

    /// Takes over changes of agents that are known here, and wakes their polls, which look again
    /// whether they may go on.
    pub(crate) fn refresh(&self, rows: Vec<AgentRow>) {
        let known: BTreeSet<AgentId> = self.lock().agents.keys().cloned().collect();
        for row in rows.into_iter().filter(|row| known.contains(&row.id)) {
            let entry = self.update(row);
            entry.wake.notify_waiters();
        }
    }

    /// The agents among `ids` that wait for an order here.
    pub(crate) fn waiting(&self, ids: &BTreeSet<AgentId>) -> Vec<Arc<RosterEntry>> {
        let table = self.lock();
        let entries = ids.iter().filter_map(|id| table.agents.get(id));
        let waiting = entries.filter(|entry| entry.polls.load(Ordering::Relaxed) > 0);
        waiting.cloned().collect()
    }

    /// The contacts since the last call.
    pub(crate) fn take_contacts(&self) -> Vec<AgentContact> {
        let table = self.lock();
        let entries = table.agents.values();
        let fresh = entries.filter(|entry| entry.has_news.swap(false, Ordering::Relaxed));
        fresh.map(|entry| lock(&entry.contact).clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, RosterTable> {
        lock(&self.0)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
