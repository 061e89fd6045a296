//! The source against a stand-in for the API server, on a clock that runs ahead when all wait.

mod definitions;
mod golden;
mod outages;
mod ownership;
mod server;
mod watching;
mod wrong_objects;

use std::time::Duration;

use landfall_core::model::{Change, ObjectError};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use self::server::Server;
use super::{KubernetesSettings, SourceState, run};
use crate::source::kubernetes_status::LiveBoard;
use crate::source::tests::{delivered, errors};
use crate::source::{Batch, ClassPolicy};

/// Longer than anything the source waits for.
const LONG: Duration = Duration::from_secs(1000);

/// A running source.
struct Source {
    batches: mpsc::Receiver<Batch>,
    state: watch::Receiver<SourceState>,
    cancel: CancellationToken,
    task: JoinHandle<()>,
}

impl Source {
    fn start(server: &Server, directory: &TempDir) -> Self {
        Self::of_class(server, directory, ClassPolicy::default())
    }

    fn of_class(server: &Server, directory: &TempDir, class: ClassPolicy) -> Self {
        let settings = KubernetesSettings {
            client: server.client(),
            server: "https://10.0.0.1:6443".to_owned(),
            state: directory.path().to_owned(),
            class,
            live: LiveBoard::new().0,
        };
        let (sender, batches) = mpsc::channel(16);
        let (told, state) = watch::channel(SourceState::default());
        let cancel = CancellationToken::new();
        let task = tokio::spawn(run(settings, sender, told, cancel.clone()));
        Self {
            batches,
            state,
            cancel,
            task,
        }
    }

    /// One that has synced, with all it told until then.
    async fn synced(server: &Server, directory: &TempDir) -> (Self, Batch) {
        let mut source = Self::start(server, directory);
        let batch = source.until_synced().await;
        (source, batch)
    }

    async fn until_synced(&mut self) -> Batch {
        self.until(|batch| matches!(batch.last(), Some(Change::Synced(_))))
            .await
    }

    /// Everything up to the batch that `last` is looking for.
    async fn until(&mut self, last: impl Fn(&Batch) -> bool) -> Batch {
        let mut all = Batch::new();
        loop {
            let batch = self.next().await;
            let done = last(&batch);
            all.extend(batch);
            if done {
                return all;
            }
        }
    }

    async fn next(&mut self) -> Batch {
        let batch = timeout(LONG, self.batches.recv()).await;
        batch.expect("a batch in time").expect("a source that runs")
    }

    /// What is told within `time`, as `Kind namespace/name`.
    async fn told_within(&mut self, time: Duration) -> Vec<String> {
        let mut told = Vec::new();
        let end = tokio::time::Instant::now() + time;
        while let Ok(batch) = tokio::time::timeout_at(end, self.batches.recv()).await {
            told.extend(delivered(&batch.expect("a source that runs")));
        }
        told
    }

    async fn stop(self) {
        self.cancel.cancel();
        self.task.await.expect("an end in good order");
    }
}

fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

/// The complaints told last, as text.
fn complaints(batch: &Batch) -> Vec<String> {
    let told = batch.iter().rev().find_map(|change| match change {
        Change::Errors(_, errors) => Some(errors),
        _ => None,
    });
    told.into_iter()
        .flatten()
        .map(ObjectError::to_string)
        .collect()
}

fn service(name: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {"type": "LoadBalancer", "clusterIP": "10.96.0.9", "ports": [{"port": 80}]},
        "status": {"loadBalancer": {}},
    })
}

fn pool(name: &str, cidr: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"blocks": [{"cidr": cidr}]}})
}

fn node(name: &str, heartbeat: &str) -> Value {
    json!({
        "metadata": {"name": name, "labels": {"zone": "a"}, "annotations": {"seen": heartbeat}},
        "spec": {"podCIDR": "10.244.1.0/24"},
        "status": {
            "addresses": [{"type": "InternalIP", "address": "192.0.2.11"}],
            "conditions": [{"type": "Ready", "lastHeartbeatTime": heartbeat}],
            "images": [{"names": ["a/b:1"], "sizeBytes": 1}],
        },
    })
}

fn slice(name: &str, address: &str, changed: &str) -> Value {
    json!({
        "metadata": {
            "name": name,
            "labels": {"kubernetes.io/service-name": "web"},
            "annotations": {"endpoints.kubernetes.io/last-change-trigger-time": changed},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address], "conditions": {"ready": true}, "nodeName": "node1",
            "targetRef": {"kind": "Pod", "name": "web-1", "namespace": "default", "uid": changed}}],
        "ports": [{"port": 8080, "protocol": "TCP"}],
    })
}

/// The last state of a Service that a batch brings.
fn last_service(batch: Batch) -> landfall_core::model::Service {
    let services = batch.into_iter().filter_map(|change| match change {
        Change::Service(_, service) => service,
        _ => None,
    });
    services.last().expect("a Service")
}

/// That nothing is complained about.
fn assert_no_errors(batch: &Batch) {
    assert!(errors(batch).is_none_or(<[_]>::is_empty), "{batch:?}");
}
