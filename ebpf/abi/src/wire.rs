//! What nodes of one LAN say to each other in Ethernet frames.
//!
//! One EtherType of IEEE 802's local experimental range is for packets that go no further and for what agents and programs
//! tell each other; the first nibble of the payload tells them apart: 4 and 6 are IP packets passed on, 1 is a probe, 2 is
//! the agents' exchange on moved flows, 3 is theirs on who answers for an address. Another EtherType is for packets that may go on once more.

/// IEEE 802 Local Experimental EtherType 1 (IEEE 802-2014, section 9.2.4), in host order.
pub const ETHERTYPE_LANDFALL: u16 = 0x88b5;

/// IEEE 802 Local Experimental EtherType 2, in host order: a packet for a node that has told that it keeps the flow. If it
/// does not, it may pass the packet on once, as [`ETHERTYPE_LANDFALL`].
pub const ETHERTYPE_ASKED: u16 = 0x88b6;

/// A liveness probe or its echo: the payload of a frame of [`ETHERTYPE_LANDFALL`], padded to the Ethernet minimum.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Probe {
    /// One of `PROBE_*`.
    pub kind: u8,
    /// Version of this format, 1.
    pub version: u8,
    /// Of a [`PROBE_ROAD_ECHO`], the IP version, 4 or 6; else zero.
    pub family: u8,
    /// Zero.
    pub zero: u8,
    /// Chosen by the sender, echoed unchanged.
    pub nonce: [u8; 16],
}

/// Asks the receiving node's kernel program for an echo.
pub const PROBE_REQUEST: u8 = 0x10;
/// Answers a request.
pub const PROBE_ECHO: u8 = 0x11;
/// Whether packets of clients get through, asked in a packet such as one of theirs: UDP from [`ROAD_CLIENT_V4`] or an address
/// of [`ROAD_CLIENT_V6`] to a virtual address, with a [`Probe`] as its payload, in a frame to the node that is asked. Its
/// program sends it back with both ends swapped, as it would an answer to the client.
pub const PROBE_ROAD: u8 = 0x12;
/// What the asking node's program makes of that answer for its agent: a frame of [`ETHERTYPE_LANDFALL`].
pub const PROBE_ROAD_ECHO: u8 = 0x13;
/// The client of road probes, of the range for benchmarks (RFC 2544, appendix C.2.2): nobody's own.
pub const ROAD_CLIENT_V4: [u8; 4] = [198, 18, 0x88, 0xb5];
/// The subnet of the client of road probes, of the range for benchmarks (RFC 5180, section 8): 2001:2:0:88b5::/64.
pub const ROAD_CLIENT_V6: [u8; 8] = [0x20, 0x01, 0, 2, 0, 0, 0x88, 0xb5];
/// Both ports of a road probe: discard (RFC 863), for where no program takes it out.
pub const ROAD_PORT: u16 = 9;
/// First octet of a frame in which an agent tells of flows it keeps.
pub const MOVED_TELLING: u8 = 0x20;
/// First octet of a frame that acknowledges such.
pub const MOVED_HEARD: u8 = 0x21;
/// Current version of [`Probe`].
pub const PROBE_VERSION: u8 = 1;

crate::pod!(Probe: 20);
