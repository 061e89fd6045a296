//! SNAT: the road to endpoints on nodes that L2 DSR cannot reach, and back.
//!
//! The packet leaves with this node's own address and a port of its own as source, routed to the endpoint; the answer comes
//! back to that address and is turned round to the client.

use core::mem::{MaybeUninit, size_of};

use aya_ebpf::bindings::{
    BPF_FIB_LKUP_RET_NO_NEIGH, BPF_FIB_LKUP_RET_SUCCESS, bpf_fib_lookup as FibLookup,
};
use landfall_ebpf_abi::counter::Counter;
use landfall_ebpf_abi::flow::{FLOW_ANSWERED, FLOW_SNAT};
use landfall_ebpf_abi::hash;
use landfall_ebpf_abi::node::Interface;
use landfall_ebpf_abi::service::Frontend;
use landfall_ebpf_abi::{Address, PortNumber};

use crate::count::count;
use crate::deliver::{
    TRANSLATED_PORTS, TRANSLATED_PORTS_FIRST, admitted, begins_anew, flags_of, heard, record,
};
use crate::frame::Frame;
use crate::maps::{BACKENDS, FLOWS, REPLIES};
use crate::packet::{Arriving, Endpoints, Ethernet};
use crate::verdict::{Action, Verdict};

/// Address families of the kernel's routing lookup.
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// Sends a packet to an endpoint of a node reached by SNAT.
#[inline(never)]
pub fn forward(
    frame: impl Frame,
    arriving: &mut Arriving,
    frontend: &Frontend,
    interface: &Interface,
) -> Action {
    let packet = &arriving.packet;
    let known = FLOWS
        .get_ptr_mut(&packet.key)
        // SAFETY: entries live until the program ends; words are written whole.
        .map(|flow| unsafe { &mut *flow })
        .filter(|flow| !begins_anew(packet, flow, &mut arriving.reply_key));
    arriving.new = match known {
        Some(flow) => {
            heard(&mut flow.mark, flags_of(packet));
            Endpoints {
                source: flow.source,
                destination: flow.backend,
                source_port: flow.source_port,
                destination_port: flow.backend_port,
            }
        }
        None => {
            if !admitted(frontend, &packet.key.client) {
                count(Counter::DroppedSourceRange);
                return frame.conclude(Verdict::Drop);
            }
            let first = u32::from(frontend.backend_count) - u32::from(frontend.snat_count);
            let offset = first + hash::local_slot(arriving.hash, u32::from(frontend.snat_count));
            let Some(backend) = BACKENDS.get(frontend.backend_base + offset) else {
                return frame.conclude(Verdict::Drop);
            };
            let wanted =
                TRANSLATED_PORTS_FIRST + ((arriving.hash >> 16) as u32 % TRANSLATED_PORTS) as u16;
            arriving.new = Endpoints {
                source: if packet.v6 {
                    interface.v6
                } else {
                    interface.v4
                },
                destination: backend.address,
                source_port: PortNumber::new(wanted),
                destination_port: backend.port,
            };
            let flags = FLOW_SNAT | flags_of(packet);
            if !record(arriving, flags) {
                return frame.conclude(Verdict::Drop);
            }
            arriving.new
        }
    };
    count(Counter::Translated);
    send(frame, arriving)
}

/// The answer to a translated flow, if it is one.
#[inline(never)]
pub fn reply(frame: impl Frame, arriving: &mut Arriving, interface: &Interface) -> Action {
    let packet = &arriving.packet;
    let own = if packet.v6 {
        &interface.v6
    } else {
        &interface.v4
    };
    if packet.key.frontend != *own || packet.key.frontend_port.get() < TRANSLATED_PORTS_FIRST {
        return frame.conclude(Verdict::Pass);
    }
    arriving.reply_key = packet.reply_key();
    let Some(reply) = REPLIES.get_ptr_mut(&arriving.reply_key) else {
        return frame.conclude(Verdict::Pass);
    };
    // SAFETY: entries live until the program ends; words are written whole.
    let reply = unsafe { &mut *reply };
    heard(&mut reply.mark, FLOW_ANSWERED | flags_of(packet));
    arriving.new = Endpoints {
        source: reply.frontend,
        destination: reply.client,
        source_port: reply.frontend_port,
        destination_port: reply.client_port,
    };
    count(Counter::Restored);
    send(frame, arriving)
}

/// Translates a packet and sends it along the route of its new destination.
#[inline(never)]
pub fn send<F: Frame>(frame: F, arriving: &Arriving) -> Action {
    let (packet, new) = (&arriving.packet, &arriving.new);
    let mut query = MaybeUninit::uninit();
    let query = clear(&mut query);
    query.ifindex = frame.ifindex();
    query.l4_protocol = packet.key.protocol;
    fill(query, packet.v6, &new.source, &new.destination);
    let found = frame.route(query, 0);
    let resolved = found == i64::from(BPF_FIB_LKUP_RET_SUCCESS);
    if !resolved && found != i64::from(BPF_FIB_LKUP_RET_NO_NEIGH) {
        count(Counter::DroppedNoRoute);
        return frame.conclude(Verdict::Drop);
    }
    if !resolved && !F::RESOLVES {
        // The same program at tc, behind this one, can ask for the neighbour.
        return frame.conclude(Verdict::Pass);
    }
    if !frame.translate(packet, new) {
        count(Counter::DroppedMalformed);
        return frame.conclude(Verdict::Drop);
    }
    if !resolved {
        return frame.resolve(query.ifindex);
    }
    let Some(place) = frame.at::<Ethernet>(0) else {
        return frame.conclude(Verdict::Drop);
    };
    // SAFETY: bounds checked by `at`.
    unsafe {
        (*place).destination = query.dmac;
        (*place).source = query.smac;
    }
    if query.ifindex == frame.ifindex() {
        frame.conclude(Verdict::Reflect)
    } else {
        frame.conclude(Verdict::Transmit(query.ifindex))
    }
}

/// Clears a query where it lies. Volatile, because the compiler makes of many zeroes a call that stores octet by octet.
#[inline(always)]
fn clear(query: &mut MaybeUninit<FibLookup>) -> &mut FibLookup {
    let words = query.as_mut_ptr().cast::<u32>();
    for index in 0..size_of::<FibLookup>() / 4 {
        // SAFETY: inside the query, which is aligned to words.
        unsafe { words.add(index).write_volatile(0) };
    }
    // SAFETY: written whole; all-zero is a valid query.
    unsafe { query.assume_init_mut() }
}

#[inline(always)]
fn fill(query: &mut FibLookup, v6: bool, source: &Address, destination: &Address) {
    if v6 {
        query.family = AF_INET6;
        query.__bindgen_anon_3.ipv6_src = source.words;
        query.__bindgen_anon_4.ipv6_dst = destination.words;
    } else {
        query.family = AF_INET;
        query.__bindgen_anon_3.ipv4_src = source.v4_word();
        query.__bindgen_anon_4.ipv4_dst = destination.v4_word();
    }
}
