//! Connection tracking: one entry in each direction for every flow that ends on this node or is translated by it.

use crate::address::pair;
use crate::{Address, PortNumber};

/// Key of a flow as the client sees it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FlowKey {
    /// Client.
    pub client: Address,
    /// Frontend.
    pub frontend: Address,
    /// Client's port.
    pub client_port: PortNumber,
    /// Frontend's port.
    pub frontend_port: PortNumber,
    /// IP protocol number.
    pub protocol: u8,
    /// Zero.
    pub zero: [u8; 3],
}

impl FlowKey {
    /// The key of a packet from a client. `ports` is the client's and the frontend's as they lie in the packet. Written in
    /// words of eight octets: loads of that width, the kernel's among them, would stall on narrower stores.
    #[inline(always)]
    pub const fn new(client: Address, frontend: Address, ports: u32, protocol: u8) -> Self {
        let ([a, b], [c, d]) = (client.halves(), frontend.halves());
        let last = pair(ports, u32::from_ne_bytes([protocol, 0, 0, 0]));
        // SAFETY: words of any value are a key.
        unsafe { core::mem::transmute([a, b, c, d, last]) }
    }
}

/// Where a flow goes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// Endpoint.
    pub backend: Address,
    /// Source address the endpoint sees: the client's, or this node's where it is translated.
    pub source: Address,
    /// Endpoint's port.
    pub backend_port: PortNumber,
    /// Source port the endpoint sees; not the client's only where two flows would have met.
    pub source_port: PortNumber,
    /// When a packet last came from the client, in [`TICK_SHIFT`] ticks of CLOCK_MONOTONIC.
    pub seen: u32,
    /// When the flow began, in the same ticks.
    pub since: u32,
    /// A union of `FLOW_*`.
    pub flags: u32,
}

/// Key of a flow as the endpoint answers it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ReplyKey {
    /// Endpoint.
    pub backend: Address,
    /// Address the endpoint answers to.
    pub source: Address,
    /// Endpoint's port.
    pub backend_port: PortNumber,
    /// Port the endpoint answers to.
    pub source_port: PortNumber,
    /// IP protocol number.
    pub protocol: u8,
    /// Zero.
    pub zero: [u8; 3],
}

impl ReplyKey {
    /// The key of an endpoint's answers. Written in words of eight octets, as [`FlowKey::new`] is.
    #[inline(always)]
    pub const fn new(
        backend: Address,
        source: Address,
        backend_port: PortNumber,
        source_port: PortNumber,
        protocol: u8,
    ) -> Self {
        let ([a, b], [c, d]) = (backend.halves(), source.halves());
        let ([e, f], [g, h]) = (backend_port.0.to_ne_bytes(), source_port.0.to_ne_bytes());
        let last = u64::from_ne_bytes([e, f, g, h, protocol, 0, 0, 0]);
        // SAFETY: words of any value are a key.
        unsafe { core::mem::transmute([a, b, c, d, last]) }
    }
}

/// Whom an answer is really from, and to.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// Frontend.
    pub frontend: Address,
    /// Client.
    pub client: Address,
    /// Frontend's port.
    pub frontend_port: PortNumber,
    /// Client's port.
    pub client_port: PortNumber,
    /// When a packet last came from the endpoint, in [`TICK_SHIFT`] ticks of CLOCK_MONOTONIC; 0 before the first.
    pub seen: u32,
    /// A union of `FLOW_*`.
    pub flags: u32,
    /// Zero.
    pub zero: u32,
}

/// A tick is CLOCK_MONOTONIC nanoseconds shifted right by this: 1.07 s.
pub const TICK_SHIFT: u32 = 30;

/// This side has sent its FIN.
pub const FLOW_FIN: u32 = 1 << 0;
/// This side has sent RST.
pub const FLOW_RESET: u32 = 1 << 1;
/// The client acknowledged something: the handshake is over.
pub const FLOW_ESTABLISHED: u32 = 1 << 2;
/// The source is this node's: a SNAT flow.
pub const FLOW_SNAT: u32 = 1 << 3;
/// On an answer's entry: a connection straight to the endpoint has taken the ends of this one, which is over.
pub const FLOW_SUPERSEDED: u32 = 1 << 4;
/// Any of these, on either side: a SYN begins another connection.
pub const FLOW_ENDS: u32 = FLOW_FIN | FLOW_RESET | FLOW_SUPERSEDED;

crate::pod!(FlowKey: 40, Flow: 48, ReplyKey: 40, Reply: 48);
