//! Keys and small values of the tables.

use crate::model::Cidr;

/// A set of rules that applies to pods in one direction. Given anew whenever the rules change: what a set's rules say of a peer
/// never changes under a packet's feet in more than one entry at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SetId(pub u32);

/// What `pods` says of one direction: the set, and what its lookups need not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetHead {
    /// The set.
    pub set: SetId,
    /// A NetworkPolicy applies: what the Admin tier leaves open is denied unless a NetworkPolicy accepts it.
    pub isolated: bool,
    /// The set has entries in `networks`. Without, everything is of class 0 there.
    pub networks: bool,
    /// The set has entries for pods by their named ports.
    pub named_ports: bool,
    /// Where NetworkPolicies isolate, they do not keep the pod from its own node. Always so for ingress.
    pub own_node: bool,
}

/// Whom a verdict is about.
///
/// | value | peer |
/// |---|---|
/// | 1 | every pod |
/// | 2 | every node |
/// | 16 and more | pods of one namespace with the same labels and named ports; or one node |
/// | with bit 29 | pods with the same named ports |
/// | with bit 30 | a namespace's pods |
/// | with bit 31 | a [`NetworkClass`] of the set |
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub u32);

const NAMED_PORTS: u32 = 1 << 29;
const NAMESPACE: u32 = 1 << 30;
const NETWORK: u32 = 1 << 31;

impl PeerId {
    /// Every pod.
    pub const ANY_POD: Self = Self(1);
    /// Every node.
    pub const ANY_NODE: Self = Self(2);
    /// The first that is given to pods and nodes.
    pub(in crate::policy) const FIRST: u32 = 16;

    pub(in crate::policy) fn of_namespace(number: u32) -> Self {
        Self(number | NAMESPACE)
    }

    pub(in crate::policy) fn of_named_ports(number: u32) -> Self {
        Self(number | NAMED_PORTS)
    }

    /// All addresses of a class.
    pub fn of_class(class: NetworkClass) -> Self {
        Self(class.0 | NETWORK)
    }

    pub(in crate::policy) fn is_namespace(self) -> bool {
        self.0 & NAMESPACE != 0
    }

    /// The number without its kind.
    pub(in crate::policy) fn number(self) -> u32 {
        self.0 & !(NAMED_PORTS | NAMESPACE | NETWORK)
    }

    /// How narrow it is: a lookup takes the narrowest peer that has an entry.
    pub(in crate::policy) fn narrowness(self) -> u8 {
        match self {
            Self::ANY_POD | Self::ANY_NODE => 0,
            _ if self.is_namespace() => 1,
            _ => 2,
        }
    }
}

/// Who has an address: `identity` is asked, else `group`, else [`PeerId::ANY_POD`] where that is a namespace. What they say is joined
/// with what is said of `named_ports`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Pods alike, or the node.
    pub identity: PeerId,
    /// The namespace, or [`PeerId::ANY_NODE`].
    pub group: PeerId,
    /// Pods with the same named ports, where it has any: rules for egress to all pods name ports by name.
    pub named_ports: Option<PeerId>,
    /// It is this node, on which all pods of the tables run.
    pub own_node: bool,
}

/// Addresses which the rules of a set treat alike by their prefixes. 0: no prefix of the set holds them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetworkClass(pub u32);

/// A key of `networks`: 32 bits set, 8 bits family (4 or 6), then the prefix; 40 to 168 bits. The family stands before the
/// address because `::/0` must not hold IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetworkKey {
    /// The set.
    pub set: SetId,
    /// The prefix.
    pub network: Cidr,
}

/// A key of `verdicts`: 32 bits set, 32 bits peer, then 0, 8 or 9 to 24 bits of protocol and port; 64 to 88 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VerdictKey {
    /// The set.
    pub set: SetId,
    /// The peer.
    pub peer: PeerId,
    /// Protocol and port.
    pub ports: PortPrefix,
}

/// Ports with the same leading bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortPrefix {
    /// IP protocol number; 0 where `bits` is 0.
    pub protocol: u8,
    /// The first port.
    pub port: u16,
    /// How many bits are given: 0 for everything, 8 for a protocol's ports, up to 24 for one port.
    pub bits: u8,
}

impl PortPrefix {
    /// Every port of every protocol.
    pub const ALL: Self = Self {
        protocol: 0,
        port: 0,
        bits: 0,
    };

    /// The prefix of so many bits that a protocol's port is in.
    pub(in crate::policy) fn of(protocol: u8, port: u16, bits: u8) -> Self {
        if bits < 8 {
            return Self::ALL;
        }
        let spare = 24_u32.saturating_sub(u32::from(bits));
        Self {
            protocol,
            port: port & u16::MAX.checked_shl(spare).unwrap_or(0),
            bits,
        }
    }
}
