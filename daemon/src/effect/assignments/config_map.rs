//! The record in a ConfigMap of the agents' namespace.
//!
//! The JSON is deflated: that of ten thousand Services would not fit as text. Compare-and-swap goes by `resourceVersion`, which
//! is the revision too; it is a number that grows with every write to the cluster (KEP-5504).
//!
//! One list and one watch of the one object follow it. What is torn, was edited by hand, or is gone, is not believed: the
//! record that was good last stays in force, as *lost*, and the allocator writes it again, above what is there.
//!
//! Cancelled, a request under way is dropped; the server may or may not have done it, and the next reading tells.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::TryStreamExt as _;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, ListParams, PostParams, WatchEvent, WatchParams};
use landfall_core::election::Revision;
use landfall_core::model::{AssignmentRecord, NodeName, ObservedAssignments};
use landfall_core::plan::addresses::ASSIGNMENTS_RECORD;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::memory::Memory;
use super::{Held, RETRY_MOST, WriteError, Written, content, offer};
use crate::pause::Pause;

/// Bytes of a record that an object holds: the API server takes 1 MiB in all, some of which is for the summary.
pub const RECORD_LIMIT: usize = (1 << 20) - (4 << 10);
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(3);
/// The server's own end of a watch, in seconds; it is then begun anew where it ended.
const WATCH_SECONDS: u32 = 290;
/// Where the record is in the object, and what tells of it.
const RECORD: &str = "record";
const CHECKSUM: &str = "checksum";
const LAYOUT: &str = "layout";
const SUMMARY: &str = "summary";
/// The layout of the record.
const LAYOUT_HERE: &str = "1";

/// The record's object.
#[derive(Clone, Debug)]
pub struct AssignmentObject {
    api: Api<ConfigMap>,
    node: NodeName,
    memory: Memory,
    /// Counts beginnings and ends of writes: a list that one of them falls into may be older than what was written.
    writes: Arc<AtomicU64>,
}

/// What a watch ended with.
enum End {
    /// It can go on at this version.
    Resume(String),
    /// The server knows that version no more: all is read again.
    Expired,
}

impl AssignmentObject {
    /// The object in `namespace`, with a copy in the directory `state`. `server` tells clusters apart in that copy, such as by
    /// the server's URL; `node` is who writes.
    #[must_use]
    pub fn new(
        client: kube::Client,
        namespace: &str,
        server: &str,
        state: &Path,
        node: NodeName,
    ) -> Self {
        let store = format!("{server} {namespace}/{ASSIGNMENTS_RECORD}");
        Self {
            api: Api::namespaced(client, namespace),
            node,
            memory: Memory::new(state, &store),
            writes: Arc::default(),
        }
    }

    /// What the node remembers of the record.
    pub(super) fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Writes the record as the revision after `expected`.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub(super) async fn write(
        &self,
        expected: Option<Revision>,
        record: &Arc<AssignmentRecord>,
    ) -> Result<Written, WriteError> {
        let (node, record) = (self.node.clone(), Arc::clone(record));
        let packed = tokio::task::spawn_blocking(move || object(&record, &node, expected));
        let object = packed.await.map_err(WriteError::Thread)??;
        self.writes.fetch_add(1, Ordering::SeqCst);
        let params = PostParams::default();
        let answer = tokio::time::timeout(ANSWER, async {
            match expected {
                None => self.api.create(&params, &object).await,
                Some(_) => self.api.replace(ASSIGNMENTS_RECORD, &params, &object).await,
            }
        });
        let answer = answer.await;
        self.writes.fetch_add(1, Ordering::SeqCst);
        match answer {
            Ok(Ok(written)) => Ok(Written::At(revision(&written)?)),
            // Somebody else wrote, or removed it: the watch tells.
            Ok(Err(kube::Error::Api(status))) if status.code == 409 => Ok(Written::Conflict),
            Ok(Err(kube::Error::Api(status))) if status.code == 404 && expected.is_some() => {
                Ok(Written::Conflict)
            }
            Ok(Err(error)) => Err(WriteError::Api(Box::new(error))),
            Err(_) => Err(WriteError::Silent(ANSWER)),
        }
    }

    /// Publishes the record each time it changes, and keeps the copy, until cancelled.
    pub(super) async fn follow(self, publish: watch::Sender<Held>, cancel: CancellationToken) {
        let keep = self.memory.keep_latest(publish.subscribe());
        tokio::select! {
            () = cancel.cancelled() => {}
            () = keep => {}
            () = self.look(&publish) => {}
        }
    }

    async fn look(&self, publish: &watch::Sender<Held>) {
        let (mut pause, mut version) = (Pause::new(), None);
        let mut troubled = false;
        loop {
            let step = match version.take() {
                None => self.list(publish).await.map(End::Resume),
                Some(version) => self.watch(publish, version).await,
            };
            match step {
                Ok(end) => {
                    if std::mem::take(&mut troubled) {
                        info!("the record of assignments can be read again");
                    }
                    pause.reset();
                    if let End::Resume(next) = end {
                        version = Some(next);
                        continue;
                    }
                }
                Err(error) => {
                    if !std::mem::replace(&mut troubled, true) {
                        let error = &error as &dyn std::error::Error;
                        warn!(
                            error,
                            "the record of assignments cannot be read; what is known stays in force"
                        );
                    }
                }
            }
            tokio::time::sleep(pause.take()).await;
        }
    }

    /// Reads the object as it is now. Returns the version to watch from.
    async fn list(&self, publish: &watch::Sender<Held>) -> Result<String, WriteError> {
        let writes = self.writes.load(Ordering::SeqCst);
        let params = ListParams::default().fields(&selector());
        let list = tokio::time::timeout(ANSWER, self.api.list(&params)).await;
        let list = list.map_err(|_| WriteError::Silent(ANSWER))?.map_err(api)?;
        let found = match list.items.into_iter().next() {
            Some(object) => self.found(publish, object).await?,
            None => self.gone(publish).await,
        };
        // Read whole after all that was written: believed though a store that was put back may be at an earlier revision.
        if self.writes.load(Ordering::SeqCst) == writes {
            publish.send_if_modified(|held| {
                let news = held.as_ref() != Some(&found);
                *held = Some(found);
                news
            });
        } else {
            offer(publish, found);
        }
        Ok(list.metadata.resource_version.unwrap_or_default())
    }

    /// Follows the object from `version` until the watch ends.
    async fn watch(
        &self,
        publish: &watch::Sender<Held>,
        version: String,
    ) -> Result<End, WriteError> {
        let params = WatchParams::default()
            .fields(&selector())
            .timeout(WATCH_SECONDS);
        let begun = tokio::time::Instant::now();
        let events = tokio::time::timeout(ANSWER, self.api.watch(&params, &version)).await;
        let events = events
            .map_err(|_| WriteError::Silent(ANSWER))?
            .map_err(api)?;
        let mut events = std::pin::pin!(events);
        let mut version = version;
        while let Some(event) = events.try_next().await.map_err(api)? {
            match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    version = object.metadata.resource_version.clone().unwrap_or(version);
                    offer(publish, self.found(publish, object).await?);
                }
                WatchEvent::Deleted(object) => {
                    let end = Some(revision(&object)?);
                    version = object.metadata.resource_version.unwrap_or(version);
                    let gone = self.gone(publish).await;
                    publish.send_if_modified(|held| {
                        // One that was made after this end is there.
                        let known = held.as_ref().filter(|held| !held.recalled);
                        let news = known.is_none_or(|held| held.revision < end);
                        if news {
                            *held = Some(gone);
                        }
                        news
                    });
                }
                WatchEvent::Bookmark(mark) => version = mark.metadata.resource_version,
                WatchEvent::Error(status) if status.code == 410 => return Ok(End::Expired),
                WatchEvent::Error(status) => return Err(api(kube::Error::Api(status))),
            }
        }
        // A server that ends watches at once is not asked more often than one that is away.
        tokio::time::sleep_until(begun + RETRY_MOST).await;
        Ok(End::Resume(version))
    }

    /// The record as `object` has it; where that is of no use, the one before it.
    async fn found(
        &self,
        publish: &watch::Sender<Held>,
        object: ConfigMap,
    ) -> Result<ObservedAssignments, WriteError> {
        let revision = Some(revision(&object)?);
        let read = tokio::task::spawn_blocking(move || read(&object)).await;
        let why = match read.map_err(WriteError::Thread)? {
            Ok(record) => {
                return Ok(ObservedAssignments {
                    revision,
                    record: Arc::new(record),
                    recalled: false,
                    lost: false,
                });
            }
            Err(why) => why,
        };
        error!(
            why,
            "ConfigMap {ASSIGNMENTS_RECORD} is of no use and is written again from what is known; leave it to the agents, or delete it"
        );
        Ok(ObservedAssignments {
            revision,
            record: self.known(publish).await,
            recalled: false,
            lost: true,
        })
    }

    /// What is known where there is no object.
    async fn gone(&self, publish: &watch::Sender<Held>) -> ObservedAssignments {
        let record = self.known(publish).await;
        if !record.services.is_empty() {
            warn!(
                services = record.services.len(),
                "there is no ConfigMap {ASSIGNMENTS_RECORD}; it is written again from what is known"
            );
        }
        ObservedAssignments {
            revision: None,
            record,
            recalled: false,
            lost: true,
        }
    }

    /// The record that was good last: of this process, else of the copy, else an empty one.
    async fn known(&self, publish: &watch::Sender<Held>) -> Arc<AssignmentRecord> {
        if let Some(held) = &*publish.borrow() {
            return Arc::clone(&held.record);
        }
        let memory = self.memory.clone();
        let remembered = tokio::task::spawn_blocking(move || memory.load()).await;
        let remembered = remembered.ok().flatten();
        remembered.map(|it| it.record).unwrap_or_default()
    }
}

fn selector() -> String {
    format!("metadata.name={ASSIGNMENTS_RECORD}")
}

fn api(error: kube::Error) -> WriteError {
    WriteError::Api(Box::new(error))
}

fn revision(object: &ConfigMap) -> Result<Revision, WriteError> {
    let text = object
        .metadata
        .resource_version
        .as_deref()
        .unwrap_or_default();
    let number = text.parse();
    number
        .map(Revision)
        .map_err(|_| WriteError::Revision(text.to_owned()))
}

/// Whether an object has room for `record`.
pub(super) fn fits(record: &AssignmentRecord) -> bool {
    content::pack(record).record.len() <= RECORD_LIMIT
}

/// The object to be written in the place of `expected`.
fn object(
    record: &AssignmentRecord,
    node: &NodeName,
    expected: Option<Revision>,
) -> Result<ConfigMap, WriteError> {
    let packed = content::pack(record);
    let size = packed.record.len();
    if size > RECORD_LIMIT {
        let most = RECORD_LIMIT;
        return Err(WriteError::TooLarge { size, most });
    }
    let entries = record.services.values();
    let addresses: usize = entries.map(|entry| entry.addresses.len()).sum();
    let summary = format!(
        "{} Services with {addresses} addresses, written by {node}. Not to be edited: which Service has which address is in \
         `landfall service list` and in the Services' status.",
        record.services.len()
    );
    let label = (
        "app.kubernetes.io/managed-by".to_owned(),
        "landfall".to_owned(),
    );
    Ok(ConfigMap {
        metadata: ObjectMeta {
            name: Some(ASSIGNMENTS_RECORD.to_owned()),
            labels: Some([label].into()),
            resource_version: expected.map(|revision| revision.0.to_string()),
            ..ObjectMeta::default()
        },
        binary_data: Some([(RECORD.to_owned(), ByteString(packed.record))].into()),
        data: Some(
            [
                (CHECKSUM.to_owned(), packed.checksum),
                (LAYOUT.to_owned(), LAYOUT_HERE.to_owned()),
                (SUMMARY.to_owned(), summary),
            ]
            .into(),
        ),
        immutable: None,
    })
}

/// The record in an object that is whole.
fn read(object: &ConfigMap) -> Result<AssignmentRecord, String> {
    let text = |key| {
        let value = object.data.as_ref().and_then(|data| data.get(key));
        value.ok_or_else(|| format!("has no data.{key}"))
    };
    let layout = text(LAYOUT)?;
    if layout != LAYOUT_HERE {
        return Err(format!("is of layout {layout:?}, not {LAYOUT_HERE}"));
    }
    let packed = object
        .binary_data
        .as_ref()
        .and_then(|data| data.get(RECORD));
    let packed = packed.ok_or_else(|| format!("has no binaryData.{RECORD}"))?;
    content::unpack(&packed.0, text(CHECKSUM)?)
}

#[cfg(test)]
mod tests;
