//! Whose an address is, where several say it is theirs.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::model::{NodeName, PodName};

/// Claims to one address.
#[derive(Clone, Debug, Default)]
struct Claim {
    nodes: BTreeSet<NodeName>,
    pods: BTreeSet<PodName>,
}

/// Who has an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Owner<'a> {
    Node(&'a NodeName),
    Pod(&'a PodName),
}

/// All claims.
#[derive(Clone, Debug, Default)]
pub(super) struct Claims {
    claims: BTreeMap<IpAddr, Claim>,
    /// What this node's interfaces have.
    own: BTreeSet<IpAddr>,
    /// Addresses of which the owner may have changed, or what is known of it.
    pub(super) dirty: BTreeSet<IpAddr>,
}

impl Claims {
    pub(super) fn by_pod(&mut self, address: IpAddr, pod: &PodName, claims: bool) {
        let entry = self.claims.entry(address).or_default();
        if claims {
            entry.pods.insert(pod.clone());
        } else {
            entry.pods.remove(pod);
        }
        self.settle(address);
    }

    pub(super) fn by_node(&mut self, address: IpAddr, node: &NodeName, claims: bool) {
        let entry = self.claims.entry(address).or_default();
        if claims {
            entry.nodes.insert(node.clone());
        } else {
            entry.nodes.remove(node);
        }
        self.settle(address);
    }

    fn settle(&mut self, address: IpAddr) {
        let empty = |claim: &Claim| claim.nodes.is_empty() && claim.pods.is_empty();
        if self.claims.get(&address).is_some_and(empty) {
            self.claims.remove(&address);
        }
        self.dirty.insert(address);
    }

    pub(super) fn own(&mut self, own: BTreeSet<IpAddr>) {
        self.dirty.extend(self.own.symmetric_difference(&own));
        self.own = own;
    }

    /// This node before other nodes, those before pods, each by name: a pod's status takes no node's address.
    pub(super) fn owner<'a>(&'a self, address: IpAddr, this: &'a NodeName) -> Option<Owner<'a>> {
        if self.own.contains(&address) {
            return Some(Owner::Node(this));
        }
        let claim = self.claims.get(&address)?;
        let node = claim.nodes.first().map(Owner::Node);
        node.or_else(|| claim.pods.first().map(Owner::Pod))
    }
}
