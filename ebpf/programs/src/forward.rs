//! The road of a packet to a frontend: which node takes it, and L2 DSR to that node.
//!
//! The common case costs one bit filter, one hash lookup and two array lookups, keeps no state and asks no clock: the frame
//! is re-sent with the chosen node's Ethernet address, IP packet untouched.

use landfall_ebpf_abi::counter::Counter;
use landfall_ebpf_abi::hash;
use landfall_ebpf_abi::node::{Interface, NODE_INDEX_SELF, NODE_L2_DSR, NODE_SNAT, Node};
use landfall_ebpf_abi::service::{
    FRONTEND_AFFINITY, FRONTEND_EXTERNAL, FRONTEND_MOVED_FLOWS, FRONTEND_PREVIOUS,
    FRONTEND_UNSETTLED, Frontend, FrontendKey, ROW_SLOTS, SLOT_DRAINED, SlotTable,
};
use landfall_ebpf_abi::wire::{ETHERTYPE_ASKED, ETHERTYPE_LANDFALL};

use crate::count::count;
use crate::frame::Frame;
use crate::maps::{FRONTEND_FILTER, FRONTENDS, NODES, SLOTS};
use crate::packet::{Arriving, Ethernet, ICMP, ICMP6, Mark, Packet, TCP, UDP, parse};
use crate::uplink::from_peer;
use crate::verdict::{Action, BEGIN, GO_ON, REJECT, Verdict};
use crate::{deliver, echo, reject, snat};

/// An IP packet from a client, a router, or a node that chose this one; or one that another node sent, marked, because this
/// one may know its flow.
#[inline(always)]
pub fn arriving(frame: impl Frame, interface: &Interface, v6: bool, mark: Mark) -> Action {
    let Some(arriving) = Arriving::scratch() else {
        return frame.conclude(Verdict::Pass);
    };
    if !parse(frame, v6, &mut arriving.packet) {
        return frame.conclude(Verdict::Pass);
    }
    if !may_be_frontend(&arriving.packet.key.frontend.words) {
        if arriving.packet.begins() {
            deliver::bypassed(arriving);
        }
        return frame.conclude(Verdict::Pass);
    }
    let Some(place) = frame.at::<Ethernet>(0) else {
        return frame.conclude(Verdict::Pass);
    };
    // SAFETY: bounds checked by `at`; the scratch is this packet's own.
    unsafe { Ethernet::copy(place, &raw mut arriving.ethernet) };
    let packet = &arriving.packet;
    match packet.key.protocol {
        TCP | UDP => {}
        ICMP | ICMP6 => return echo::answer(frame, arriving),
        _ => return frame.conclude(Verdict::Pass),
    }
    let Some(frontend) = frontend(packet) else {
        return no_frontend(frame, arriving, interface);
    };
    if frontend.flags & FRONTEND_EXTERNAL == 0 {
        return frame.conclude(Verdict::Pass);
    }
    arriving.hash = hash::flow(&packet.key, frontend.flags & FRONTEND_AFFINITY != 0);
    let mut action = route(frame, arriving, frontend, interface, mark);
    if action == BEGIN {
        action = deliver::begin(frame, arriving, frontend);
    }
    if action == REJECT {
        action = reject::with(frame, arriving, Counter::RejectedNoEndpoint);
    }
    action
}

/// The road of a packet whose frontend is known.
#[inline(always)]
fn route(
    frame: impl Frame,
    arriving: &mut Arriving,
    frontend: &Frontend,
    interface: &Interface,
    mark: Mark,
) -> Action {
    match mark {
        Mark::None => {}
        Mark::Asked => return deliver::asked(frame, arriving, frontend),
        Mark::PassedOn => return deliver::passed_on(frame, arriving, frontend),
    }
    if frontend.flags & FRONTEND_MOVED_FLOWS != 0 {
        let action = deliver::kept(frame, arriving);
        if action != GO_ON {
            return action;
        }
    }
    let Some(chosen) = slot(
        &frontend.nodes,
        hash::node_slot(arriving.hash, frontend.nodes.slots),
    ) else {
        // Nobody is ready: flows that live here still go on.
        return deliver::without_choice(frame, arriving, frontend);
    };
    // The mark concerns only those who ask a table that is out of force.
    let chosen = chosen & !SLOT_DRAINED;
    if chosen == NODE_INDEX_SELF {
        return deliver::chosen(frame, arriving, frontend);
    }
    if from_peer(&arriving.ethernet) {
        return deliver::forwarded(frame, arriving, frontend);
    }
    let Some(node) = NODES.get(u32::from(chosen)) else {
        return frame.conclude(Verdict::Drop);
    };
    if node.flags & NODE_SNAT != 0 {
        return snat::forward(frame, arriving, frontend, interface);
    }
    let verdict = resend(frame, &arriving.ethernet, node, None);
    frame.conclude(verdict)
}

#[inline(always)]
fn frontend(packet: &Packet) -> Option<&'static Frontend> {
    let key = FrontendKey::new(
        packet.key.frontend,
        packet.key.frontend_port,
        packet.key.protocol,
    );
    // SAFETY: values are replaced whole by user space; a lookup in progress reads the old or the new one.
    unsafe { FRONTENDS.get(key) }
}

/// Whether `address` has its bit in the filter over frontends.
#[inline(always)]
pub fn may_be_frontend(words: &[u32; 4]) -> bool {
    let bit = hash::filter_bit(words);
    match FRONTEND_FILTER.get(bit >> 6) {
        Some(word) => word & (1 << (bit & 63)) != 0,
        None => false,
    }
}

/// The entry of a lookup table, or nothing if it is empty.
#[inline(always)]
pub fn slot(table: &SlotTable, index: u32) -> Option<u16> {
    if table.slots == 0 {
        return None;
    }
    let row = SLOTS.get(table.row + index / ROW_SLOTS as u32)?;
    Some(row.slots[index as usize % ROW_SLOTS])
}

/// The node that the previous table chose for a packet's flow, if another one and worth asking: not for a packet that begins
/// a connection.
#[inline(always)]
pub fn previous(frontend: &Frontend, arriving: &Arriving) -> Option<&'static Node> {
    if frontend.flags & FRONTEND_PREVIOUS == 0 || arriving.packet.begins() {
        return None;
    }
    let table = &frontend.previous_nodes;
    let entry = slot(table, hash::node_slot(arriving.hash, table.slots))?;
    if entry & SLOT_DRAINED != 0 && arriving.packet.key.protocol != TCP {
        return None;
    }
    reachable(entry & !SLOT_DRAINED)
}

/// Whether an unknown packet of a connection is to be re-sent by its sender: nodes have yet to tell of what they keep.
#[inline(always)]
pub fn unsettled(frontend: &Frontend, packet: &Packet) -> bool {
    frontend.flags & FRONTEND_UNSETTLED != 0 && packet.key.protocol == TCP && !packet.begins()
}

/// The node that the table chooses for a flow, if another one.
#[inline(always)]
pub fn current(frontend: &Frontend, hash: u64) -> Option<&'static Node> {
    reachable(slot(&frontend.nodes, hash::node_slot(hash, frontend.nodes.slots))? & !SLOT_DRAINED)
}

/// A node, if another one and on a shared LAN.
#[inline(always)]
pub fn reachable(index: u16) -> Option<&'static Node> {
    if index == NODE_INDEX_SELF {
        return None;
    }
    let node = NODES.get(u32::from(index))?;
    (node.flags & NODE_L2_DSR != 0).then_some(node)
}

/// Re-sends the frame to a node; with an EtherType to mark it passed on.
#[inline(always)]
fn resend(frame: impl Frame, ethernet: &Ethernet, node: &Node, ethertype: Option<u16>) -> Verdict {
    if node.flags & NODE_L2_DSR == 0 {
        count(Counter::DroppedNodeUnreachable);
        return Verdict::Drop;
    }
    let Some(place) = frame.at::<Ethernet>(0) else {
        return Verdict::Drop;
    };
    // SAFETY: bounds checked by `at`. A node's entry begins as the header does, with both addresses in their order.
    unsafe {
        let addresses = core::ptr::from_ref(node).cast::<u64>();
        place
            .cast::<u64>()
            .write_unaligned(addresses.read_unaligned());
        let last = addresses.add(1).cast::<u32>();
        place
            .byte_add(8)
            .cast::<u32>()
            .write_unaligned(last.read_unaligned());
        (*place).ethertype = ethertype.unwrap_or(ethernet.ethertype);
    }
    count(match ethertype {
        None => Counter::Forwarded,
        Some(mark) if mark == ETHERTYPE_ASKED.to_be() => Counter::AskedKeeper,
        Some(_) => Counter::PassedOn,
    });
    if node.ifindex == frame.ifindex() {
        Verdict::Reflect
    } else {
        Verdict::Transmit(node.ifindex)
    }
}

/// Passes a frame on, marked, to the node that may know its flow.
#[inline(always)]
pub fn pass_on(frame: impl Frame, ethernet: &Ethernet, node: &Node) -> Action {
    let verdict = resend(frame, ethernet, node, Some(ETHERTYPE_LANDFALL.to_be()));
    frame.conclude(verdict)
}

/// Sends a frame, marked, to the node that has told that it keeps the flow.
#[inline(always)]
pub fn ask(frame: impl Frame, ethernet: &Ethernet, node: &Node) -> Action {
    let verdict = resend(frame, ethernet, node, Some(ETHERTYPE_ASKED.to_be()));
    frame.conclude(verdict)
}

/// No service has the port: the answer to a translated flow, a reject, or none of our business.
#[inline(always)]
fn no_frontend(frame: impl Frame, arriving: &mut Arriving, interface: &Interface) -> Action {
    // SAFETY: only tested for presence.
    if unsafe {
        FRONTENDS
            .get(FrontendKey::of_address(arriving.packet.key.frontend))
            .is_some()
    } {
        return reject::with(frame, arriving, Counter::RejectedNoService);
    }
    if arriving.packet.begins() {
        deliver::bypassed(arriving);
        return frame.conclude(Verdict::Pass);
    }
    snat::reply(frame, arriving, interface)
}
