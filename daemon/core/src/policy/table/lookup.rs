//! The lookups, in the steps of the kernel program.

use std::net::IpAddr;

use crate::model::{Cidr, Direction, PodName};
use crate::policy::decision::{Transport, Verdict};

use super::{
    NetworkClass, NetworkKey, Peer, PeerId, PolicyTables, PortPrefix, SetHead, SetId, TierWord,
    VerdictKey, Words,
};

/// What a program finds. The rank of a rule is of the set that `pods` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// No set, or nothing matched and nothing isolates.
    Default,
    /// Source and destination are one.
    Itself,
    /// The peer is the pod's node.
    OwnNode,
    /// A rule decided.
    Rule(Verdict, SetId, u32),
    /// Nothing accepts, and NetworkPolicies isolate.
    Isolation(SetId),
}

impl Found {
    /// What becomes of the packet.
    pub fn verdict(self) -> Verdict {
        match self {
            Self::Default | Self::Itself | Self::OwnNode => Verdict::Accept,
            Self::Rule(verdict, ..) => verdict,
            Self::Isolation(_) => Verdict::Deny,
        }
    }
}

impl PolicyTables {
    /// What becomes of a packet between a pod, at its address `own`, and `peer`.
    pub fn lookup(
        &self,
        pod: &PodName,
        direction: Direction,
        own: IpAddr,
        peer: IpAddr,
        transport: Transport,
    ) -> Found {
        let Some(head) = self.pods.get(pod).and_then(|pod| pod.head(direction)) else {
            return Found::Default;
        };
        if own == peer {
            return Found::Itself;
        }
        let who = self.peers.get(&peer);
        let own_node = who.is_some_and(|who| who.own_node);
        if own_node && direction == Direction::Ingress {
            return Found::OwnNode;
        }
        let by_peer = who.map_or(Words::NONE, |who| self.by_peer(head, who, transport));
        let class = if head.networks {
            self.class(head.set, peer)
        } else {
            NetworkClass(0)
        };
        let class = PeerId::of_class(class);
        let by_network = self
            .verdict(head.set, class, transport)
            .unwrap_or(Words::NONE);
        fold(head, own_node, by_peer.join(by_network))
    }

    /// The narrowest peer that has an entry, and the pod's named ports.
    fn by_peer(&self, head: SetHead, who: &Peer, transport: Transport) -> Words {
        let last = who.group.is_namespace().then_some(PeerId::ANY_POD);
        let by_labels = [Some(who.identity), Some(who.group), last]
            .into_iter()
            .flatten()
            .find_map(|peer| self.verdict(head.set, peer, transport));
        let by_ports = who.named_ports.filter(|_| head.named_ports);
        let by_ports = by_ports.and_then(|ports| self.verdict(head.set, ports, transport));
        let words = by_labels.unwrap_or(Words::NONE);
        words.join(by_ports.unwrap_or(Words::NONE))
    }

    /// The longest prefix in `verdicts`.
    fn verdict(&self, set: SetId, peer: PeerId, transport: Transport) -> Option<Words> {
        let (protocol, port, longest) = match transport {
            Transport::Port(protocol, port) => (protocol.number(), port, 24),
            Transport::Other => (0, 0, 0),
        };
        (0..=longest)
            .rev()
            .filter(|bits| !(1..8).contains(bits))
            .find_map(|bits| {
                let ports = PortPrefix::of(protocol, port, bits);
                self.verdicts.get(&VerdictKey { set, peer, ports }).copied()
            })
    }

    /// The longest prefix in `networks`.
    fn class(&self, set: SetId, address: IpAddr) -> NetworkClass {
        (0..=128)
            .rev()
            .filter_map(|bits| Cidr::new(address, bits))
            .find_map(|network| self.networks.get(&NetworkKey { set, network }).copied())
            .unwrap_or_default()
    }
}

/// From tier to tier.
fn fold(head: SetHead, own_node: bool, words: Words) -> Found {
    let decided = |word: TierWord| {
        let verdict = word.verdict()?;
        Some(Found::Rule(verdict, head.set, word.rank()))
    };
    if let Some(found) = decided(words.admin) {
        return found;
    }
    if head.isolated {
        if own_node && head.own_node {
            return Found::OwnNode;
        }
        return decided(words.network_policy).unwrap_or(Found::Isolation(head.set));
    }
    decided(words.baseline).unwrap_or(Found::Default)
}
