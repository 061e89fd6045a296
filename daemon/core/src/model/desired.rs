//! The folded state that planners read.

use std::collections::BTreeMap;
use std::sync::Arc;

use landfall_ipam::Pool;

use super::{
    EndpointSlice, L2AnnouncementPolicy, Link, Namespace, Node, NodeName, ObjectName, Pod, PodName,
    Service, ServiceName,
};

/// Everything the sources said, folded. Owned by the reconciler alone.
#[derive(Clone, Debug, Default)]
pub struct DesiredState {
    /// Services.
    pub services: BTreeMap<ServiceName, Service>,
    /// EndpointSlices by their own names.
    pub slices: BTreeMap<ObjectName, EndpointSlice>,
    /// Pods.
    pub pods: BTreeMap<PodName, Pod>,
    /// Nodes.
    pub nodes: BTreeMap<NodeName, Node>,
    /// Namespaces.
    pub namespaces: BTreeMap<Arc<str>, Namespace>,
    /// Pools.
    pub pools: BTreeMap<String, Pool>,
    /// Announcement policies.
    pub policies: BTreeMap<String, L2AnnouncementPolicy>,
    /// This node's interfaces.
    pub links: Vec<Link>,
}
