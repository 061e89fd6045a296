//! Nodes and this node's interfaces.

use crate::Address;

/// How a node is reached.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Node {
    /// Its Ethernet address on the shared LAN.
    pub mac: [u8; 6],
    /// This node's Ethernet address there.
    pub own_mac: [u8; 6],
    /// This node's interface there; 0 while the node cannot be reached.
    pub ifindex: u32,
    /// A union of `NODE_*`.
    pub flags: u32,
}

/// The node is this one.
pub const NODE_SELF: u32 = 1 << 0;
/// Frames are re-sent to its Ethernet address.
pub const NODE_L2_DSR: u32 = 1 << 1;
/// Its endpoints are reached by source translation.
pub const NODE_SNAT: u32 = 1 << 2;

/// Index of this node in the node array.
pub const NODE_INDEX_SELF: u16 = 0;
/// Size of the node array.
pub const MAX_NODES: u32 = 1024;

/// Key of the peers: the Ethernet address that frames of another node come from.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PeerKey {
    /// Ethernet address.
    pub mac: [u8; 6],
    /// Zero.
    pub zero: u16,
}

/// One of this node's interfaces that programs are attached to.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Interface {
    /// Its index; an entry with another index is another interface's.
    pub ifindex: u32,
    /// Its Ethernet address.
    pub mac: [u8; 6],
    /// Zero.
    pub zero: u16,
    /// Its own IPv4 address, for source translation; zero without one.
    pub v4: Address,
    /// Its own IPv6 address, likewise.
    pub v6: Address,
}

/// Size of the interface array; an interface stands at its index modulo this.
pub const INTERFACE_SLOTS: u32 = 1024;

crate::pod!(Node: 20, PeerKey: 8, Interface: 44);
