//! Local delivery: a flow that ends on this node is translated to one of its endpoints and handed to the stack.

use aya_ebpf::bindings::{BPF_ANY, BPF_NOEXIST};
use aya_ebpf::helpers::generated::{bpf_get_prandom_u32, bpf_ktime_get_coarse_ns};
use aya_ebpf::maps::lpm_trie::Key;
use landfall_ebpf_abi::counter::Counter;
use landfall_ebpf_abi::flow::{
    FLOW_ENDS, FLOW_ESTABLISHED, FLOW_FIN, FLOW_RESET, FLOW_SNAT, FLOW_SUPERSEDED, Flow, FlowKey,
    Mark, Reply, ReplyKey, TICK_SHIFT,
};
use landfall_ebpf_abi::hash;
use landfall_ebpf_abi::node::NODE_INDEX_SELF;
use landfall_ebpf_abi::service::{
    FRONTEND_SOURCE_RANGES, FRONTEND_UNSETTLED, Frontend, SOURCE_RANGE_FRONTEND_BITS, SourceRange,
};
use landfall_ebpf_abi::{Address, PortNumber};

use crate::count::count;
use crate::frame::Frame;
use crate::maps::{BACKEND_FILTER, BACKENDS, FLOWS, MOVED_FLOWS, REPLIES, SOURCE_RANGES};
use crate::packet::{
    Arriving, ETHERTYPE_V4, ETHERTYPE_V6, Endpoints, Ethernet, Packet, TCP_ACK, TCP_FIN, TCP_RST,
    TCP_SYN,
};
use crate::uplink::from_peer;
use crate::verdict::{Action, BEGIN, GO_ON, REJECT, Verdict};
use crate::{forward, snat};

/// Source ports tried where two flows would meet at one endpoint.
const PORT_ATTEMPTS: u32 = 16;

/// The frontend has flows that no longer match the tables. [`GO_ON`] where this is none of them, or one that is over.
#[inline(never)]
pub fn kept(frame: impl Frame, arriving: &mut Arriving) -> Action {
    if arriving.packet.begins() {
        // Another connection of the same ends: it goes by the tables, and so shall all that follows.
        let _ = MOVED_FLOWS.remove(&arriving.packet.key);
        return GO_ON;
    }
    // SAFETY: a plain word.
    let Some(keeper) = (unsafe { MOVED_FLOWS.get(&arriving.packet.key) }) else {
        return GO_ON;
    };
    let keeper = *keeper as u16;
    let from_peer = from_peer(&arriving.ethernet);
    if (keeper == NODE_INDEX_SELF || from_peer)
        && let Some(action) = established(frame, arriving)
    {
        return action;
    }
    match forward::reachable(keeper) {
        None => GO_ON,
        // The second hop is the last one.
        Some(node) if from_peer => forward::pass_on(frame, &arriving.ethernet, node),
        Some(node) => forward::ask(frame, &arriving.ethernet, node),
    }
}

/// This node is the table's choice.
#[inline(never)]
pub fn chosen(frame: impl Frame, arriving: &mut Arriving, frontend: &Frontend) -> Action {
    if let Some(action) = established(frame, arriving) {
        return action;
    }
    match forward::previous(frontend, arriving) {
        Some(node) => forward::pass_on(frame, &arriving.ethernet, node),
        None => unknown(frame, arriving, frontend),
    }
}

/// Another node chose this one, though this node's table says otherwise: tables differ for a moment.
#[inline(never)]
pub fn forwarded(frame: impl Frame, arriving: &mut Arriving, frontend: &Frontend) -> Action {
    if let Some(action) = established(frame, arriving) {
        return action;
    }
    let mut node = None;
    if !arriving.packet.begins() {
        // What is older than the last settled table is where that says, unless told of; the rest is younger.
        if frontend.flags & FRONTEND_UNSETTLED != 0 {
            node = forward::previous(frontend, arriving);
        }
        if node.is_none() {
            node = forward::current(frontend, arriving.hash);
        }
    } else if frontend.local.slots == 0 {
        // Something new stays where it was sent, if it can be served here.
        node = forward::current(frontend, arriving.hash);
    }
    match node {
        Some(node) => forward::pass_on(frame, &arriving.ethernet, node),
        None => unknown(frame, arriving, frontend),
    }
}

/// Another node was told that this one keeps the flow. If that is over, the present choice may know another one of the same
/// ends; it is not to be held up by a left-over.
#[inline(never)]
pub fn asked(frame: impl Frame, arriving: &mut Arriving, frontend: &Frontend) -> Action {
    if let Some(action) = established(frame, arriving) {
        return action;
    }
    count(Counter::AskedInVain);
    match forward::current(frontend, arriving.hash) {
        Some(node) => forward::pass_on(frame, &arriving.ethernet, node),
        None => unknown(frame, arriving, frontend),
    }
}

/// Another node believes that this one knows the flow. The frame goes no further.
#[inline(never)]
pub fn passed_on(frame: impl Frame, arriving: &mut Arriving, frontend: &Frontend) -> Action {
    match established(frame, arriving) {
        Some(action) => action,
        None => unknown(frame, arriving, frontend),
    }
}

/// No endpoint is ready anywhere; established flows finish where they are.
#[inline(never)]
pub fn without_choice(frame: impl Frame, arriving: &mut Arriving, frontend: &Frontend) -> Action {
    if let Some(action) = established(frame, arriving) {
        return action;
    }
    match forward::previous(frontend, arriving) {
        Some(node) => forward::pass_on(frame, &arriving.ethernet, node),
        None => unknown(frame, arriving, frontend),
    }
}

/// A packet of a flow that nobody to be asked knows begins it here; a connection's is left to its sender to re-send as long as
/// others may not have told yet that it is theirs.
#[inline(always)]
fn unknown(frame: impl Frame, arriving: &Arriving, frontend: &Frontend) -> Action {
    if forward::unsettled(frontend, &arriving.packet) {
        count(Counter::DroppedUnsettled);
        return frame.conclude(Verdict::Drop);
    }
    BEGIN
}

/// Now, in ticks of connection tracking.
#[inline(always)]
fn now() -> u32 {
    // SAFETY: plain helper call.
    unsafe { (bpf_ktime_get_coarse_ns() >> TICK_SHIFT) as u32 }
}

/// Notes that one side of a flow was heard and has said `flags`. Written only where it changes: the line stays clean.
#[inline(always)]
pub fn heard(mark: &mut Mark, flags: u32) {
    let heard = Mark::new(now(), mark.flags() | flags);
    if *mark != heard {
        *mark = heard;
    }
}

/// The flags that a packet adds to its side of a flow.
#[inline(always)]
pub fn flags_of(packet: &Packet) -> u32 {
    let mut flags = 0;
    if packet.tcp_flags & TCP_FIN != 0 {
        flags |= FLOW_FIN;
    }
    if packet.tcp_flags & TCP_RST != 0 {
        flags |= FLOW_RESET;
    }
    if packet.tcp_flags & (TCP_ACK | TCP_SYN) == TCP_ACK {
        flags |= FLOW_ESTABLISHED;
    }
    flags
}

/// Whether a packet begins another connection where `flow`'s entry is of one that either side has ended.
#[inline(always)]
pub fn begins_anew(packet: &Packet, flow: &Flow, reply_key: &mut ReplyKey) -> bool {
    if !packet.begins() {
        return false;
    }
    if flow.mark.flags() & FLOW_ENDS != 0 {
        return true;
    }
    *reply_key = ReplyKey::new(
        flow.backend,
        flow.source,
        flow.backend_port,
        flow.source_port,
        packet.key.protocol,
    );
    // SAFETY: words are written whole.
    unsafe { REPLIES.get(&*reply_key) }.is_some_and(|reply| reply.mark.flags() & FLOW_ENDS != 0)
}

/// A packet that begins a connection straight to an address which may be an endpoint's. If the client has lately spoken with
/// that endpoint through a frontend, with the same port, and that is over, the answers are no longer the frontend's.
#[inline(never)]
pub fn bypassed(arriving: &mut Arriving) {
    let packet = &arriving.packet;
    let bit = hash::filter_bit(&packet.key.frontend.words);
    match BACKEND_FILTER.get(bit >> 6) {
        Some(word) if word & (1 << (bit & 63)) != 0 => {}
        _ => return,
    }
    arriving.reply_key = ReplyKey::new(
        packet.key.frontend,
        packet.key.client,
        packet.key.frontend_port,
        packet.key.client_port,
        packet.key.protocol,
    );
    let Some(reply) = REPLIES.get_ptr_mut(&arriving.reply_key) else {
        return;
    };
    // SAFETY: entries live until the program ends; words are written whole.
    let reply = unsafe { &mut *reply };
    // The packet is not a frontend's: its key's place is free for that of the flow in the way.
    arriving.packet.key.frontend = reply.frontend;
    arriving.packet.key.frontend_port = reply.frontend_port;
    // SAFETY: as above.
    let asked = match unsafe { FLOWS.get(&arriving.packet.key) } {
        Some(flow) if flow.backend == arriving.reply_key.backend => flow.mark.flags(),
        _ => FLOW_RESET,
    };
    // An end that only one side has seen leaves the flow its answers. If the client has forgotten it, they make it reset.
    let answered = reply.mark.flags();
    if (asked | answered) & FLOW_RESET != 0 || asked & answered & FLOW_FIN != 0 {
        reply.mark.0 |= FLOW_SUPERSEDED;
    }
}

/// Delivers a packet of a known flow. A SYN that finds a closed flow's entry begins a new one.
#[inline(always)]
fn established(frame: impl Frame, arriving: &mut Arriving) -> Option<Action> {
    let packet = &arriving.packet;
    let flow = FLOWS.get_ptr_mut(&packet.key)?;
    // SAFETY: entries live until the program ends; words are written whole.
    let flow = unsafe { &mut *flow };
    if begins_anew(packet, flow, &mut arriving.reply_key) {
        return None;
    }
    heard(&mut flow.mark, flags_of(packet));
    arriving.new = Endpoints {
        source: flow.source,
        destination: flow.backend,
        source_port: flow.source_port,
        destination_port: flow.backend_port,
    };
    if flow.mark.flags() & FLOW_SNAT != 0 {
        // Its endpoint is another node's still, though the tables say this one; the stack would take its source for forged.
        count(Counter::Translated);
        return Some(snat::send(frame, arriving));
    }
    count(Counter::DeliveredEstablished);
    Some(hand_over(frame, arriving))
}

/// Begins a flow at one of this node's endpoints.
#[inline(never)]
pub fn begin(frame: impl Frame, arriving: &mut Arriving, frontend: &Frontend) -> Action {
    let packet = &arriving.packet;
    if !admitted(frontend, &packet.key.client) {
        count(Counter::DroppedSourceRange);
        return frame.conclude(Verdict::Drop);
    }
    let Some(offset) = forward::slot(
        &frontend.local,
        hash::local_slot(arriving.hash, frontend.local.slots),
    ) else {
        return REJECT;
    };
    let Some(backend) = BACKENDS.get(frontend.backend_base + u32::from(offset)) else {
        return frame.conclude(Verdict::Drop);
    };
    arriving.new = Endpoints {
        source: packet.key.client,
        destination: backend.address,
        source_port: packet.key.client_port,
        destination_port: backend.port,
    };
    let flags = flags_of(packet);
    if !record(arriving, flags) {
        return frame.conclude(Verdict::Drop);
    }
    count(Counter::DeliveredNew);
    hand_over(frame, arriving)
}

/// Whether a client is inside a frontend's source ranges.
#[inline(always)]
pub fn admitted(frontend: &Frontend, client: &Address) -> bool {
    if frontend.flags & FRONTEND_SOURCE_RANGES == 0 {
        return true;
    }
    let range = SourceRange {
        frontend: frontend.id,
        client: *client,
    };
    SOURCE_RANGES
        .get(Key::new(SOURCE_RANGE_FRONTEND_BITS + 128, range))
        .is_some()
}

/// Writes both entries of a new flow whose packets shall have the ends `arriving.new`; false, and counted, if that fails.
/// The source port asked for is replaced where another flow, to another frontend, already meets the endpoint with it.
#[inline(never)]
pub fn record(arriving: &mut Arriving, flags: u32) -> bool {
    let key = arriving.packet.key;
    let now = now();
    arriving.reply_key = ReplyKey::new(
        arriving.new.destination,
        arriving.new.source,
        arriving.new.destination_port,
        arriving.new.source_port,
        key.protocol,
    );
    arriving.reply = Reply::new(
        key.frontend,
        key.client,
        key.frontend_port,
        key.client_port,
        Mark::new(now, 0),
    );
    let mut attempt = 0;
    while let Err(error) =
        REPLIES.insert(&arriving.reply_key, &arriving.reply, u64::from(BPF_NOEXIST))
    {
        if error != EEXIST {
            count(Counter::DroppedFlowTableFull);
            return false;
        }
        if ours(&arriving.reply_key, &arriving.packet.key) {
            // A left-over of this very flow.
            let _ = REPLIES.insert(&arriving.reply_key, &arriving.reply, u64::from(BPF_ANY));
            break;
        }
        attempt += 1;
        if attempt == PORT_ATTEMPTS {
            count(Counter::DroppedNoSourcePort);
            return false;
        }
        // SAFETY: plain helper call.
        let random = unsafe { bpf_get_prandom_u32() };
        arriving.reply_key.source_port =
            PortNumber::new(TRANSLATED_PORTS_FIRST + (random % TRANSLATED_PORTS) as u16);
    }
    arriving.new.source_port = arriving.reply_key.source_port;
    arriving.flow = Flow::new(
        arriving.new.destination,
        arriving.new.source,
        arriving.new.destination_port,
        arriving.new.source_port,
        Mark::new(now, flags),
    );
    if FLOWS
        .insert(&arriving.packet.key, &arriving.flow, u64::from(BPF_ANY))
        .is_err()
    {
        let _ = REPLIES.remove(&arriving.reply_key);
        count(Counter::DroppedFlowTableFull);
        return false;
    }
    true
}

/// Whether the reply entry in the way belongs to `key`'s own flow, or to one that is over.
#[inline(always)]
fn ours(reply_key: &ReplyKey, key: &FlowKey) -> bool {
    // SAFETY: words are written whole.
    let Some(reply) = (unsafe { REPLIES.get(reply_key) }) else {
        return true;
    };
    reply.frontend == key.frontend
        && reply.client == key.client
        && reply.frontend_port == key.frontend_port
        && reply.client_port == key.client_port
}

/// First of the source ports that replace a client's: above Linux's own ephemeral ports (32768 to 60999).
pub const TRANSLATED_PORTS_FIRST: u16 = 61_000;
/// Number of those ports.
pub const TRANSLATED_PORTS: u32 = 4_536;

/// The kernel's "entry exists", as helpers return it.
const EEXIST: i32 = -17;

/// Translates a packet and hands it to the stack, under the EtherType that its family has.
#[inline(always)]
fn hand_over(frame: impl Frame, arriving: &mut Arriving) -> Action {
    let packet = &arriving.packet;
    if !frame.translate(packet, &arriving.new) {
        count(Counter::DroppedMalformed);
        return frame.conclude(Verdict::Drop);
    }
    if matches!(arriving.ethernet.ethertype, ETHERTYPE_V4 | ETHERTYPE_V6) {
        return frame.conclude(Verdict::Pass);
    }
    let Some(place) = frame.at::<Ethernet>(0) else {
        return frame.conclude(Verdict::Drop);
    };
    // SAFETY: bounds checked by `at`.
    unsafe {
        (*place).ethertype = if packet.v6 {
            ETHERTYPE_V6
        } else {
            ETHERTYPE_V4
        }
    };
    frame.conclude(Verdict::PassRetyped)
}
