//! Single writes to the tables.

use std::net::IpAddr;

use crate::model::PodName;

use super::{NetworkClass, NetworkKey, Peer, PodVerdicts, PolicyTables, VerdictKey, Words};

/// One write to one map, as one system call makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Writes, or takes away, a pod's sets.
    Pod(PodName, Option<PodVerdicts>),
    /// Writes, or takes away, who has an address.
    Peer(IpAddr, Option<Peer>),
    /// Writes, or takes away, a prefix's class.
    Network(NetworkKey, Option<NetworkClass>),
    /// Writes, or takes away, an entry of `verdicts`.
    Verdict(VerdictKey, Option<Words>),
}

impl PolicyTables {
    /// Makes one write.
    pub fn apply(&mut self, operation: Operation) {
        match operation {
            Operation::Pod(pod, Some(sets)) => drop(self.pods.insert(pod, sets)),
            Operation::Pod(pod, None) => drop(self.pods.remove(&pod)),
            Operation::Peer(address, Some(peer)) => drop(self.peers.insert(address, peer)),
            Operation::Peer(address, None) => drop(self.peers.remove(&address)),
            Operation::Network(key, Some(class)) => drop(self.networks.insert(key, class)),
            Operation::Network(key, None) => drop(self.networks.remove(&key)),
            Operation::Verdict(key, Some(words)) => drop(self.verdicts.insert(key, words)),
            Operation::Verdict(key, None) => drop(self.verdicts.remove(&key)),
        }
    }
}
