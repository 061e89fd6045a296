//! What a granter must not forget, on the node's own disk: the record it has adopted and the terms it has refused.
//!
//! One file, `<state.dir>/quorum.json`, replaced whole. A thread of its own writes, as a disk may take its time and
//! heartbeats have none.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use landfall_core::election::Term;
use landfall_core::model::NodeName;
use landfall_core::quorum::Durable;
use landfall_core::quorum::record::{Epoch, MemberRecord};
use serde::{Deserialize, Serialize};

use crate::state_file::StateFile;

/// More than wait at once: the machine stores again only when something has changed, and only the last counts.
const QUEUE: usize = 64;

/// The file's form. Newer versions only add fields.
#[derive(Serialize, Deserialize)]
struct Form {
    version: u32,
    record: Option<RecordForm>,
    refused: BTreeMap<String, u64>,
    verified: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct RecordForm {
    epoch: u64,
    members: Vec<String>,
    previous: Option<Vec<String>>,
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// Reading or writing it failed.
    #[error("{action} {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// It is not what was written. Granting without it would break promises, so it is never guessed at.
    #[error("{path} is damaged; with the agent of this node stopped, remove it")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
}

/// Where versions to store go, with what each is to hold.
pub type DiskSender = SyncSender<(u64, Durable)>;

/// The file.
#[derive(Clone, Debug)]
pub struct Disk {
    file: StateFile,
}

impl Disk {
    /// The file in the state directory `directory`.
    #[must_use]
    pub fn new(directory: &Path) -> Self {
        Self {
            file: StateFile::new(directory, "quorum.json"),
        }
    }

    /// What was stored last; nothing on a node that never stored.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub fn load(&self) -> Result<Option<Durable>, DiskError> {
        let path = self.file.path();
        let text = self.file.read().map_err(|source| DiskError::Io {
            action: "reading",
            path: path.clone(),
            source,
        })?;
        let Some(text) = text else { return Ok(None) };
        let form: Form =
            serde_json::from_slice(&text).map_err(|source| DiskError::Damaged { path, source })?;
        let names = |names: Vec<String>| names.into_iter().map(NodeName::new).collect();
        Ok(Some(Durable {
            record: form.record.map(|record| MemberRecord {
                epoch: Epoch(record.epoch),
                members: names(record.members),
                previous: record.previous.map(names),
            }),
            refused: form
                .refused
                .into_iter()
                .map(|(node, term)| (NodeName::new(node), Term(term)))
                .collect(),
            verified: form.verified.map(Term),
        }))
    }

    /// Replaces what is stored. On return it is on disk.
    ///
    /// # Errors
    /// It may or may not be there.
    pub fn store(&self, durable: &Durable) -> Result<(), DiskError> {
        let names = |nodes: &std::collections::BTreeSet<NodeName>| -> Vec<String> {
            nodes.iter().map(ToString::to_string).collect()
        };
        let form = Form {
            version: 1,
            record: durable.record.as_ref().map(|record| RecordForm {
                epoch: record.epoch.0,
                members: names(&record.members),
                previous: record.previous.as_ref().map(names),
            }),
            refused: durable
                .refused
                .iter()
                .map(|(node, term)| (node.to_string(), term.0))
                .collect(),
            verified: durable.verified.map(|term| term.0),
        };
        let text = serde_json::to_vec(&form).expect("plain data has a form");
        self.file.replace(&text).map_err(|source| DiskError::Io {
            action: "writing",
            path: self.file.path(),
            source,
        })
    }

    /// Starts the thread that stores; `stored` is called with each version once it is on disk. It ends when the sender
    /// is gone.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn writer(
        self,
        stored: impl Fn(u64) + Send + 'static,
    ) -> io::Result<(DiskSender, JoinHandle<()>)> {
        let (sender, receiver) = sync_channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("landfall-qdisk".into())
            .spawn(move || self.run(&receiver, stored))?;
        Ok((sender, thread))
    }

    fn run(&self, receiver: &Receiver<(u64, Durable)>, stored: impl Fn(u64)) {
        let mut failing = false;
        while let Ok(first) = receiver.recv() {
            // Of what waits only the last counts: each holds all.
            let (version, durable) = receiver.try_iter().last().unwrap_or(first);
            loop {
                match self.store(&durable) {
                    Ok(()) => break,
                    Err(error) if !failing => {
                        failing = true;
                        let error = anyhow::Error::new(error);
                        tracing::error!(
                            error = format!("{error:#}"),
                            "what this node refuses cannot be stored; it helps no failover until it can"
                        );
                    }
                    Err(_) => {}
                }
                std::thread::sleep(std::time::Duration::from_millis(200));
            }
            if std::mem::take(&mut failing) {
                tracing::info!("what this node refuses can be stored again");
            }
            stored(version);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_stored_last_is_loaded_and_damage_is_told() {
        let dir = tempfile::tempdir().expect("a directory");
        let disk = Disk::new(&dir.path().join("state"));
        assert!(disk.load().expect("nothing there").is_none());
        let members = ["a", "b", "c"].into_iter().map(NodeName::new).collect();
        let durable = Durable {
            record: Some(MemberRecord {
                epoch: Epoch(7),
                members,
                previous: Some([NodeName::new("a")].into()),
            }),
            refused: [(NodeName::new("b"), Term(5))].into(),
            verified: Some(Term(9)),
        };
        disk.store(&Durable::default()).expect("stored");
        disk.store(&durable).expect("stored");
        assert_eq!(disk.load().expect("readable"), Some(durable));
        std::fs::write(disk.file.path(), "{").expect("written");
        let error = disk.load().expect_err("damaged").to_string();
        assert!(error.contains("quorum.json is damaged"), "{error}");
    }

    #[test]
    fn the_writer_tells_each_version_that_is_on_disk() {
        let dir = tempfile::tempdir().expect("a directory");
        let disk = Disk::new(dir.path());
        let (told, versions) = std::sync::mpsc::channel();
        let (sender, thread) = disk
            .clone()
            .writer(move |version| told.send(version).expect("heard"))
            .expect("a thread");
        let durable = Durable {
            refused: [(NodeName::new("b"), Term(5))].into(),
            ..Durable::default()
        };
        sender.send((3, durable.clone())).expect("running");
        assert_eq!(versions.recv().expect("told"), 3);
        assert_eq!(disk.load().expect("readable"), Some(durable));
        drop(sender);
        thread.join().expect("ends");
    }
}
