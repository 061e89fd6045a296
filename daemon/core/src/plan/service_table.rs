//! The service table: every frontend with the endpoints that may serve it.
//!
//! Fed by Services, their endpoints and the addresses the allocator assigned; feeds `effect::datapath`, which turns it into
//! Maglev tables and kernel maps.

mod claims;
mod frontends;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use landfall_ipam::Block;

use crate::model::{NodeName, Port, Protocol, ServiceName};

pub use self::claims::{Claims, FrontendConflict};
pub use self::frontends::frontends;

/// What clients address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FrontendKey {
    /// Destination address.
    pub address: IpAddr,
    /// Destination port.
    pub port: Port,
    /// Transport protocol.
    pub protocol: Protocol,
}

/// Why an address is a frontend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FrontendKind {
    /// `spec.clusterIPs`: for pods and nodes of the cluster only.
    ClusterIp,
    /// A LoadBalancer address of ours.
    LoadBalancer,
    /// `spec.externalIPs`.
    ExternalIp,
}

/// An endpoint that may take connections of a frontend.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Backend {
    /// Its address.
    pub address: IpAddr,
    /// Its port, resolved.
    pub port: Port,
    /// The node it runs on; without one it is reached by routing alone.
    pub node: Option<NodeName>,
}

/// One frontend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frontend {
    /// The Service it belongs to.
    pub service: ServiceName,
    /// The Service port's name.
    pub port_name: Arc<str>,
    /// Why it exists.
    pub kind: FrontendKind,
    /// Endpoints for new connections, sorted: the ready ones; where none is ready, the serving terminating ones
    /// (KEP-1669). Every node of the cluster, whatever the traffic policy; `local_only` narrows it, and then
    /// KEP-1669 holds node by node. Without those of dead nodes, while there are others.
    pub backends: Vec<Backend>,
    /// Endpoints that finish established connections only, sorted: terminating, not ready or on a dead node, yet
    /// existing.
    pub draining: Vec<Backend>,
    /// Admitted client ranges of both families; empty admits everybody. Of a LoadBalancer address only.
    pub source_ranges: Vec<Block>,
    /// Affinity by client address, with its timeout.
    pub affinity: Option<Duration>,
    /// `externalTrafficPolicy: Local`, of a ClusterIP `internalTrafficPolicy: Local`: only endpoints on the node
    /// that received the packet.
    pub local_only: bool,
}

/// All frontends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceTable {
    /// By what clients address.
    pub frontends: BTreeMap<FrontendKey, Arc<Frontend>>,
}
