//! What policies depend on, as it is told to the compiler.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use crate::model::{
    ClusterNetworkPolicy, Namespace, NetworkPolicy, Node, NodeName, ObjectName, Pod, PodName,
};

/// What verdicts depend on besides objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicySettings {
    /// This node. Tables are made for the pods on it.
    pub node: NodeName,
    /// Whether a pod that NetworkPolicies isolate for egress may still reach the node it runs on. Kubernetes' concept page says
    /// so, the API reference does not; the way in is open by both.
    pub egress_to_own_node: bool,
}

/// A change of one object: `Some` is its new state, `None` its end.
#[derive(Clone, Debug)]
pub enum PolicyChange {
    /// A Pod.
    Pod(PodName, Option<Pod>),
    /// A Namespace.
    Namespace(Arc<str>, Option<Namespace>),
    /// A Node.
    Node(NodeName, Option<Node>),
    /// All addresses that this node's interfaces have, those its Node object does not list among them: probes come from the
    /// address on the pods' side. Not to include addresses of services.
    OwnAddresses(BTreeSet<IpAddr>),
    /// A NetworkPolicy.
    NetworkPolicy(ObjectName, Option<NetworkPolicy>),
    /// A ClusterNetworkPolicy.
    ClusterNetworkPolicy(Arc<str>, Option<ClusterNetworkPolicy>),
}

/// Whether a pod has an address of its own that policies may speak of. One in its node's network does not, and a finished one's
/// address may be another's by now.
pub(super) fn has_own_network(pod: &Pod) -> bool {
    !pod.host_network && !pod.finished
}
