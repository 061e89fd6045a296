//! What the agent reports of itself, made from what the rooms published last.

use std::sync::Arc;

use crate::api::snapshot::{
    Announcement, Datapath, Frontend, Lease, LeaseStore, Pool, ServiceCounts, Snapshot, Source,
    Status, Timestamp,
};
use crate::config::Settings;

/// The receivers of what the rooms publish.
#[derive(Debug)]
pub(super) struct Reports {
    settings: Arc<Settings>,
    started: Timestamp,
}

impl Reports {
    /// Reports of an agent that starts now.
    pub(super) fn new(settings: Arc<Settings>) -> Self {
        Self {
            settings,
            started: Timestamp::now(),
        }
    }
}

impl Snapshot for Reports {
    fn status(&self) -> Status {
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node: self.settings.node.name.clone(),
            started: self.started,
            now: Timestamp::now(),
            sources: vec![Source {
                name: "manifests".to_owned(),
                from: self.settings.source.manifests_dir.display().to_string(),
                synced: false,
            }],
            services: ServiceCounts::default(),
            leases: LeaseStore {
                store: self.settings.state.lease_dir.display().to_string(),
                ..LeaseStore::default()
            },
            datapath: Datapath::default(),
            announced: self.announcements(),
            complaints: Vec::new(),
        }
    }

    fn frontends(&self) -> Vec<Frontend> {
        Vec::new()
    }

    fn pools(&self) -> Vec<Pool> {
        Vec::new()
    }

    fn leases(&self) -> Vec<Lease> {
        Vec::new()
    }

    fn announcements(&self) -> Vec<Announcement> {
        Vec::new()
    }
}
