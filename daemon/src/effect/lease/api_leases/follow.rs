//! The task that follows the leases: a list once, then a watch, and another list only where that cannot go on or somebody
//! asks for a look.
//!
//! Channels: in, a [`Notify`] for looks, of which several are one; out, the [`Road`]. Cancelled, it ends at once: nothing
//! of it is half done. What cannot be read is tried again at once, and then less often, down to once a second.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::core::WatchEvent;
use landfall_core::election::Content;
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;

use super::error::ApiLeaseError;
use super::ledger::{Doing, Ledger, observed};
use super::object::{self, Found};
use super::requests::Requests;
use super::road::Road;
use crate::effect::lease::clock;
use crate::effect::lease::store::Closed;
use crate::pause::Pause;

/// A watch that lasted so long was no failure.
const SHORT: Duration = Duration::from_secs(1);
/// How often the watch is looked at for being stuck.
const LOOK: Duration = Duration::from_millis(500);
/// A node that does not renew learns nothing from its own renewals, and makes a list this often: before the view would
/// pass for one of a store that cannot be read.
const UNRENEWED: Duration = Duration::from_secs(3);

/// Why reading has come to an end.
enum End {
    /// The election has ended.
    Closed,
    /// The server cannot be read, or not from there.
    Failed(ApiLeaseError),
}

impl From<Closed> for End {
    fn from(_: Closed) -> Self {
        Self::Closed
    }
}

impl From<ApiLeaseError> for End {
    fn from(error: ApiLeaseError) -> Self {
        Self::Failed(error)
    }
}

/// The task's belongings.
pub(super) struct Follower {
    pub(super) requests: Requests,
    pub(super) road: Road,
    /// Somebody wants a look at all there is.
    pub(super) look: Arc<Notify>,
}

impl Follower {
    /// Follows until the election has ended.
    pub(super) async fn run(self) {
        let mut pause = Pause::after_one_more();
        let mut listed = false;
        loop {
            let began = clock::now();
            let read = async {
                if !listed {
                    self.list().await?;
                    listed = true;
                }
                self.watch().await
            };
            let ended = read.await;
            if clock::now().since(began) > SHORT {
                pause.reset();
            }
            let mut wait = pause.take();
            match ended {
                Ok(()) => {}
                Err(End::Closed) => return,
                Err(End::Failed(error)) => {
                    listed &= !error.loses_place();
                    wait = wait.max(error.peace().unwrap_or_default());
                    if !error.is_gone() {
                        let trouble = |ledger: &mut Ledger| ledger.trouble(Doing::Reading, error);
                        if self.road.tell(trouble).await.is_err() {
                            return;
                        }
                    }
                }
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// Lists all there is, and tells what is new.
    async fn list(&self) -> Result<(), End> {
        let before = self.road.know(|ledger| ledger.begin_list());
        let as_of = clock::now();
        let mut missing = self.road.know(|ledger| ledger.names());
        let mut page = self.requests.list(None).await?;
        let revision = object::revision(
            page.metadata
                .resource_version
                .as_deref()
                .unwrap_or_default(),
        )?;
        if revision < before {
            tracing::warn!(
                before,
                revision,
                "the API server's store has gone back; reading all leases anew"
            );
            for name in std::mem::take(&mut missing) {
                let absent = observed(name, None, Content::Absent);
                self.road.tell(|_| Some(absent)).await?;
            }
            self.road.know(|ledger| ledger.restart(revision));
        }
        let mut missing: HashSet<_> = missing.into_iter().collect();
        loop {
            for item in page.items {
                let Some(found) = object::read(item)? else {
                    continue;
                };
                missing.remove(&found.name);
                self.road.tell(|ledger| ledger.listed(found)).await?;
            }
            let Some(after) = page.metadata.continue_.filter(|after| !after.is_empty()) else {
                break;
            };
            page = self.requests.list(Some(after)).await?;
        }
        for name in missing {
            self.road
                .tell(|ledger| ledger.missed(name, revision))
                .await?;
        }
        self.road.tell(|ledger| ledger.pass(revision)).await?;
        Ok(self.road.tell(|ledger| ledger.sync(as_of)).await?)
    }

    /// Watches from where the last watch or list came to, until the watch is over, as it is every few minutes, or stuck.
    async fn watch(&self) -> Result<(), End> {
        let from = self.road.know(|ledger| ledger.passed());
        let mut watch = self.requests.watch(from).await?;
        self.road.tell(|ledger| ledger.well(Doing::Reading)).await?;
        let open_since = clock::now();
        let mut ticks = tokio::time::interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut tried_at = open_since;
        loop {
            tokio::select! {
                event = watch.next() => match event {
                    Ok(Some(event)) => self.take_in(event).await?,
                    // Whether the server is still there will be seen by the next watch.
                    Ok(None) | Err(ApiLeaseError::Unreachable(_)) => return Ok(()),
                    Err(error) => return Err(error.into()),
                },
                () = self.look.notified() => self.list().await?,
                _ = ticks.tick() => {
                    if self.road.know(|ledger| ledger.has_gone_back()) {
                        return self.list().await;
                    }
                    let now = clock::now();
                    if self.road.know(|ledger| ledger.is_stuck(open_since, now)) {
                        tracing::debug!("the watch of leases is behind what this node has written; opening another");
                        return Ok(());
                    }
                    let synced = self.road.know(|ledger| ledger.synced()).unwrap_or_default();
                    if now.since(synced.max(tried_at)) > UNRENEWED {
                        tried_at = now;
                        self.list().await?;
                    }
                }
            }
        }
    }

    async fn take_in(&self, event: WatchEvent<Lease>) -> Result<(), End> {
        let passed = match event {
            WatchEvent::Added(lease) | WatchEvent::Modified(lease) => {
                let revision = version(&lease)?;
                if let Some(found) = object::read(lease)? {
                    self.road.tell(|ledger| ledger.changed(found)).await?;
                }
                revision
            }
            WatchEvent::Deleted(lease) => {
                let revision = version(&lease)?;
                if let Some(Found { name, .. }) = object::read(lease)? {
                    self.road
                        .tell(|ledger| ledger.ended(name, revision))
                        .await?;
                }
                revision
            }
            WatchEvent::Bookmark(mark) => object::revision(&mark.metadata.resource_version)?,
            // Made an error of where it was read.
            WatchEvent::Error(_) => return Ok(()),
        };
        Ok(self.road.tell(|ledger| ledger.pass(passed)).await?)
    }
}

fn version(lease: &Lease) -> Result<u64, ApiLeaseError> {
    object::revision(
        lease
            .metadata
            .resource_version
            .as_deref()
            .unwrap_or_default(),
    )
}
