//! Which node allocates, where leases are in the API server: an election by `kube-leader-election`.
//!
//! Out: whether this node allocates, by `watch`. In: nothing but the lease `landfall-allocator`, which its holder renews each
//! five seconds and the others look at as often. Whoever could not renew for the duration of the lease, by its own
//! clock, has lost it.
//!
//! The election judges by comparing clocks and fences nobody: two nodes may believe that they allocate, for as long as their
//! clocks differ and longer where one was paused. Nothing rests on it but that somebody does; that no address is given twice rests
//! on the compare-and-swap of the record of assignments.
//!
//! Cancelled, it says that it allocates no more, and gives the lease back.

use std::future::Future;
use std::time::Duration;

use kube_leader_election::{Error, LeaseLock, LeaseLockParams, LeaseLockResult};
use landfall_core::model::NodeName;
use landfall_core::plan::addresses::ALLOCATOR_LEASE;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

/// How long the lease is good after a renewal.
const TTL: Duration = Duration::from_secs(15);
/// How often it is renewed, or looked at.
const PERIOD: Duration = Duration::from_secs(5);
/// How soon after a failure.
const RETRY: Duration = Duration::from_secs(1);
/// How long a look with its renewal may take.
const ANSWER: Duration = Duration::from_secs(3);
/// How long giving it back may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// Contends for the lease in `namespace` as `node`, and publishes whether it is this node's, until cancelled.
pub async fn run(
    client: kube::Client,
    namespace: String,
    node: NodeName,
    allocating: watch::Sender<bool>,
    cancel: CancellationToken,
) {
    let params = LeaseLockParams {
        lease_name: ALLOCATOR_LEASE.to_owned(),
        holder_id: node.to_string(),
        lease_ttl: TTL,
    };
    let lock = LeaseLock::new(client, &namespace, params);
    let mut contest = Contest {
        allocating,
        good_until: None,
        troubled: false,
    };
    loop {
        let begun = Instant::now();
        let look = timely(ANSWER, lock.try_acquire_or_renew());
        let looked = tokio::select! {
            () = cancel.cancelled() => break,
            () = expiry(contest.good_until) => {
                contest.lose("it could not be renewed in time");
                continue;
            }
            looked = look => looked,
        };
        let next = begun + contest.take_in(looked, begun);
        loop {
            tokio::select! {
                () = cancel.cancelled() => break,
                () = expiry(contest.good_until) => contest.lose("it could not be renewed in time"),
                () = tokio::time::sleep_until(next) => break,
            }
        }
        if cancel.is_cancelled() {
            break;
        }
    }
    if contest.good_until.is_some() {
        contest.lose("the agent stops");
        match timely(FAREWELL, lock.step_down()).await {
            Ok(()) => debug!("the allocator's lease is given back"),
            Err(error) => warn!(
                error,
                "the allocator's lease is not given back; it runs out"
            ),
        }
    }
}

/// What is known of the lease.
struct Contest {
    allocating: watch::Sender<bool>,
    /// When this node has lost it, where it holds it.
    good_until: Option<Instant>,
    troubled: bool,
}

impl Contest {
    /// Takes in how a look ended that began at `begun`. Returns how long after that the next one is due.
    fn take_in(&mut self, looked: Result<LeaseLockResult, String>, begun: Instant) -> Duration {
        match looked {
            Ok(LeaseLockResult::Acquired(_)) => {
                if self.good_until.replace(begun + TTL).is_none() {
                    info!("this node allocates addresses");
                    self.allocating.send_replace(true);
                }
            }
            Ok(LeaseLockResult::NotAcquired(_)) => {
                if self.good_until.is_some() {
                    self.lose("another node has its lease");
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut self.troubled, true) {
                    warn!(
                        error,
                        "Lease {ALLOCATOR_LEASE} cannot be had; it is tried again each second. One that was edited by hand may be deleted"
                    );
                }
                return RETRY;
            }
        }
        self.troubled = false;
        PERIOD
    }

    fn lose(&mut self, why: &str) {
        info!(why, "this node allocates addresses no more");
        self.good_until = None;
        self.allocating.send_replace(false);
    }
}

async fn expiry(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// The result of `request` within `patience`, failures in words.
async fn timely<T>(
    patience: Duration,
    request: impl Future<Output = Result<T, Error>>,
) -> Result<T, String> {
    match tokio::time::timeout(patience, request).await {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err(format!("the API server did not answer within {patience:?}")),
    }
}

#[cfg(test)]
mod tests;
