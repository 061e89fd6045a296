//! Connection tracking: one entry in each direction for every flow that ends on this node or is translated by it.

#[cfg_attr(feature = "neighbour-layout", path = "flow/neighbour.rs")]
mod value;

use crate::address::pair;
use crate::{Address, PortNumber};

pub use value::{Flow, Reply};

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

/// What one side of a flow has said and when it was last heard, in one word: with it an entry of the kernel's hash, 48 octets
/// of its own before key and value, fills two cache lines and no more.
///
/// The low 24 bits are the time in ticks of CLOCK_MONOTONIC, which come round after 208 days; the high 8 a union of `FLOW_*`.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark(pub u32);

impl Mark {
    const TICKS: u32 = (1 << 24) - 1;

    /// Heard at `tick`, having said `flags`.
    #[inline(always)]
    pub const fn new(tick: u32, flags: u32) -> Self {
        Self(tick & Self::TICKS | flags)
    }

    /// A union of `FLOW_*`.
    #[inline(always)]
    pub const fn flags(self) -> u32 {
        self.0 & !Self::TICKS
    }

    /// Ticks from then to `now`, of which only the low 24 bits count. A time ahead of `now` by up to 104 days is now.
    #[inline(always)]
    pub const fn age(self, now: u32) -> u32 {
        let age = now.wrapping_sub(self.0) & Self::TICKS;
        if age > Self::TICKS / 2 { 0 } else { age }
    }

    /// Of two marks of the same side, heard at two places: when it was last heard, and all that it has said. Whether it is
    /// superseded is the first one's to say.
    #[must_use]
    pub const fn join(self, other: Self) -> Self {
        let last = if self.age(other.0) > 0 { other } else { self };
        Self::new(last.0, self.flags() | other.flags() & !FLOW_SUPERSEDED)
    }
}

/// A tick is CLOCK_MONOTONIC nanoseconds shifted right by this: 1.07 s.
pub const TICK_SHIFT: u32 = 30;

/// This side has sent its FIN.
pub const FLOW_FIN: u32 = 1 << 24;
/// This side has sent RST.
pub const FLOW_RESET: u32 = 1 << 25;
/// The client acknowledged something: the handshake is over.
pub const FLOW_ESTABLISHED: u32 = 1 << 26;
/// The source is this node's: a SNAT flow.
pub const FLOW_SNAT: u32 = 1 << 27;
/// On an answer's entry: a connection straight to the endpoint has taken the ends of this one, which is over.
pub const FLOW_SUPERSEDED: u32 = 1 << 28;
/// On an answer's entry: the endpoint has answered.
pub const FLOW_ANSWERED: u32 = 1 << 29;
/// Any of these, on either side: a SYN begins another connection.
pub const FLOW_ENDS: u32 = FLOW_FIN | FLOW_RESET | FLOW_SUPERSEDED;

crate::pod!(FlowKey: 40, ReplyKey: 40);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_tells_what_was_said_and_how_long_ago_whatever_the_uptime() {
        for tick in [0, 1, 0x00ff_ffff, 0x0100_0000, 0x2a00_0007] {
            let mark = Mark::new(tick, FLOW_FIN | FLOW_ANSWERED);
            assert_eq!(mark.flags(), FLOW_FIN | FLOW_ANSWERED);
            for age in [0, 1, 20, 500_000] {
                assert_eq!(mark.age(tick + age), age);
            }
        }
    }

    #[test]
    fn a_mark_set_while_the_clock_was_being_read_is_no_age() {
        assert_eq!(Mark::new(8, 0).age(7), 0);
        assert_eq!(Mark::new(0x0100_0000, 0).age(0x00ff_ffff), 0);
    }

    #[test]
    fn two_marks_of_a_side_join_to_the_later_with_the_flags_of_both() {
        let (early, late) = (Mark::new(5, FLOW_FIN), Mark::new(7, FLOW_ESTABLISHED));
        let both = Mark::new(7, FLOW_FIN | FLOW_ESTABLISHED);
        assert_eq!((early.join(late), late.join(early)), (both, both));
        assert_eq!(late.join(Mark::new(5, FLOW_SUPERSEDED)), late);
    }

    #[cfg(not(feature = "neighbour-layout"))]
    #[test]
    fn an_entry_of_the_kernels_hash_fills_two_cache_lines() {
        // struct htab_elem of Linux: the key begins after 48 octets, the value after the key.
        assert_eq!(48 + size_of::<FlowKey>() + size_of::<Flow>(), 2 * 64);
        assert_eq!(48 + size_of::<ReplyKey>() + size_of::<Reply>(), 2 * 64);
    }
}
