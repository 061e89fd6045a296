//! A compiler's tables with every number replaced by what it stands for, so that two histories can be compared.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use crate::model::{Cidr, Direction, NodeName, PodName};
use crate::policy::table::{NetworkClass, PeerId};

use super::Compiler;
use super::identity::{IdentityKey, NamedPort};
use super::parts::Group;
use super::set::SetKey;

/// What a peer's number stands for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::policy) enum Who {
    AnyPod,
    AnyNode,
    Pods(Arc<IdentityKey>),
    Namespace(Arc<str>),
    NamedPorts(Vec<NamedPort>),
    Node(NodeName),
    Class(u32),
    /// Nobody: a number left over.
    Nobody(PeerId),
}

type SetContents = (
    bool,
    bool,
    BTreeMap<Cidr, NetworkClass>,
    BTreeMap<Who, Group>,
);

/// Everything the tables say, and how much is kept for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::policy) struct Canonical {
    peers: BTreeMap<IpAddr, (Who, Who, Option<Who>, bool)>,
    pods: BTreeMap<(PodName, bool), Option<Arc<SetKey>>>,
    sets: BTreeMap<Arc<SetKey>, SetContents>,
    selections: usize,
    identities: BTreeSet<Arc<IdentityKey>>,
}

impl Compiler {
    fn who(&self, peer: PeerId) -> Who {
        let population = &self.population;
        if peer == PeerId::ANY_POD {
            Who::AnyPod
        } else if peer == PeerId::ANY_NODE {
            Who::AnyNode
        } else if peer == PeerId::of_class(NetworkClass(peer.number())) {
            Who::Class(peer.number())
        } else if let Some(identity) = population.identity(peer) {
            Who::Pods(Arc::clone(&identity.key))
        } else if let Some(name) = population.namespace_of(peer) {
            Who::Namespace(Arc::clone(name))
        } else if let Some(ports) = population.named_ports(peer) {
            Who::NamedPorts(ports.to_vec())
        } else if let Some(name) = population.node_name(peer) {
            Who::Node(name.clone())
        } else {
            Who::Nobody(peer)
        }
    }

    pub(in crate::policy) fn canonical(&self) -> Canonical {
        let peers = self.peers.iter().map(|(address, peer)| {
            let who = (
                self.who(peer.identity),
                self.who(peer.group),
                peer.named_ports.map(|ports| self.who(ports)),
                peer.own_node,
            );
            (*address, who)
        });
        let key = |head| {
            let head: Option<crate::policy::SetHead> = head;
            head.and_then(|head| self.sets.get(&head.set))
                .map(|set| Arc::clone(&set.key))
        };
        let pods = self.verdicts.iter().flat_map(|(name, verdicts)| {
            [Direction::Ingress, Direction::Egress].map(|direction| {
                let ingress = direction == Direction::Ingress;
                ((name.clone(), ingress), key(verdicts.head(direction)))
            })
        });
        let sets = self.sets.values().map(|set| {
            let compiled = &set.compiled;
            let groups = compiled.groups.iter();
            let groups = groups.map(|(peer, group)| (self.who(*peer), Arc::clone(group)));
            let contents = (
                compiled.isolated,
                compiled.own_node,
                compiled.classes.clone(),
                groups.collect(),
            );
            (Arc::clone(&set.key), contents)
        });
        let namespaces = self.population.namespace_ids();
        let identities = namespaces.flat_map(|(_, name)| self.population.identities_of(name));
        Canonical {
            peers: peers.collect(),
            pods: pods.collect(),
            sets: sets.collect(),
            selections: self.selections.len(),
            identities: identities
                .filter_map(|id| Some(Arc::clone(&self.population.identity(id)?.key)))
                .collect(),
        }
    }
}
