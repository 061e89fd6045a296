//! The model: Landfall's own view of the objects it serves, free of any API's encoding.
//!
//! Fed by `source::convert`, folded by the reconciler, read by every planner. Types keep Kubernetes' nouns; a value that
//! exists here is already validated, so planners have no error path for malformed input.

mod announced;
mod assignment;
mod change;
mod cidr;
mod cluster_network_policy;
mod desired;
mod endpoint;
mod link;
mod name;
mod network_policy;
mod node;
mod observed;
mod policy;
mod policy_rule;
mod service;

pub use announced::{AnnounceReport, AnnouncedVip, Unproved, VipState};
pub use assignment::{AssignedAddress, Assignment, AssignmentRecord};
pub use change::{Change, ObjectError, ObjectRef, Severity, SourceId};
pub use cidr::{Cidr, CidrError};
pub use cluster_network_policy::{
    ClusterNetworkPolicy, ClusterPeer, ClusterPods, ClusterRule, RuleAction, Tier,
};
pub use desired::DesiredState;
pub use endpoint::{Endpoint, EndpointPort, EndpointSlice, Pod, PodPort};
pub use link::{Link, LinkAddress, LinkIndex, LinkKind, MacAddress};
pub use name::{NodeName, ObjectName, PodName, ServiceName};
pub use network_policy::{NetworkPolicy, NetworkPolicyPeer, NetworkPolicyRule, PolicyTypes};
pub use node::{Namespace, NamespaceLabels, Node};
pub use observed::{Holdings, Observation, Observed, ObservedAssignments, PeerConflicts};
pub use policy::L2AnnouncementPolicy;
pub use policy_rule::{Direction, IpBlock, PortMatch};
pub use service::{
    IpFamily, IpFamilyPolicy, Port, Protocol, Service, ServicePort, ServiceType, TargetPort,
    TrafficPolicy,
};
