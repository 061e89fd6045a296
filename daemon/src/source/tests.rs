//! The road from files to the model as a whole: the examples, and everything that can be wrong.

mod examples;
mod mutation;
mod services;
mod wrong_files;
mod wrong_objects;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Instant;

use landfall_core::model::{Change, ObjectError};

use super::manifest::follower::{Events, Follower};
use super::{Batch, ClassPolicy};

/// A Service that has nothing wrong, to lie beside what has.
pub(super) const GOOD: &str = "\
apiVersion: v1
kind: Service
metadata: {name: good}
spec:
  type: LoadBalancer
  ports: [{port: 80}]
";

/// A directory that is followed by hand.
pub(super) struct Directory {
    pub(super) temporary: tempfile::TempDir,
    pub(super) follower: Follower,
}

impl Directory {
    /// One with the good Service, which has been delivered.
    pub(super) fn with_good() -> Self {
        let mut directory = Self::unread();
        let batch = directory.follower.scan(Instant::now());
        assert_eq!(delivered(&batch), ["Service default/good"]);
        assert!(matches!(batch.last(), Some(Change::Synced(_))), "{batch:?}");
        assert!(errors(&batch).is_none(), "{batch:?}");
        directory
    }

    /// One with the good Service, not yet looked at.
    pub(super) fn unread() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        std::fs::write(temporary.path().join("good.yaml"), GOOD).unwrap();
        let follower = Follower::new(
            temporary.path().to_owned(),
            &temporary.path().join(".state"),
            ClassPolicy::default(),
        );
        Self {
            temporary,
            follower,
        }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.temporary.path().join(name)
    }

    /// What follows when `name` was written and closed.
    pub(super) fn written(&mut self, name: &str) -> Batch {
        let written = BTreeSet::from([OsString::from(name)]);
        self.follower.take(
            Events {
                written,
                ..Events::default()
            },
            Instant::now(),
        )
    }
}

/// The objects a batch brings, as `Kind namespace/name`; those it ends with a minus.
pub(super) fn delivered(batch: &Batch) -> Vec<String> {
    let tell = |kind: &str, name: String, there: bool| {
        Some(format!("{}{kind} {name}", if there { "" } else { "-" }))
    };
    batch
        .iter()
        .filter_map(|change| match change {
            Change::Service(name, it) => tell("Service", name.to_string(), it.is_some()),
            Change::EndpointSlice(name, it) => {
                tell("EndpointSlice", name.to_string(), it.is_some())
            }
            Change::Pod(name, it) => tell("Pod", name.to_string(), it.is_some()),
            Change::Node(name, it) => tell("Node", name.to_string(), it.is_some()),
            Change::Namespace(name, it) => tell("Namespace", name.to_string(), it.is_some()),
            Change::Pool(name, it) => tell("Pool", name.clone(), it.is_some()),
            Change::Policy(name, it) => tell("Policy", name.clone(), it.is_some()),
            Change::Links(_) | Change::Errors(..) | Change::Recalled(_) | Change::Synced(_) => None,
        })
        .collect()
}

/// The complaints of a batch, if it tells any.
pub(super) fn errors(batch: &Batch) -> Option<&[ObjectError]> {
    batch.iter().find_map(|change| match change {
        Change::Errors(_, errors) => Some(errors.as_slice()),
        _ => None,
    })
}

/// A directory of the repository.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
