//! What rules of all kinds of network policies are made of.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::{Cidr, Port, Protocol};

/// A direction of traffic, as the pod sees it that a policy applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// To the pod.
    Ingress,
    /// From the pod.
    Egress,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        })
    }
}

/// An `ipBlock`: addresses whoever has them, be it a pod, a node or the world.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IpBlock {
    /// `cidr`.
    pub cidr: Cidr,
    /// `except`: prefixes within `cidr` that are left out.
    pub except: Vec<Cidr>,
}

impl IpBlock {
    /// Whether it holds `address`.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.cidr.contains(address) && !self.except.iter().any(|except| except.contains(address))
    }
}

/// One entry of a rule's `ports` or `protocols`. Ports are those of the destination.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PortMatch {
    /// Every port of a protocol.
    Protocol(Protocol),
    /// The ports from `first` to `last`, both included.
    Range {
        /// Transport protocol.
        protocol: Protocol,
        /// `port`.
        first: Port,
        /// `endPort`; the same as `first` where a single port is meant.
        last: Port,
    },
    /// A container port of the destination pod by its name, whatever number that pod gives it. What is no pod has none.
    Named {
        /// The port's name.
        name: Arc<str>,
        /// The protocol it must have; absent in a ClusterNetworkPolicy, which takes the container port's own.
        protocol: Option<Protocol>,
    },
}
