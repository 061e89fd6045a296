//! Egress of an uplink: an endpoint's answer gets its frontend's address back, and the client's own port.

use landfall_ebpf_abi::counter::Counter;
use landfall_ebpf_abi::flow::{FLOW_ANSWERED, FLOW_SUPERSEDED};
use landfall_ebpf_abi::hash;

use crate::count::count;
use crate::deliver::{flags_of, heard};
use crate::frame::Frame;
use crate::maps::{BACKEND_FILTER, REPLIES};
use crate::packet::{Arriving, ETHERTYPE_V4, ETHERTYPE_V6, Endpoints, Ethernet, TCP, UDP, parse};
use crate::verdict::{Action, Verdict};

/// The whole of egress.
#[inline(always)]
pub fn egress(frame: impl Frame) -> Action {
    let verdict = decide(frame);
    frame.conclude(verdict)
}

#[inline(always)]
fn decide(frame: impl Frame) -> Verdict {
    frame.pull(96);
    let Some(ethernet) = frame.at::<Ethernet>(0) else {
        return Verdict::Pass;
    };
    // SAFETY: bounds checked by `at`.
    let v6 = match unsafe { (*ethernet).ethertype } {
        ETHERTYPE_V4 => false,
        ETHERTYPE_V6 => true,
        _ => return Verdict::Pass,
    };
    let Some(arriving) = Arriving::scratch() else {
        return Verdict::Pass;
    };
    if !parse(frame, v6, &mut arriving.packet) {
        return Verdict::Pass;
    }
    let packet = &arriving.packet;
    if packet.key.protocol != TCP && packet.key.protocol != UDP {
        return Verdict::Pass;
    }
    let bit = hash::filter_bit(&packet.key.client.words);
    match BACKEND_FILTER.get(bit >> 6) {
        Some(word) if word & (1 << (bit & 63)) != 0 => {}
        _ => return Verdict::Pass,
    }
    arriving.reply_key = packet.reply_key();
    let Some(reply) = REPLIES.get_ptr_mut(&arriving.reply_key) else {
        return Verdict::Pass;
    };
    // SAFETY: entries live until the program ends; words are written whole.
    let reply = unsafe { &mut *reply };
    if reply.mark.flags() & FLOW_SUPERSEDED != 0 {
        return Verdict::Pass;
    }
    heard(&mut reply.mark, FLOW_ANSWERED | flags_of(packet));
    arriving.new = Endpoints {
        source: reply.frontend,
        destination: reply.client,
        source_port: reply.frontend_port,
        destination_port: reply.client_port,
    };
    if !frame.translate(packet, &arriving.new) {
        count(Counter::DroppedMalformed);
        return Verdict::Drop;
    }
    count(Counter::Restored);
    Verdict::Pass
}
