//! The tables as a kernel program looks them up: hash maps with fixed keys, and longest-prefix tries. Nothing else.
//!
//! | table | kind | key | value |
//! |---|---|---|---|
//! | `pods` | hash | the pod, by what the program knows it by | a [`SetHead`] for each direction |
//! | `peers` | hash | address | [`Peer`] |
//! | `networks` | trie | set, family, address | [`NetworkClass`] |
//! | `verdicts` | trie | set, [`PeerId`], protocol, port | [`Words`] |
//!
//! A *set* is what applies to a pod in one direction; pods to which the same applies share it. A first packet costs one lookup in
//! `pods` and `peers` each, at most one in `networks` and five in `verdicts`, whatever the number of policies.

mod key;
mod lookup;
mod operation;
mod word;

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::model::{Direction, PodName};

pub use self::key::{
    NetworkClass, NetworkKey, Peer, PeerId, PortPrefix, SetHead, SetId, VerdictKey,
};
pub use self::lookup::Found;
pub use self::operation::Operation;
pub use self::word::{TierWord, Words};

/// What applies to a pod. A direction that has no set is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PodVerdicts {
    /// For what comes to it.
    pub ingress: Option<SetHead>,
    /// For what it sends.
    pub egress: Option<SetHead>,
}

impl PodVerdicts {
    /// The set of a direction.
    pub fn head(&self, direction: Direction) -> Option<SetHead> {
        match direction {
            Direction::Ingress => self.ingress,
            Direction::Egress => self.egress,
        }
    }
}

/// The tables' contents: a node's kernel maps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyTables {
    /// This node's pods.
    pub pods: BTreeMap<PodName, PodVerdicts>,
    /// Addresses of pods and nodes.
    pub peers: BTreeMap<IpAddr, Peer>,
    /// Prefixes that rules of a set speak of.
    pub networks: BTreeMap<NetworkKey, NetworkClass>,
    /// Verdicts by tier.
    pub verdicts: BTreeMap<VerdictKey, Words>,
}
