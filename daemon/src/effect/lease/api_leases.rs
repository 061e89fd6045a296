//! The lease store in the API server: `coordination.k8s.io/v1` Leases in the agents' namespace.
//!
//! Two writers (one for node leases, one for all others), a follower with the one watch, and a thread that carries what
//! they tell to the election. They begin with [`ApiLeases::open`], which needs no server, and end when the store is
//! dropped; writes under way are finished first. Revisions are those of etcd, one count for all leases, so they grow even
//! where a lease is deleted and made anew.
//!
//! # Load
//!
//! At rest one write a second for each node, its renewal, and one watch. That watch tells of the renewal as of everything
//! else, which shows how fresh the view is (`ledger`); so a list is made at the start, where a watch cannot be gone on
//! with, where somebody asks for a look, and each three seconds by a node that cannot renew.

mod error;
mod follow;
mod ledger;
mod object;
mod requests;
mod road;
#[cfg(test)]
pub(crate) mod stand_in;
#[cfg(test)]
mod tests;
mod writer;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use kube::Client;
use landfall_core::election::{LeaseKind, LeaseName, Outcome, Write};
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use self::follow::Follower;
use self::requests::Requests;
use self::road::Road;
use self::writer::{Queued, Writer};
use super::clock;
use super::store::{LeaseStore, StoreEvent, StoreEvents};

pub use self::error::ApiLeaseError;

/// Writes of node leases under way at once: the own renewal, and fences of peers that died together.
const NODE_WRITES: usize = 8;
/// Writes of service leases under way at once: 700 take two seconds where each takes 80 ms, and the API server's priority
/// and fairness has room for more.
const SERVICE_WRITES: usize = 32;
/// More than the election ever has under way.
const QUEUE: usize = 256;

/// The store.
#[derive(Debug)]
pub struct ApiLeases {
    node_writer: Option<mpsc::Sender<Queued>>,
    service_writer: Option<mpsc::Sender<Queued>>,
    look: Arc<Notify>,
    events: StoreEvents,
    /// Ends the watch.
    cancel: CancellationToken,
    /// The thread with the events need not wait for the election any more.
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl ApiLeases {
    /// Begins to follow and to write the leases in `namespace`, with tasks on `runtime`. Does not wait for the server.
    ///
    /// The store must be dropped on a thread that is none of the runtime's: that waits for the tasks.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub fn open(
        client: Client,
        namespace: &str,
        runtime: &Handle,
        events: StoreEvents,
    ) -> io::Result<Self> {
        let requests = Requests::new(client, namespace);
        let stop = Arc::new(AtomicBool::new(false));
        let (road, thread) = Road::start(events.clone(), Arc::clone(&stop))?;
        let look = Arc::new(Notify::new());
        let cancel = CancellationToken::new();
        let follower = Follower {
            requests: requests.clone(),
            road: road.clone(),
            look: Arc::clone(&look),
        };
        let cancelled = cancel.clone();
        // Not detached: the thread with the events outlives every task that has the road, and is joined.
        drop(runtime.spawn(async move {
            cancelled.run_until_cancelled_owned(follower.run()).await;
        }));
        let writer = |at_once| {
            let (sender, waiting) = mpsc::channel(QUEUE);
            let writer = Writer {
                requests: requests.clone(),
                road: road.clone(),
                at_once,
            };
            drop(runtime.spawn(writer.run(waiting)));
            Some(sender)
        };
        Ok(Self {
            node_writer: writer(NODE_WRITES),
            service_writer: writer(SERVICE_WRITES),
            look,
            events,
            cancel,
            stop,
            thread: Some(thread),
        })
    }
}

impl LeaseStore for ApiLeases {
    fn submit(&self, write: Write) {
        let writer = match write.name.kind() {
            LeaseKind::Node => self.node_writer.as_ref(),
            LeaseKind::Service | LeaseKind::Members => self.service_writer.as_ref(),
        };
        // The lease of this name belongs to the Kubernetes crate for elections, which chooses the allocator here.
        let writer = writer.filter(|_| write.name != LeaseName::allocator());
        let request = write.request;
        let at = clock::now();
        if writer.is_none_or(|writer| writer.try_send(Queued { write, at }).is_err()) {
            // A full queue: the server hangs. Should even this not fit, the election's own time-out tells.
            let _ = self
                .events
                .try_send(StoreEvent::done(request, Outcome::Failed));
        }
    }

    fn look(&self) {
        self.look.notify_one();
    }
}

impl Drop for ApiLeases {
    fn drop(&mut self) {
        self.cancel.cancel();
        self.stop.store(true, Ordering::Relaxed);
        self.node_writer = None;
        self.service_writer = None;
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so already.
            let _ = thread.join();
        }
    }
}
