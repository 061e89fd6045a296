//! NetworkPolicy of networking.k8s.io/v1.
//!
//! Source: the API reference of `NetworkPolicySpec`, and <https://kubernetes.io/docs/concepts/services-networking/network-policies/>.

use landfall_ipam::LabelSelector;

use super::{Direction, IpBlock, ObjectName, PortMatch};

/// A NetworkPolicy. Where it applies it isolates: what no rule of any policy accepts is denied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkPolicy {
    /// Its name; its namespace is the one whose pods it may select.
    pub name: ObjectName,
    /// `spec.podSelector`; the empty one selects every pod of the namespace.
    pub pod_selector: LabelSelector,
    /// `spec.policyTypes`, defaulted.
    pub policy_types: PolicyTypes,
    /// `spec.ingress`.
    pub ingress: Vec<NetworkPolicyRule>,
    /// `spec.egress`.
    pub egress: Vec<NetworkPolicyRule>,
}

/// The directions a NetworkPolicy isolates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyTypes {
    /// `Ingress` is listed.
    pub ingress: bool,
    /// `Egress` is listed.
    pub egress: bool,
}

impl PolicyTypes {
    /// What an absent `policyTypes` means: ingress always, egress where there are egress rules.
    pub fn absent(egress: &[NetworkPolicyRule]) -> Self {
        Self {
            ingress: true,
            egress: !egress.is_empty(),
        }
    }
}

/// A rule: what matches a peer and a port is accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkPolicyRule {
    /// `from` or `to`; empty for everyone, as is an absent list.
    pub peers: Vec<NetworkPolicyPeer>,
    /// `ports`; empty for every port of every protocol, as is an absent list.
    pub ports: Vec<PortMatch>,
}

/// One entry of `from` or `to`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetworkPolicyPeer {
    /// Pods with a network of their own that match both selectors. At least one is given.
    Pods {
        /// `namespaceSelector`; absent means the policy's namespace, empty means all.
        namespace_selector: Option<LabelSelector>,
        /// `podSelector`; absent and empty mean all pods of those namespaces.
        pod_selector: Option<LabelSelector>,
    },
    /// `ipBlock`.
    IpBlock(IpBlock),
}

impl NetworkPolicy {
    /// The rules of a direction; nothing where the policy says nothing of it, which is not the same as no rules.
    pub fn rules(&self, direction: Direction) -> Option<&[NetworkPolicyRule]> {
        match direction {
            Direction::Ingress => self.policy_types.ingress.then_some(&self.ingress),
            Direction::Egress => self.policy_types.egress.then_some(&self.egress),
        }
    }
}
