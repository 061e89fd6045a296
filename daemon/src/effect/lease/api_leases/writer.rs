//! The tasks that write leases: compare-and-swap by the API server's own preconditions.
//!
//! Node leases have a writer of their own, so that a renewal never waits behind the service leases of a takeover.
//!
//! Channels: in, a bounded queue of writes; out, the [`Road`]. Once the queue's other end is gone a writer finishes what
//! it has, none of which takes longer than [`USEFUL`], and ends.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::Timestamp;
use landfall_core::election::{
    Content, LeaseKind, LeaseName, Moment, Outcome, Record, Revision, Write,
};
use tokio::sync::mpsc;

use super::error::{ApiLeaseError, Verb};
use super::ledger::{Doing, Ledger};
use super::object::{self, Found, Version};
use super::requests::{Answer, Requests};
use super::road::Road;
use crate::effect::lease::clock;
use crate::effect::lease::store::{Closed, StoreEvent};

/// How long a write is of use: the election stops waiting for it after `l2.lease_renew_deadline`, and tries again.
pub(super) const USEFUL: Duration = Duration::from_millis(900);
/// A write that could not be begun by then is not begun, so that what is sent has the time to be answered.
const BEGUN: Duration = Duration::from_millis(500);

/// A write, and when it was handed over.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) write: Write,
    pub(super) at: Moment,
}

/// What a writer has.
#[derive(Clone)]
pub(super) struct Writer {
    pub(super) requests: Requests,
    pub(super) road: Road,
    /// Writes under way at once.
    pub(super) at_once: usize,
}

/// How a compare-and-swap ended.
enum Swap {
    Written(Version),
    Removed,
    Found(Option<Found>),
}

impl Writer {
    /// Writes until there is nobody any more who would hand something over.
    pub(super) async fn run(self, mut waiting: mpsc::Receiver<Queued>) {
        let mut under_way = FuturesUnordered::new();
        // The server wants to be left in peace until then.
        let mut peace = tokio::time::Instant::now();
        loop {
            let next = async {
                tokio::time::sleep_until(peace).await;
                waiting.recv().await
            };
            tokio::select! {
                biased;
                Some(done) = under_way.next() => match done {
                    Ok(None) => {}
                    Ok(Some(wait)) => peace = peace.max(tokio::time::Instant::now() + wait),
                    Err(Closed) => return,
                },
                write = next, if under_way.len() < self.at_once => match write {
                    Some(write) => under_way.push(self.carry_out(write)),
                    None => break,
                },
            }
        }
        while let Some(Ok(_)) = under_way.next().await {}
    }

    /// Does one write and tells how it ended. Gives how long the server wants to be left in peace, if it does.
    async fn carry_out(&self, queued: Queued) -> Result<Option<Duration>, Closed> {
        let Queued { write, at } = queued;
        let waited = clock::now().since(at);
        if waited > BEGUN {
            let failed = StoreEvent::done(write.request, Outcome::Failed);
            self.road.tell(|_| Some(failed)).await?;
            return Ok(None);
        }
        let began = clock::now();
        let before = self.road.know(|ledger| ledger.greatest());
        let swapped = tokio::time::timeout(USEFUL - waited, self.swap(&write)).await;
        let swapped = swapped.unwrap_or_else(|_| Err(ApiLeaseError::late(verb(&write))));
        let (outcome, error) = match swapped {
            Ok(Swap::Written(version)) => {
                let revision = Revision(version.revision);
                self.road
                    .know(|ledger| ledger.written(&write.name, version));
                (Outcome::Written(revision), None)
            }
            // There is no revision any more; the one removed stands for it.
            Ok(Swap::Removed) => (
                Outcome::Written(write.expected.unwrap_or(Revision(0))),
                None,
            ),
            Ok(Swap::Found(None)) => {
                let (revision, content) = (None, Content::Absent);
                (Outcome::Conflict { revision, content }, None)
            }
            Ok(Swap::Found(Some(found))) => {
                let revision = Some(Revision(found.version.revision));
                self.road
                    .know(|ledger| ledger.written(&write.name, found.version));
                let content = found.content;
                (Outcome::Conflict { revision, content }, None)
            }
            Err(error) => (Outcome::Failed, Some(error)),
        };
        let peace = error.as_ref().and_then(ApiLeaseError::peace);
        let health = |ledger: &mut Ledger| match error {
            Some(error) => ledger.trouble(Doing::Writing, error),
            None => ledger.well(Doing::Writing),
        };
        self.road.tell(health).await?;
        let renewed = match (&outcome, write.name.kind(), &write.record) {
            (Outcome::Written(revision), LeaseKind::Node, Some(_)) => Some(revision.0),
            _ => None,
        };
        let done = StoreEvent::done(write.request, outcome);
        self.road.tell(|_| Some(done)).await?;
        if let Some(revision) = renewed {
            self.road
                .tell(|ledger| ledger.mark(revision, before, began))
                .await?;
        }
        Ok(peace)
    }

    async fn swap(&self, write: &Write) -> Result<Swap, ApiLeaseError> {
        let name = &write.name;
        let Some(expected) = write.expected else {
            return match &write.record {
                Some(record) => self.create(name, record).await,
                None => self.look(name).await,
            };
        };
        let known = self.road.know(|ledger| ledger.version(name, expected));
        let version = match known {
            Some(version) => version,
            // Not what was seen last, so most likely the write comes too late. Its object's uid is needed in any case.
            None => match self.look(name).await? {
                Swap::Found(Some(found)) if found.version.revision == expected.0 => found.version,
                found => return Ok(found),
            },
        };
        match &write.record {
            Some(record) => self.replace(name, record, &version).await,
            None => self.delete(name, &version).await,
        }
    }

    async fn create(&self, name: &LeaseName, record: &Record) -> Result<Swap, ApiLeaseError> {
        let lease = object::write(name, record, None, Timestamp::now());
        match self.requests.create(&lease).await? {
            Answer::Done(lease) => written(lease),
            Answer::Conflict | Answer::NotFound => self.look(name).await,
        }
    }

    async fn replace(
        &self,
        name: &LeaseName,
        record: &Record,
        version: &Version,
    ) -> Result<Swap, ApiLeaseError> {
        let lease = object::write(name, record, Some(version), Timestamp::now());
        match self.requests.replace(name, &lease).await? {
            Answer::Done(lease) => written(lease),
            Answer::Conflict | Answer::NotFound => self.look(name).await,
        }
    }

    async fn delete(&self, name: &LeaseName, version: &Version) -> Result<Swap, ApiLeaseError> {
        match self.requests.delete(name, version).await? {
            Answer::Done(_) => Ok(Swap::Removed),
            Answer::Conflict | Answer::NotFound => self.look(name).await,
        }
    }

    /// What is there after the attempt.
    async fn look(&self, name: &LeaseName) -> Result<Swap, ApiLeaseError> {
        Ok(Swap::Found(match self.requests.get(name).await? {
            Answer::Done(Some(lease)) => object::read(*lease)?,
            Answer::Done(None) | Answer::Conflict | Answer::NotFound => None,
        }))
    }
}

fn verb(write: &Write) -> Verb {
    match (write.expected, &write.record) {
        (None, _) => Verb::Create,
        (_, Some(_)) => Verb::Update,
        (_, None) => Verb::Delete,
    }
}

fn written(lease: Option<Box<Lease>>) -> Result<Swap, ApiLeaseError> {
    let metadata = lease.map(|lease| lease.metadata).unwrap_or_default();
    Ok(Swap::Written(Version {
        revision: object::revision(metadata.resource_version.as_deref().unwrap_or_default())?,
        uid: metadata.uid.unwrap_or_default(),
    }))
}
