//! ICMP echo (RFC 792, RFC 4443) to a frontend's address, answered in place.

use landfall_ebpf_abi::checksum::Sum;
use landfall_ebpf_abi::counter::Counter;
use landfall_ebpf_abi::service::FrontendKey;

use crate::count::count;
use crate::frame::Frame;
use crate::maps::FRONTENDS;
use crate::packet::{Arriving, ETHERNET, Ethernet, ICMP, Packet};
use crate::verdict::{Action, Verdict};

const V4_REQUEST: u8 = 8;
const V4_REPLY: u8 = 0;
const V6_REQUEST: u8 = 128;
const V6_REPLY: u8 = 129;

/// Answers an echo request; other ICMP is passed.
#[inline(never)]
pub fn answer(frame: impl Frame, arriving: &Arriving) -> Action {
    let verdict = decide(frame, &arriving.ethernet, &arriving.packet);
    frame.conclude(verdict)
}

#[inline(always)]
fn decide(frame: impl Frame, ethernet: &Ethernet, packet: &Packet) -> Verdict {
    if (packet.key.protocol == ICMP) == packet.v6 {
        return Verdict::Pass;
    }
    let (request, reply) = if packet.v6 {
        (V6_REQUEST, V6_REPLY)
    } else {
        (V4_REQUEST, V4_REPLY)
    };
    let Some(icmp) = frame.at::<[u8; 8]>(packet.l4()) else {
        return Verdict::Pass;
    };
    // SAFETY: bounds checked by `at`.
    if unsafe { (*icmp)[0] } != request {
        return Verdict::Pass;
    }
    // SAFETY: only tested for presence.
    if unsafe {
        FRONTENDS
            .get(FrontendKey::of_address(packet.key.frontend))
            .is_none()
    } {
        return Verdict::Pass;
    }
    // Swapping the addresses leaves every checksum as it is; only the type changes.
    // SAFETY: bounds checked by `at`.
    unsafe {
        let sum = icmp.byte_add(2).cast::<u16>();
        let old = u16::from_ne_bytes([request, 0]);
        let new = u16::from_ne_bytes([reply, 0]);
        sum.write_unaligned(
            Sum::default()
                .replace_half(old, new)
                .update(sum.read_unaligned()),
        );
        *icmp.cast::<u8>() = reply;
    }
    let ends = &packet.key;
    let swapped = if packet.v6 {
        frame.at::<[[u32; 4]; 2]>(ETHERNET + 8).map(|ip| {
            // SAFETY: bounds checked by `at`.
            unsafe { ip.write_unaligned([ends.frontend.words, ends.client.words]) }
        })
    } else {
        frame.at::<[u32; 2]>(ETHERNET + 12).map(|ip| {
            // SAFETY: bounds checked by `at`.
            unsafe { ip.write_unaligned([ends.frontend.v4_word(), ends.client.v4_word()]) }
        })
    };
    let Some(place) = frame.at::<Ethernet>(0) else {
        return Verdict::Drop;
    };
    if swapped.is_none() {
        return Verdict::Drop;
    }
    let header = Ethernet {
        destination: ethernet.source,
        source: ethernet.destination,
        ethertype: ethernet.ethertype,
    };
    // SAFETY: bounds checked by `at`.
    unsafe { place.write_unaligned(header) };
    count(Counter::EchoAnswered);
    Verdict::Reflect
}
