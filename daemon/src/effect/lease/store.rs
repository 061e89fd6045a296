//! Where leases are kept: the contract that files and the API server fulfil.
//!
//! A store is driven by two one-way roads, so that the election's thread never waits for it: writes are
//! handed to [`LeaseStore::submit`], which returns at once, and everything that is seen or has ended
//! comes back as a [`StoreEvent`]. What a store has to keep to:
//!
//! - a write is a compare-and-swap: of two writes that expect the same revision at most one is done;
//! - events of one lease come in the store's order, and one that goes back in revision (the lease was
//!   deleted and made anew) is preceded by [`Content::Absent`];
//! - a conflict reports what a read after the attempt found;
//! - a write that may or may not have been done, or may be done later, ends as [`Outcome::Failed`];
//! - [`Event::Synced`] comes after everything that was there at the start, and again after every later look at all
//!   there is, with a moment before that look began.

use std::sync::mpsc::SyncSender;

use landfall_core::election::{Event, LeaseName, LeaseTable, Outcome, RequestId, Write};
use landfall_core::node::Notice;

use super::api_leases::ApiLeaseError;
use super::files::FileLeaseError;

#[cfg(doc)]
use landfall_core::election::Content;

/// What a store tells.
#[derive(Debug)]
pub enum StoreEvent {
    /// News for the election: an observation, the end of a write, or that all is synced.
    Election(Event),
    /// The store cannot be read, or a write to it failed, for this reason. It is tried again.
    Trouble(LeaseStoreError),
    /// The store can be read again after trouble.
    Recovered,
}

impl StoreEvent {
    pub(super) fn done(request: RequestId, outcome: Outcome) -> Self {
        Self::Election(Event::Done { request, outcome })
    }
}

/// Why a store is of no use at the moment.
#[derive(Debug, thiserror::Error)]
pub enum LeaseStoreError {
    /// The lease directory.
    #[error("lease files")]
    Files(#[from] FileLeaseError),
    /// The API server.
    #[error("leases in the API server")]
    Api(#[from] ApiLeaseError),
    /// One lease could not be written.
    #[error("lease {name} could not be written")]
    Write {
        /// The lease.
        name: LeaseName,
        /// Why.
        #[source]
        source: FileLeaseError,
    },
    /// What is about to be written could not be remembered, so it was not written.
    #[error("{path} cannot be written or removed; make state.dir writable")]
    Memory {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// The road back from a store. Bounded: a store's own threads wait for the election, never the other
/// way round, as the election has at most a hundred writes under way.
#[derive(Clone, Debug)]
pub struct StoreEvents(pub(super) SyncSender<Input>);

impl StoreEvents {
    /// Tells the election; waits while its queue is full.
    ///
    /// # Errors
    /// When the election has ended.
    pub fn send(&self, event: StoreEvent) -> Result<(), Closed> {
        self.0.send(Input::Store(event)).map_err(|_| Closed)
    }

    pub(super) fn try_send(&self, event: StoreEvent) -> Result<(), Closed> {
        self.0.try_send(Input::Store(event)).map_err(|_| Closed)
    }
}

/// The election has ended; nothing more need be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the lease task has ended")]
pub struct Closed;

/// What reaches the election's thread.
#[derive(Debug)]
pub(super) enum Input {
    Store(StoreEvent),
    Election(Event),
    Quorum(Notice),
    List(tokio::sync::oneshot::Sender<LeaseTable>),
}

/// A place to keep leases in.
pub trait LeaseStore: Send + Sync {
    /// Begins a compare-and-swap; its end comes as [`Event::Done`]. Never blocks.
    fn submit(&self, write: Write);

    /// Asks for a look at all there is, now: [`Event::Synced`] tells when it is done, and since when it counts.
    fn look(&self);
}
