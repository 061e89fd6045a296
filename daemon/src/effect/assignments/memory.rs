//! What the node remembers of the record, in its state directory.
//!
//! Written when a record was read or written; read where the store cannot be when the agent starts, and then as *recalled*, so
//! that nothing is allocated by it (`docs/decisions/0007`).

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use landfall_core::election::Revision;
use landfall_core::model::{AssignmentRecord, ObservedAssignments};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::Held;
use crate::state_file::StateFile;

/// How long the store may take to be read before what is remembered stands in for it.
const PATIENCE: Duration = Duration::from_secs(1);
/// The layout of the copy.
const LAYOUT: u32 = 1;

/// The copy of one store's record.
#[derive(Clone, Debug)]
pub(super) struct Memory {
    file: StateFile,
    store: Arc<str>,
}

/// The copy as it is written.
#[derive(Serialize, Deserialize)]
struct Copy {
    /// Whose record this is.
    #[serde(rename = "directory")]
    store: String,
    revision: Option<u64>,
    record: AssignmentRecord,
}

impl Memory {
    /// The copy in the directory `state` of the record that `store` names.
    pub(super) fn new(state: &Path, store: &str) -> Self {
        Self {
            file: StateFile::new(state, "assignments.json"),
            store: store.into(),
        }
    }

    /// What is remembered of this store's record. Blocks.
    pub(super) fn load(&self) -> Option<ObservedAssignments> {
        match self.file.unseal::<Copy>(LAYOUT) {
            Ok(copy) => {
                copy.filter(|copy| *copy.store == *self.store)
                    .map(|copy| ObservedAssignments {
                        revision: copy.revision.map(Revision),
                        record: Arc::new(copy.record),
                        recalled: true,
                        lost: false,
                    })
            }
            Err(error) => {
                warn!(%error, "no assignments are remembered");
                None
            }
        }
    }

    /// Replaces the copy. Blocks.
    ///
    /// # Errors
    /// It may or may not be there.
    fn store(&self, observed: &ObservedAssignments) -> io::Result<()> {
        let copy = Copy {
            store: self.store.to_string(),
            revision: observed.revision.map(|revision| revision.0),
            record: AssignmentRecord::clone(&observed.record),
        };
        self.file.seal(LAYOUT, &copy)
    }

    /// Keeps a copy of what was read, where that is news: of a revision once, whether it could be written or not. Blocks.
    pub(super) fn keep(&self, observed: &ObservedAssignments, kept: &mut Option<Option<Revision>>) {
        if *kept == Some(observed.revision) {
            return;
        }
        if let Err(error) = self.store(observed) {
            warn!(file = %self.file.path().display(), %error, "assignments cannot be remembered; make state.dir writable");
        }
        *kept = Some(observed.revision);
    }

    /// Keeps a copy of the latest that is published and whole, for as long as anybody publishes.
    pub(super) async fn keep_latest(&self, mut observed: watch::Receiver<Held>) {
        let mut kept = None;
        loop {
            let latest = observed.borrow_and_update().clone();
            if let Some(latest) = latest.filter(|latest| !latest.recalled && !latest.lost) {
                let (memory, mut now) = (self.clone(), kept.take());
                let keep = move || {
                    memory.keep(&latest, &mut now);
                    now
                };
                // A panic there has been told; the next revision is tried again.
                kept = tokio::task::spawn_blocking(keep).await.unwrap_or_default();
            }
            if observed.changed().await.is_err() {
                return;
            }
        }
    }

    /// Has what is remembered stand in for a store that does not answer at all.
    pub(super) async fn recall_in_time(
        self,
        publish: watch::Sender<Held>,
        cancel: CancellationToken,
    ) {
        tokio::select! {
            () = cancel.cancelled() => return,
            () = tokio::time::sleep(PATIENCE) => {}
        }
        if publish.borrow().is_none() {
            // A panic there has been told, and leaves things as they are.
            let _ = tokio::task::spawn_blocking(move || self.recall(&publish)).await;
        }
        cancel.cancelled().await;
    }

    /// Has what is remembered stand in, where nothing was read yet. Blocks.
    pub(super) fn recall(&self, publish: &watch::Sender<Held>) {
        if publish.borrow().is_some() {
            return;
        }
        let Some(observed) = self.load() else {
            return;
        };
        publish.send_if_modified(|held| {
            let first = held.is_none();
            if first {
                warn!(
                    services = observed.record.services.len(),
                    "going by remembered assignments; none is changed until the store can be read"
                );
                *held = Some(observed);
            }
            first
        });
    }
}
