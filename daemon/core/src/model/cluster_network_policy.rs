//! ClusterNetworkPolicy of policy.networking.k8s.io/v1alpha2.
//!
//! Source: `apis/v1alpha2/clusternetworkpolicy_types.go` of kubernetes-sigs/network-policy-api.

use std::sync::Arc;

use landfall_ipam::LabelSelector;

use super::{Cidr, Direction, PortMatch};

/// A ClusterNetworkPolicy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterNetworkPolicy {
    /// Its name.
    pub name: Arc<str>,
    /// `spec.tier`.
    pub tier: Tier,
    /// `spec.priority`, 0 to 1000; the lowest goes first. Policies of one tier and priority go by name.
    pub priority: u16,
    /// `spec.subject`.
    pub subject: ClusterPods,
    /// `spec.ingress`; the first rule that matches decides.
    pub ingress: Vec<ClusterRule>,
    /// `spec.egress`, likewise.
    pub egress: Vec<ClusterRule>,
}

/// When a ClusterNetworkPolicy is asked: before all NetworkPolicies, or after them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// Before NetworkPolicies, which cannot override it.
    Admin,
    /// After NetworkPolicies, for pods that none isolates.
    Baseline,
}

/// `subject`, and the peers `namespaces` and `pods`: pods with a network of their own that match both selectors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterPods {
    /// Namespaces; the empty selector means all.
    pub namespace_selector: LabelSelector,
    /// Pods in them; the empty selector, and the form `namespaces`, mean all.
    pub pod_selector: LabelSelector,
}

/// One of a policy's rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterRule {
    /// `name`.
    pub name: Option<Arc<str>>,
    /// `action`.
    pub action: RuleAction,
    /// `from` or `to`.
    pub peers: Vec<ClusterPeer>,
    /// `protocols`; empty for all traffic.
    pub protocols: Vec<PortMatch>,
}

/// What a rule does with what it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RuleAction {
    /// Accepts it for good.
    Accept,
    /// Denies it for good.
    Deny,
    /// Leaves it to the next tier.
    Pass,
}

/// One entry of `from` or `to`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterPeer {
    /// `namespaces` or `pods`.
    Pods(ClusterPods),
    /// `nodes`: the addresses of the nodes with such labels; egress only.
    Nodes(LabelSelector),
    /// `networks`: prefixes whoever has them; egress only.
    Networks(Vec<Cidr>),
    /// A kind of peer that this version does not know. The API asks that its rule fail closed.
    Unrecognised,
}

impl ClusterNetworkPolicy {
    /// The rules of a direction.
    pub fn rules(&self, direction: Direction) -> &[ClusterRule] {
        match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        }
    }
}

impl ClusterRule {
    /// Whether it has a peer of a kind that is not known. Accept then matches nothing, and Deny and Pass deny everything.
    pub fn fails_closed(&self) -> bool {
        self.peers.contains(&ClusterPeer::Unrecognised)
    }
}
