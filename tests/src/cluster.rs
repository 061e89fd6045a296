//! A real Kubernetes cluster on a lab: the lab's nodes run containerd and a kubelet each, and one
//! more machine on the LAN runs the control plane. Pods are real pods.
//!
//! ```text
//!   client .100 ───────┐            ┌── node1 .11 ── containerd, kubelet ── pods 10.244.1.0/24
//!   watcher .101 ──────┼── switch ──┼── node2 .12 ── containerd, kubelet ── pods 10.244.2.0/24
//!   control-plane .102 ┘    .254    └── node3 .13 ── containerd, kubelet ── pods 10.244.3.0/24
//! ```
//!
//! Pods get their network from the plugin `ptp` with `host-local` addresses of both families, and
//! are routed from node to node by LAN addresses, as the lab's own pods are. Every component has an
//! identity of its own, and RBAC decides what it may do; only the person at [`Kubectl`] may all.
//!
//! There is no kube-proxy, for Landfall takes its place. Until Landfall serves cluster IPs, a pod
//! that calls the API server must be told its address: the environment variables
//! `KUBERNETES_SERVICE_HOST` ([`ControlPlane::address`]) and `KUBERNETES_SERVICE_PORT`
//! ([`API_PORT`]) in its manifest, over those that the kubelet sets.
//!
//! A cluster ends as its lab does, and leaves nothing behind: processes by their control groups,
//! mounts with the nodes' namespaces, files with the lab's directory. What is built and kept is in
//! [`programs::cache_dir`].

mod agents;
mod api;
pub mod audit;
mod builder;
pub mod client;
mod control_plane;
mod daemon;
mod files;
mod image;
mod kubeconfig;
mod kubectl;
mod member;
mod pki;
mod pods;
pub mod programs;
mod resource;
pub mod role;
mod way;

pub use agents::{ACCOUNT, NAMESPACE};
pub use builder::ClusterBuilder;
pub use control_plane::{API_PORT, Component, ControlPlane};
pub use kubectl::Kubectl;
pub use resource::Resource;

use std::sync::Arc;
use std::time::Duration;

use crate::lab::Lab;
use api::Api;
use client::Client;

/// How long nodes may take to be ready; all cores may be busy.
const PATIENCE: Duration = Duration::from_secs(120);

/// The cluster IPs of services.
pub const SERVICES_V4: &str = "10.96.0.0/16";
/// The IPv6 cluster IPs of services.
pub const SERVICES_V6: &str = "fd00:96::/112";

/// Where pods look for the cluster's name server.
const CLUSTER_DNS: &str = "10.96.0.10";

/// The image that holds a pod's namespaces.
const PAUSE_IMAGE: &str = "landfall.test/pause:1";

/// Kubernetes' own test image: a web server and much more.
pub const AGNHOST_IMAGE: &str = "landfall.test/agnhost:1";

/// A running cluster. Dropping it takes everything down.
#[derive(Debug)]
pub struct Cluster {
    access: Access,
    lab: Lab,
}

impl Cluster {
    /// A cluster of 3 nodes.
    #[must_use]
    pub fn builder() -> ClusterBuilder {
        ClusterBuilder::default()
    }

    /// The lab that it runs on: its nodes, its clients, its switch. Its source of objects is the
    /// cluster, and kubelets run its pods.
    #[must_use]
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// The lab, to reboot a node of it. The node's kubelet starts its pods again.
    pub fn lab_mut(&mut self) -> &mut Lab {
        &mut self.lab
    }

    /// The control plane.
    #[must_use]
    pub fn control_plane(&self) -> &ControlPlane {
        self.access.control_plane()
    }

    /// kubectl as the cluster's administrator.
    #[must_use]
    pub fn kubectl(&self) -> Kubectl {
        self.access.kubectl()
    }

    /// The administrator's standing connection to the API server.
    #[must_use]
    pub fn client(&self) -> &Client {
        self.access.client()
    }

    /// The lab, and what there is besides to the cluster on it: for a stage, which has a lab.
    #[must_use]
    pub fn into_parts(self) -> (Lab, Access) {
        (self.lab, self.access)
    }
}

/// What a person at the control plane can do. The cluster ends with its lab all the same.
#[derive(Debug, Clone)]
pub struct Access {
    api: Arc<Api>,
}

impl Access {
    /// The control plane.
    #[must_use]
    pub fn control_plane(&self) -> &ControlPlane {
        &self.api.control_plane
    }

    /// kubectl as the cluster's administrator.
    #[must_use]
    pub fn kubectl(&self) -> Kubectl {
        self.api.kubectl()
    }

    /// The administrator's standing connection to the API server.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.api.client
    }
}
