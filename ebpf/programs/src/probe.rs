//! Probes of other nodes: the pinned program echoes them, whether or not the agent lives.
//!
//! Plain probes tell whether a node lives. Road probes look like a client's packets and go back like the answers to one, so
//! that whatever filters foreign source addresses between two nodes sees what it would see of a client.

use core::mem::{size_of, swap};

use landfall_ebpf_abi::counter::Counter;
use landfall_ebpf_abi::wire::{
    ETHERTYPE_LANDFALL, PROBE_ECHO, PROBE_REQUEST, PROBE_ROAD_ECHO, PROBE_VERSION, Probe,
    ROAD_CLIENT_V4, ROAD_CLIENT_V6,
};

use crate::count::count;
use crate::frame::Frame;
use crate::packet::{ETHERNET, ETHERTYPE_V6, Ethernet};
use crate::verdict::{Action, Verdict};

/// Echoes a request; an echo goes up to the agent that asked.
#[inline(never)]
pub fn echo(frame: impl Frame) -> Action {
    let Some(ethernet) = Ethernet::read(frame) else {
        return frame.conclude(Verdict::Pass);
    };
    let verdict = decide(frame, &ethernet);
    frame.conclude(verdict)
}

#[inline(always)]
fn decide(frame: impl Frame, ethernet: &Ethernet) -> Verdict {
    let Some(place) = frame.at::<Probe>(ETHERNET) else {
        return Verdict::Drop;
    };
    // SAFETY: bounds checked by `at`.
    let probe = unsafe { place.read_unaligned() };
    if probe.kind != PROBE_REQUEST || probe.version != PROBE_VERSION {
        return Verdict::Pass;
    }
    let header = Ethernet {
        destination: ethernet.source,
        source: ethernet.destination,
        ethertype: ethernet.ethertype,
    };
    // SAFETY: bounds checked by `at`.
    unsafe {
        place.write_unaligned(Probe {
            kind: PROBE_ECHO,
            ..probe
        })
    };
    let Some(place) = frame.at::<Ethernet>(0) else {
        return Verdict::Drop;
    };
    // SAFETY: bounds checked by `at`.
    unsafe { place.write_unaligned(header) };
    count(Counter::ProbeEchoed);
    Verdict::Reflect
}

/// An IPv4 header without options and a UDP header, with the probe behind them.
#[repr(C, packed)]
#[derive(Clone, Copy)]
struct RoadV4 {
    head: [u8; 12],
    source: u32,
    destination: u32,
    ports: [u16; 2],
    rest: [u16; 2],
    probe: Probe,
}

/// As [`RoadV4`], for IPv6.
#[repr(C, packed)]
#[derive(Clone, Copy)]
struct RoadV6 {
    head: [u8; 8],
    source: [u64; 2],
    destination: [u64; 2],
    ports: [u16; 2],
    rest: [u16; 2],
    probe: Probe,
}

const CLIENT_V4: u32 = u32::from_ne_bytes(ROAD_CLIENT_V4);
const CLIENT_V6: u64 = u64::from_ne_bytes(ROAD_CLIENT_V6);

/// Offsets of the source address in a frame.
const SOURCE_V4: usize = ETHERNET + 12;
const SOURCE_V6: usize = ETHERNET + 8;

/// Whether an IP packet is a road probe, on its way or back. Asked of every packet.
#[inline(always)]
pub fn is_of_road(frame: impl Frame, v6: bool) -> bool {
    if v6 {
        let Some(place) = frame.at::<[u64; 4]>(SOURCE_V6) else {
            return false;
        };
        // SAFETY: bounds checked by `at`.
        let [source, _, destination, _] = unsafe { place.read_unaligned() };
        return source == CLIENT_V6 || destination == CLIENT_V6;
    }
    let Some(place) = frame.at::<[u32; 2]>(SOURCE_V4) else {
        return false;
    };
    // SAFETY: bounds checked by `at`.
    let [source, destination] = unsafe { place.read_unaligned() };
    source == CLIENT_V4 || destination == CLIENT_V4
}

/// Sends a road probe back where it came from, both ends swapped; one that has come back goes up to the agent.
#[inline(never)]
pub fn road(frame: impl Frame) -> Action {
    let Some(ethernet) = Ethernet::read(frame) else {
        return frame.conclude(Verdict::Pass);
    };
    let verdict = if ethernet.ethertype == ETHERTYPE_V6 {
        road_v6(frame, ethernet)
    } else {
        road_v4(frame, ethernet)
    };
    frame.conclude(verdict)
}

#[inline(always)]
fn road_v4(frame: impl Frame, ethernet: Ethernet) -> Verdict {
    let Some(place) = frame.at::<RoadV4>(ETHERNET) else {
        return Verdict::Drop;
    };
    // SAFETY: bounds checked by `at`; the struct is packed.
    let mut packet = unsafe { place.read_unaligned() };
    if packet.source != CLIENT_V4 {
        return back(frame, ethernet, packet.probe, 4);
    }
    // Sums over both ends stay what they are.
    let (source, destination) = (packet.source, packet.destination);
    (packet.source, packet.destination) = (destination, source);
    // SAFETY: as above.
    unsafe { place.write_unaligned(packet) };
    reflect(frame, ethernet)
}

#[inline(always)]
fn road_v6(frame: impl Frame, ethernet: Ethernet) -> Verdict {
    let Some(place) = frame.at::<RoadV6>(ETHERNET) else {
        return Verdict::Drop;
    };
    // SAFETY: bounds checked by `at`; the struct is packed.
    let mut packet = unsafe { place.read_unaligned() };
    let (source, destination) = (packet.source, packet.destination);
    if source[0] != CLIENT_V6 {
        return back(frame, ethernet, packet.probe, 6);
    }
    (packet.source, packet.destination) = (destination, source);
    // SAFETY: as above.
    unsafe { place.write_unaligned(packet) };
    reflect(frame, ethernet)
}

#[inline(always)]
fn reflect(frame: impl Frame, mut ethernet: Ethernet) -> Verdict {
    swap(&mut ethernet.destination, &mut ethernet.source);
    let Some(place) = frame.at::<Ethernet>(0) else {
        return Verdict::Drop;
    };
    // SAFETY: bounds checked by `at`.
    unsafe { place.write_unaligned(ethernet) };
    count(Counter::ProbeEchoed);
    Verdict::Reflect
}

/// Makes a frame for the agent of a probe that has come back. The stack would not know what to do with the packet.
#[inline(always)]
fn back(frame: impl Frame, ethernet: Ethernet, probe: Probe, family: u8) -> Verdict {
    let Some(place) = frame.at::<(Ethernet, [u8; size_of::<Probe>()])>(0) else {
        return Verdict::Drop;
    };
    let place = place.cast::<Ethernet>();
    let ethernet = Ethernet {
        ethertype: ETHERTYPE_LANDFALL.to_be(),
        ..ethernet
    };
    let probe = Probe {
        kind: PROBE_ROAD_ECHO,
        family,
        ..probe
    };
    // SAFETY: bounds checked by `at`.
    unsafe {
        place.write_unaligned(ethernet);
        place
            .byte_add(ETHERNET)
            .cast::<Probe>()
            .write_unaligned(probe);
    }
    Verdict::PassRetyped
}
