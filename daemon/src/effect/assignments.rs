//! The record of assignments: which Service has which addresses, shared by all daemons of a cluster.
//!
//! Kept in [files](AssignmentFiles) of the lease directory or in an [object](AssignmentObject) of the API server; changed by
//! compare-and-swap on its revision in both, so that of all who go by one revision a single one writes the next.
//!
//! In: the reconciler's proposals (of the node that allocates) by `watch`. Out: the record as it is found, by `watch`; nothing
//! before the store was read. Three tasks share the store: one follows it, one writes proposals, one has what the node
//! remembers stand in where the store cannot be read when the agent starts. Cancelled, each ends between two steps; a
//! write that is under way is done or not, and the next reading tells which.

mod config_map;
mod content;
mod files;
mod memory;
mod room;

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use landfall_core::election::Revision;
use landfall_core::model::{AssignmentRecord, ObservedAssignments, ServiceName};
use landfall_core::plan::addresses::Proposal;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

pub use config_map::{AssignmentObject, RECORD_LIMIT};
pub use files::AssignmentFiles;

/// How long a failed write waits before it is tried again.
const RETRY: Duration = Duration::from_millis(200);
/// The longest such wait, where the store stays away.
const RETRY_MOST: Duration = Duration::from_secs(1);

/// The record as it was last found; nothing before that.
type Held = Option<ObservedAssignments>;

/// Where the record is kept. Clones share what they know.
#[derive(Clone, Debug)]
pub enum AssignmentStore {
    /// In numbered files.
    Files(AssignmentFiles),
    /// In a ConfigMap.
    Object(AssignmentObject),
}

/// How a write ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// The record is at this revision now.
    At(Revision),
    /// Another revision than the expected one was there.
    Conflict,
}

/// How the write of a proposal ended, or of the part of it that there is room for.
#[derive(Debug)]
struct Put {
    written: Written,
    /// What was to be written.
    record: Arc<AssignmentRecord>,
    /// Services whose entries in the proposal are not in it.
    left_out: BTreeSet<ServiceName>,
}

/// Why a record was not written, as far as is known.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// A file could not be written, and was not.
    #[error("the lease directory")]
    Io(#[from] io::Error),
    /// The API server refused, or could not be reached.
    #[error("the API server")]
    Api(#[source] Box<kube::Error>),
    /// It did not answer in time; it may or may not have written.
    #[error("the API server did not answer within {0:?}")]
    Silent(Duration),
    /// The object was written at a revision that is no number.
    #[error("the API server tells no revision: {0:?}")]
    Revision(String),
    /// The record has outgrown its object, and was not sent.
    #[error("it takes {size} bytes, and an object holds {most}; use fewer Services")]
    TooLarge {
        /// Bytes that it takes.
        size: usize,
        /// Bytes there are.
        most: usize,
    },
    /// The writing thread panicked.
    #[error("the writing thread ended")]
    Thread(#[source] tokio::task::JoinError),
}

impl AssignmentStore {
    /// Publishes the record as the store has it, each time that changes, until cancelled.
    pub async fn follow(self, publish: watch::Sender<Held>, cancel: CancellationToken) {
        match self {
            Self::Files(files) => {
                let token = cancel.clone();
                let ended = tokio::task::spawn_blocking(move || files.follow(&publish, &token));
                if let Err(error) = ended.await {
                    error!(%error, "the thread that follows assignments ended");
                }
            }
            Self::Object(object) => object.follow(publish, cancel).await,
        }
    }

    /// Has what is remembered stand in for a store that is not read within a second. Until cancelled.
    pub async fn recall_in_time(self, publish: watch::Sender<Held>, cancel: CancellationToken) {
        let memory = match self {
            Self::Files(files) => files.memory().clone(),
            Self::Object(object) => object.memory().clone(),
        };
        memory.recall_in_time(publish, cancel).await;
    }

    /// Writes proposals until cancelled, and publishes at once what was written, and which Services there was no room for.
    pub async fn write_proposals(
        self,
        mut proposals: watch::Receiver<Option<Arc<Proposal>>>,
        (publish, left_out): (
            watch::Sender<Held>,
            watch::Sender<Arc<BTreeSet<ServiceName>>>,
        ),
        cancel: CancellationToken,
    ) {
        let mut wait = RETRY;
        loop {
            let proposal = proposals.borrow_and_update().clone();
            let mut failed = false;
            if proposal.is_none() {
                tell_left_out(&left_out, BTreeSet::new());
            }
            if let Some(proposal) = proposal {
                let known = publish.borrow().clone();
                let result = tokio::select! {
                    () = cancel.cancelled() => return,
                    result = self.put(&proposal, known) => result,
                };
                match result {
                    Ok(Put {
                        written: Written::At(revision),
                        record,
                        left_out: without,
                    }) => {
                        let observed = ObservedAssignments {
                            revision: Some(revision),
                            record,
                            recalled: false,
                            lost: false,
                        };
                        offer(&publish, observed);
                        tell_left_out(&left_out, without);
                    }
                    // Whoever follows the store tells of the other revision.
                    Ok(Put { .. }) => {}
                    // Nothing is mended by trying that again; another proposal may fit.
                    Err(error @ WriteError::TooLarge { .. }) => {
                        error!(%error, "the record of assignments is too large and was not written; what is written stays in force");
                    }
                    Err(error) => {
                        if wait == RETRY {
                            let error = &error as &dyn std::error::Error;
                            error!(error, "assignments were not written; it is tried again");
                        }
                        failed = true;
                    }
                }
            }
            tokio::select! {
                () = cancel.cancelled() => return,
                changed = proposals.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(wait), if failed => {}
            }
            wait = if failed {
                (wait * 2).min(RETRY_MOST)
            } else {
                RETRY
            };
        }
    }

    /// Writes a proposal, or the part of it that there is room for beside what is `known` to be written.
    async fn put(&self, proposal: &Arc<Proposal>, known: Held) -> Result<Put, WriteError> {
        let refusal = match self.write(proposal).await {
            Ok(written) => {
                return Ok(Put {
                    written,
                    record: Arc::clone(&proposal.record),
                    left_out: BTreeSet::new(),
                });
            }
            Err(refusal @ WriteError::TooLarge { .. }) => refusal,
            Err(error) => return Err(error),
        };
        let revision = known.as_ref().and_then(|known| known.revision);
        let whole = known.as_ref().is_some_and(|known| !known.lost);
        let known = known.map(|known| known.record).unwrap_or_default();
        let (proposed, beside) = (Arc::clone(&proposal.record), Arc::clone(&known));
        let fit = move || room::fit(&proposed, &beside, config_map::fits);
        let fitted = tokio::task::spawn_blocking(fit).await;
        let Some(fitted) = fitted.map_err(WriteError::Thread)? else {
            return Err(refusal);
        };
        let record = Arc::new(fitted.record);
        let written = match proposal.expected {
            expected if expected != revision => Written::Conflict,
            // It is there already.
            Some(revision) if whole && record == known => Written::At(revision),
            expected => {
                let record = Arc::clone(&record);
                self.write(&Arc::new(Proposal { expected, record })).await?
            }
        };
        Ok(Put {
            written,
            record,
            left_out: fitted.left_out,
        })
    }

    /// Writes a proposal, if the store still has the revision that it was made from.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn write(&self, proposal: &Arc<Proposal>) -> Result<Written, WriteError> {
        match self {
            Self::Files(files) => {
                let (files, wanted) = (files.clone(), Arc::clone(proposal));
                let write = move || files.write(wanted.expected, &wanted.record);
                let written = tokio::task::spawn_blocking(write).await;
                Ok(written.map_err(WriteError::Thread)??)
            }
            Self::Object(object) => object.write(proposal.expected, &proposal.record).await,
        }
    }
}

/// Tells which Services there is no room for, where that is news.
fn tell_left_out(
    told: &watch::Sender<Arc<BTreeSet<ServiceName>>>,
    left_out: BTreeSet<ServiceName>,
) {
    told.send_if_modified(|told| {
        if **told == left_out {
            return false;
        }
        match (left_out.len(), left_out.first()) {
            (services, Some(first)) => error!(
                services,
                %first,
                "the record of assignments is full; Services are left without addresses until others are deleted"
            ),
            _ => info!("the record of assignments has room for every Service again"),
        }
        *told = Arc::new(left_out);
        true
    });
}

/// Publishes what was found, unless something newer is known: readers and writers are not in step.
fn offer(publish: &watch::Sender<Held>, observed: ObservedAssignments) {
    publish.send_if_modified(|held| {
        let newer = held
            .as_ref()
            .is_none_or(|held| held.recalled || held.revision < observed.revision);
        if newer {
            *held = Some(observed);
        }
        newer
    });
}
