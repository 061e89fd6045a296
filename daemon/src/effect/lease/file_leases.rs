//! The lease store in files: threads that write and one that watches, around a [`LeaseDirectory`].
//!
//! Renewals of the node lease have a thread of their own, so that they never wait behind the service
//! leases of a takeover. All threads end when the store is dropped; writes under way are finished first.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};

use landfall_core::election::{LeaseKind, Outcome, Write};

use rustix::event::{EventfdFlags, eventfd};

use super::files::{FileLeaseError, LeaseDirectory};
use super::store::{LeaseStore, LeaseStoreError, StoreEvent, StoreEvents};
use super::watch::Watch;

/// Threads that write service leases: what they wait for is the disk's flush.
const SERVICE_WRITERS: usize = 3;
/// More than the election ever has under way.
const QUEUE: usize = 256;

/// The store.
#[derive(Debug)]
pub struct FileLeases {
    node_writer: Option<SyncSender<Write>>,
    service_writers: Vec<SyncSender<Write>>,
    next: AtomicUsize,
    events: StoreEvents,
    stop: Arc<AtomicBool>,
    /// Wakes the watch for a look at all there is.
    look: Arc<OwnedFd>,
    threads: Vec<JoinHandle<()>>,
}

impl FileLeases {
    /// Opens the directory at `path`, making it if need be, and begins to tell what is in it.
    ///
    /// # Errors
    /// When the directory cannot be made or read, or a thread cannot be started.
    pub fn open(path: &Path, events: StoreEvents) -> Result<Self, FileLeaseError> {
        Self::follow(LeaseDirectory::open(path)?, events)
    }

    /// As [`Self::open`] with a directory that was there before: it is waited for, and never made anew.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn reopen(path: &Path, events: StoreEvents) -> Result<Self, FileLeaseError> {
        Self::follow(LeaseDirectory::at(path), events)
    }

    fn follow(directory: LeaseDirectory, events: StoreEvents) -> Result<Self, FileLeaseError> {
        let directory = Arc::new(directory);
        let failed = |source| directory.error("starting a thread for it", source);
        let stop = Arc::new(AtomicBool::new(false));
        let look = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|error| directory.error("making an eventfd for it", error.into()))?;
        let look = Arc::new(look);
        let watch = Watch::new(
            directory.clone(),
            events.clone(),
            stop.clone(),
            look.clone(),
        );
        let mut threads = vec![
            Builder::new()
                .name("lease-watch".into())
                .spawn(|| watch.run())
                .map_err(failed)?,
        ];
        let mut writers = Vec::new();
        for index in 0..=SERVICE_WRITERS {
            let (sender, writes) = sync_channel(QUEUE);
            let (directory, events) = (directory.clone(), events.clone());
            let thread = Builder::new().name(format!("lease-write-{index}"));
            threads.push(
                thread
                    .spawn(move || write_all(&directory, &writes, &events))
                    .map_err(failed)?,
            );
            writers.push(sender);
        }
        let node_writer = writers.pop();
        Ok(Self {
            node_writer,
            service_writers: writers,
            next: AtomicUsize::new(0),
            events,
            stop,
            look,
            threads,
        })
    }
}

impl LeaseStore for FileLeases {
    fn submit(&self, write: Write) {
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % SERVICE_WRITERS;
        let writer = match write.name.kind() {
            LeaseKind::Node => self.node_writer.as_ref(),
            LeaseKind::Service | LeaseKind::Members => self.service_writers.get(turn),
        };
        let request = write.request;
        if writer.is_none_or(|writer| writer.try_send(write).is_err()) {
            // A full queue: the disk hangs. Should even this not fit, the election's own time-out tells.
            let _ = self
                .events
                .try_send(StoreEvent::done(request, Outcome::Failed));
        }
    }

    fn look(&self) {
        // A counter that is full wakes as well.
        let _ = rustix::io::write(&*self.look, &1_u64.to_ne_bytes());
    }
}

impl Drop for FileLeases {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.node_writer = None;
        self.service_writers.clear();
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so already.
            let _ = thread.join();
        }
    }
}

fn write_all(directory: &LeaseDirectory, writes: &Receiver<Write>, events: &StoreEvents) {
    while let Ok(write) = writes.recv() {
        let outcome = match directory.compare_and_swap(&write) {
            Ok(outcome) => outcome,
            Err(source) => {
                let error = LeaseStoreError::Write {
                    name: write.name.clone(),
                    source,
                };
                if events.send(StoreEvent::Trouble(error)).is_err() {
                    return;
                }
                Outcome::Failed
            }
        };
        if events
            .send(StoreEvent::done(write.request, outcome))
            .is_err()
        {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
