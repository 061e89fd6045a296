//! Ingress of an uplink: the table of verdicts.

use landfall_ebpf_abi::counter::Counter;
use landfall_ebpf_abi::hash;
use landfall_ebpf_abi::node::{INTERFACE_SLOTS, Interface, PeerKey};
use landfall_ebpf_abi::wire::{ETHERTYPE_ASKED, ETHERTYPE_LANDFALL};

use crate::count::count;
use crate::frame::Frame;
use crate::maps::{INTERFACES, PEER_FILTER, PEERS};
use crate::packet::{ETHERNET, ETHERTYPE_ARP, ETHERTYPE_V4, ETHERTYPE_V6, Ethernet, Mark};
use crate::verdict::{Action, Verdict};
use crate::{arp, forward, ndp, probe};

/// The whole of ingress.
#[inline(always)]
pub fn ingress(frame: impl Frame) -> Action {
    frame.pull(128);
    let Some(ethernet) = frame.at::<Ethernet>(0) else {
        return frame.conclude(Verdict::Pass);
    };
    // SAFETY: bounds checked by `at`; the header stays where it is while these are in use.
    let ethernet = unsafe { &*ethernet };
    let ethertype = ethernet.ethertype;
    if ethertype == ETHERTYPE_ARP {
        return arp::answer(frame);
    }
    if ethertype == ETHERTYPE_V6 && ndp::is_solicitation(frame) {
        return ndp::answer(frame);
    }
    let Some(interface) = addressed_to_us(frame.ifindex(), ethernet) else {
        return frame.conclude(Verdict::Pass);
    };
    // One call for all kinds: the paths below are inlined, and each copy would take its own share of the stack.
    let (v6, mark) = match ethertype {
        ETHERTYPE_V4 | ETHERTYPE_V6 => {
            let v6 = ethertype == ETHERTYPE_V6;
            if probe::is_of_road(frame, v6) {
                return probe::road(frame);
            }
            (v6, Mark::None)
        }
        other if other == ETHERTYPE_LANDFALL.to_be() || other == ETHERTYPE_ASKED.to_be() => {
            let asked = other == ETHERTYPE_ASKED.to_be();
            let mark = if asked { Mark::Asked } else { Mark::PassedOn };
            let Some(first) = frame.at::<u8>(ETHERNET) else {
                return frame.conclude(Verdict::Pass);
            };
            // A frame of another node: a packet, a probe, or agents' talk, which the first nibble tells.
            // SAFETY: bounds checked by `at`.
            match unsafe { *first } >> 4 {
                4 => (false, mark),
                6 => (true, mark),
                _ if asked => return frame.conclude(Verdict::Pass),
                _ => return probe::echo(frame),
            }
        }
        _ => return frame.conclude(Verdict::Pass),
    };
    if mark != Mark::None {
        count(Counter::MarkedArrived);
    }
    forward::arriving(frame, interface, v6, mark)
}

/// This node's entry for the interface, if the frame is for its Ethernet address. A frame that a switch flooded, or that a
/// promiscuous interface overhears, is another node's.
#[inline(always)]
fn addressed_to_us(ifindex: u32, ethernet: &Ethernet) -> Option<&'static Interface> {
    let interface = INTERFACES.get(ifindex % INTERFACE_SLOTS)?;
    (interface.ifindex == ifindex && interface.mac == ethernet.destination).then_some(interface)
}

/// Whether a frame comes from another node of ours.
#[inline(always)]
pub fn from_peer(ethernet: &Ethernet) -> bool {
    let bit = hash::mac_bit(&ethernet.source);
    let Some(word) = PEER_FILTER.get(bit >> 6) else {
        return false;
    };
    if word & (1 << (bit & 63)) == 0 {
        return false;
    }
    // SAFETY: the value is only tested for presence.
    unsafe {
        PEERS
            .get(PeerKey {
                mac: ethernet.source,
                zero: 0,
            })
            .is_some()
    }
}
