//! What this node remembers of the leases, on its own disk (`docs/decisions/0007`), and the thread that keeps it.
//!
//! Two sealed files in the state directory: `leases.json`, all leases as they were seen at one moment, and `own-lease.json`,
//! this node's own lease as it was last *about to be* written. Fed by the election's thread with copies and with writes of the
//! own lease; feeds the store with those writes once what they give away is on disk. A renewal that says nothing new goes
//! past the disk. The thread ends when the [`Journal`] is dropped.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};

use landfall_core::election::{
    Content, Incarnation, LeaseName, Memory, NodeLease, Outcome, Record, Revision, Write,
};
use landfall_core::model::NodeName;
use serde::{Deserialize, Serialize};

use super::codec;
use super::store::{LeaseStore, LeaseStoreError, StoreEvent, StoreEvents};
use crate::state_file::StateFile;

/// The layout of both files.
const LAYOUT: u32 = 1;
/// Processes that may have written the own lease are remembered up to this number, the last ones.
const WRITERS: usize = 16;
/// More than wait at once: a copy a second, and one write of the own lease.
const QUEUE: usize = 16;

/// All leases at one moment.
pub(super) type Copy = Vec<(LeaseName, Revision, Record)>;

#[derive(Serialize, Deserialize)]
struct CopyForm {
    node: String,
    /// Where the leases were.
    store: String,
    /// Name, revision, and the text as in the store.
    leases: Vec<(String, u64, String)>,
}

#[derive(Serialize, Deserialize)]
struct AttemptForm {
    lease: String,
    writers: Vec<String>,
}

/// The two files.
#[derive(Clone, Debug)]
pub struct LeaseMemory {
    node: NodeName,
    store: String,
    copy: StateFile,
    attempt: StateFile,
}

impl LeaseMemory {
    /// The files of `node` in its state directory, with what it remembers of `store`.
    #[must_use]
    pub fn new(state: &Path, node: NodeName, store: &Path) -> Self {
        Self {
            node,
            store: store.display().to_string(),
            copy: StateFile::new(state, "leases.json"),
            attempt: StateFile::new(state, "own-lease.json"),
        }
    }

    /// What is remembered. What is of no use is told and counts as none.
    #[must_use]
    pub fn load(&self) -> Option<Memory> {
        let copy: CopyForm = told(self.copy.unseal(LAYOUT))?;
        if copy.node != self.node.as_str() || copy.store != self.store {
            tracing::warn!(file = %self.copy.path().display(), node = copy.node, store = copy.store, "leases remembered by another node, or of another store, are not used");
            return None;
        }
        let leases: Option<Copy> = copy
            .leases
            .iter()
            .map(|(name, revision, text)| {
                let record = read(text)?;
                Some((LeaseName::parse(name)?, Revision(*revision), record))
            })
            .collect();
        let Some(leases) = leases else {
            tracing::warn!(file = %self.copy.path().display(), "leases of another form are not remembered");
            return None;
        };
        let (attempted, writers) = self.load_attempt().unzip();
        Some(Memory {
            leases,
            attempted,
            writers: writers.unwrap_or_default().into_iter().collect(),
        })
    }

    fn load_attempt(&self) -> Option<(NodeLease, Vec<Incarnation>)> {
        let attempt: AttemptForm = told(self.attempt.unseal(LAYOUT))?;
        let Some(Record::Node(lease)) = read(&attempt.lease) else {
            return None;
        };
        let writers = attempt.writers.iter();
        let writers = writers.filter_map(|text| u128::from_str_radix(text, 16).ok());
        (lease.node == self.node).then(|| (lease, writers.map(Incarnation).collect()))
    }

    fn store_copy(&self, copy: &Copy) -> io::Result<()> {
        let text = |record: &Record| String::from_utf8_lossy(&codec::encode(Some(record))).into();
        let form = CopyForm {
            node: self.node.to_string(),
            store: self.store.clone(),
            leases: copy
                .iter()
                .map(|(name, revision, record)| (name.to_string(), revision.0, text(record)))
                .collect(),
        };
        self.copy.seal(LAYOUT, &form)
    }

    fn store_attempt(&self, lease: &NodeLease, writers: &[Incarnation]) -> io::Result<()> {
        let text = codec::encode(Some(&Record::Node(lease.clone())));
        let form = AttemptForm {
            lease: String::from_utf8_lossy(&text).into(),
            writers: writers.iter().map(|it| format!("{:032x}", it.0)).collect(),
        };
        self.attempt.seal(LAYOUT, &form)
    }

    /// Remembers nothing any more.
    fn forget(&self) -> io::Result<()> {
        self.attempt.remove().and_then(|()| self.copy.remove())
    }
}

fn read(text: &str) -> Option<Record> {
    match codec::decode(text.as_bytes()) {
        Content::Record(record) => Some(record),
        Content::Torn | Content::Absent => None,
    }
}

/// What was found; trouble is told, and counts as nothing.
fn told<T, E: std::error::Error + Send + Sync + 'static>(found: Result<Option<T>, E>) -> Option<T> {
    found.unwrap_or_else(|error| {
        let error = anyhow::Error::new(error);
        tracing::warn!(
            error = format!("{error:#}"),
            "what this node remembers cannot be used"
        );
        None
    })
}

enum Job {
    /// Remember these.
    Copy(Copy),
    /// Remember what is about to be written, and write it; these first where the write tells less than the last.
    Attempt(Box<Write>, Option<Copy>),
}

/// Before the store: remembers what is written of this node's own lease before it is written.
#[derive(Debug)]
pub(super) struct Journal<S> {
    node: LeaseName,
    store: Arc<S>,
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
    events: StoreEvents,
    /// The own lease as last submitted.
    attempted: Option<NodeLease>,
}

impl<S: LeaseStore + Sync + 'static> Journal<S> {
    /// Starts the thread.
    ///
    /// # Errors
    /// It cannot be started.
    pub(super) fn start(memory: LeaseMemory, store: S, events: StoreEvents) -> io::Result<Self> {
        let node = LeaseName::of_node(&memory.node);
        let store = Arc::new(store);
        let (jobs, waiting) = sync_channel(QUEUE);
        let work = Keeper {
            memory,
            store: Arc::clone(&store),
            events: events.clone(),
            troubled: false,
        };
        let thread = Builder::new().name("lease-memory".into());
        let thread = thread.spawn(move || work.run(&waiting))?;
        Ok(Self {
            node,
            store,
            jobs: Some(jobs),
            thread: Some(thread),
            events,
            attempted: None,
        })
    }

    /// The store itself.
    pub(super) fn store(&self) -> &S {
        &self.store
    }

    /// Remembers the leases as they are. Tells whether that could be begun.
    pub(super) fn remember(&self, copy: Copy) -> bool {
        let jobs = self.jobs.as_ref();
        jobs.is_some_and(|jobs| jobs.try_send(Job::Copy(copy)).is_ok())
    }

    /// Hands a write on, after it is on disk where it is of the own lease and says something new. `copy` gives all leases
    /// as they are.
    pub(super) fn submit(&mut self, write: Write, copy: impl FnOnce() -> Copy) {
        let Some(Record::Node(lease)) = write.record.as_ref().filter(|_| write.name == self.node)
        else {
            return self.store.submit(write);
        };
        let before = self.attempted.as_ref();
        if before.is_some_and(|before| says_the_same(before, lease)) {
            return self.store.submit(write);
        }
        // An entry may go once the leases remembered are past it.
        let tells_less = before.is_none_or(|before| !before.bequests.is_within(&lease.bequests));
        self.attempted = Some(lease.clone());
        let request = write.request;
        let job = Job::Attempt(Box::new(write), tells_less.then(copy));
        let taken = self.jobs.as_ref().map(|jobs| jobs.try_send(job));
        if !matches!(taken, Some(Ok(()))) {
            // The disk hangs. What was not remembered is not written.
            self.attempted = None;
            let failed = StoreEvent::done(request, Outcome::Failed);
            let _ = self.events.try_send(failed);
        }
    }
}

/// Whether a write of `lease` after one of `before` gives nothing away and ends nothing.
fn says_the_same(before: &NodeLease, lease: &NodeLease) -> bool {
    (before.incarnation, before.term) == (lease.incarnation, lease.term)
        && before.fenced_by == lease.fenced_by
        && (Arc::ptr_eq(&before.bequests, &lease.bequests) || before.bequests == lease.bequests)
}

impl<S> Drop for Journal<S> {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so already.
            let _ = thread.join();
        }
    }
}

struct Keeper<S> {
    memory: LeaseMemory,
    store: Arc<S>,
    events: StoreEvents,
    troubled: bool,
}

impl<S: LeaseStore> Keeper<S> {
    fn run(mut self, jobs: &Receiver<Job>) {
        let mut writers = self.memory.load_attempt().unzip().1.unwrap_or_default();
        while let Ok(job) = jobs.recv() {
            match job {
                Job::Copy(copy) => {
                    let stored = self.memory.store_copy(&copy);
                    self.tell(stored.as_ref().err());
                }
                Job::Attempt(write, copy) => self.attempt(*write, copy, &mut writers),
            }
        }
    }

    fn attempt(&mut self, write: Write, copy: Option<Copy>, writers: &mut Vec<Incarnation>) {
        let Some(Record::Node(lease)) = &write.record else {
            return self.store.submit(write);
        };
        writers.retain(|writer| *writer != lease.incarnation);
        writers.push(lease.incarnation);
        if writers.len() > WRITERS {
            writers.remove(0);
        }
        let copied = copy.map_or(Ok(()), |copy| self.memory.store_copy(&copy));
        let stored = copied.and_then(|()| self.memory.store_attempt(lease, writers));
        self.tell(stored.as_ref().err());
        let forgotten = stored.or_else(|_| self.memory.forget());
        match forgotten {
            Ok(()) => self.store.submit(write),
            Err(source) => {
                let trouble = LeaseStoreError::Memory {
                    path: self.memory.attempt.path(),
                    source,
                };
                let failed = StoreEvent::done(write.request, Outcome::Failed);
                // An election that has ended wants no more of it.
                let _ = self.events.send(StoreEvent::Trouble(trouble));
                let _ = self.events.send(failed);
            }
        }
    }

    fn tell(&mut self, error: Option<&io::Error>) {
        match error {
            Some(error) if !self.troubled => {
                let directory = self.memory.copy.path();
                tracing::error!(%error, file = %directory.display(), "leases cannot be remembered; make state.dir writable, or a restart without the lease store announces nothing");
            }
            None if self.troubled => tracing::info!("leases are remembered again"),
            _ => {}
        }
        self.troubled = error.is_some();
    }
}

#[cfg(test)]
mod tests;
