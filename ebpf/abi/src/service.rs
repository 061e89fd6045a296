//! Frontends and their endpoints.

use crate::{Address, PortNumber};

/// Key of the service table: what a packet is addressed to. Port 0 with protocol 0 stands for the address itself: it
/// answers ICMP echo and rejects ports that no service has.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FrontendKey {
    /// Destination address.
    pub address: Address,
    /// Destination port.
    pub port: PortNumber,
    /// IP protocol number.
    pub protocol: u8,
    /// Zero.
    pub zero: u8,
}

impl FrontendKey {
    /// The key of a service's port. Whole words, so that a kernel program stores it as the kernel will load it.
    #[inline(always)]
    pub const fn new(address: Address, port: PortNumber, protocol: u8) -> Self {
        let [a, b, c, d] = address.words;
        let [high, low] = port.0.to_ne_bytes();
        let last = u32::from_ne_bytes([high, low, protocol, 0]);
        // SAFETY: five words of any value are a key.
        unsafe { core::mem::transmute([a, b, c, d, last]) }
    }

    /// The key of the address itself.
    #[inline(always)]
    pub const fn of_address(address: Address) -> Self {
        Self {
            address,
            port: PortNumber(0),
            protocol: 0,
            zero: 0,
        }
    }
}

/// A lookup table in [`SlotRow`]s: `slots` entries from the first slot of row `row` on. Without slots nothing can be chosen.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SlotTable {
    /// First row.
    pub row: u32,
    /// Number of slots, a prime, at most [`MAX_SLOTS`].
    pub slots: u32,
}

/// Value of the service table.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Frontend {
    /// Number of the frontend, stable while it exists; keys its source ranges.
    pub id: u32,
    /// A union of `FRONTEND_*`.
    pub flags: u32,
    /// Which node takes a flow: indexes of [`crate::node::Node`]s; 0 is this node.
    pub nodes: SlotTable,
    /// The node table before the last change: flows that the chosen node does not know are passed on by it.
    pub previous_nodes: SlotTable,
    /// Which endpoint of this node takes a flow: offsets from `backend_base`.
    pub local: SlotTable,
    /// First of this frontend's endpoints in the backend array: this node's, then those reached by L2 DSR, then those
    /// reached by SNAT.
    pub backend_base: u32,
    /// Number of this node's endpoints.
    pub local_count: u16,
    /// Number of all endpoints.
    pub backend_count: u16,
    /// Number of endpoints on nodes reached by SNAT, the last ones.
    pub snat_count: u16,
    /// Zero.
    pub zero: u16,
    /// Session affinity's timeout in seconds; 0 for none.
    pub affinity_s: u32,
}

/// Reachable from outside the cluster (LoadBalancer addresses and external IPs).
pub const FRONTEND_EXTERNAL: u32 = 1 << 0;
/// Choose by client address alone.
pub const FRONTEND_AFFINITY: u32 = 1 << 1;
/// Source ranges apply.
pub const FRONTEND_SOURCE_RANGES: u32 = 1 << 2;
/// The key stands for the address itself.
pub const FRONTEND_ADDRESS: u32 = 1 << 3;
/// Some live flows no longer match the tables: look them up in the moved-flow map before choosing a node.
pub const FRONTEND_MOVED_FLOWS: u32 = 1 << 4;
/// `previous_nodes` is to be consulted.
pub const FRONTEND_PREVIOUS: u32 = 1 << 5;

/// The tables have changed and not every node has told yet which flows it keeps: a TCP packet that begins nothing and whose
/// flow nobody here knows is dropped, for its sender to re-send it, and not reset. `previous_nodes` is the last table of which
/// all was told.
pub const FRONTEND_UNSETTLED: u32 = 1 << 6;

/// Set on a slot of `previous_nodes` whose node has no endpoint for new flows left: only a connection may be passed there.
pub const SLOT_DRAINED: u16 = 1 << 15;

/// Slots in a row.
pub const ROW_SLOTS: usize = 256;
/// Slots in the largest table.
pub const MAX_SLOTS: u32 = 65_521;

/// A row of lookup table slots.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct SlotRow {
    /// The slots.
    pub slots: [u16; ROW_SLOTS],
}

/// An endpoint.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Backend {
    /// Its address.
    pub address: Address,
    /// Its port.
    pub port: PortNumber,
    /// Index of its node.
    pub node: u16,
}

/// Key of the source ranges: a longest-prefix match on frontend and client.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SourceRange {
    /// [`Frontend::id`], always matched whole.
    pub frontend: u32,
    /// Client prefix.
    pub client: Address,
}

/// Bits of [`SourceRange`] before the client's address.
pub const SOURCE_RANGE_FRONTEND_BITS: u32 = 32;

crate::pod!(FrontendKey: 20, SlotTable: 8, Frontend: 48, SlotRow: 512, Backend: 20, SourceRange: 20);
