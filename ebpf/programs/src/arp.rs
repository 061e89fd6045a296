//! ARP (RFC 826) for announced addresses, until the deadline.

use aya_ebpf::helpers::generated::bpf_ktime_get_boot_ns;
use landfall_ebpf_abi::Address;
use landfall_ebpf_abi::announce::{Announced, AnnouncedKey};
use landfall_ebpf_abi::counter::Counter;

use crate::count::count;
use crate::frame::Frame;
use crate::maps::{ANNOUNCED, DEADLINE};
use crate::packet::{ETHERNET, Ethernet};
use crate::verdict::{Action, Verdict};

/// An ARP packet for Ethernet and IPv4.
#[repr(C, packed)]
#[derive(Clone, Copy)]
struct Arp {
    hardware: u16,
    protocol: u16,
    hardware_len: u8,
    protocol_len: u8,
    operation: u16,
    sender_mac: [u8; 6],
    sender_ip: u32,
    target_mac: [u8; 6],
    target_ip: u32,
}

const HARDWARE_ETHERNET: u16 = 1_u16.to_be();
const PROTOCOL_V4: u16 = 0x0800_u16.to_be();
const REQUEST: u16 = 1_u16.to_be();
const REPLY: u16 = 2_u16.to_be();

/// Answers a request for an announced address; everything else goes to the stack, announcements of others included.
#[inline(never)]
pub fn answer(frame: impl Frame) -> Action {
    let Some(ethernet) = Ethernet::read(frame) else {
        return frame.conclude(Verdict::Pass);
    };
    let verdict = decide(frame, &ethernet);
    frame.conclude(verdict)
}

#[inline(always)]
fn decide(frame: impl Frame, ethernet: &Ethernet) -> Verdict {
    let Some(place) = frame.at::<Arp>(ETHERNET) else {
        return Verdict::Pass;
    };
    // SAFETY: bounds checked by `at`; the struct is packed.
    let arp = unsafe { place.read_unaligned() };
    if arp.operation != REQUEST
        || arp.hardware != HARDWARE_ETHERNET
        || arp.protocol != PROTOCOL_V4
        || arp.hardware_len != 6
        || arp.protocol_len != 4
        // A gratuitous request claims the address; it asks nothing.
        || arp.sender_ip == arp.target_ip
    {
        return Verdict::Pass;
    }
    let Some(announced) = lookup(frame.ifindex(), Address::from_v4_word(arp.target_ip)) else {
        return Verdict::Pass;
    };
    if !may_answer() {
        count(Counter::DeadlinePassed);
        return Verdict::Drop;
    }
    announced.answers = announced.answers.wrapping_add(1);
    let reply = Arp {
        operation: REPLY,
        sender_mac: announced.mac,
        sender_ip: arp.target_ip,
        target_mac: arp.sender_mac,
        target_ip: arp.sender_ip,
        ..arp
    };
    let header = Ethernet {
        destination: arp.sender_mac,
        source: announced.mac,
        ethertype: ethernet.ethertype,
    };
    // SAFETY: bounds checked by `at`.
    unsafe { place.write_unaligned(reply) };
    let Some(place) = frame.at::<Ethernet>(0) else {
        return Verdict::Drop;
    };
    // SAFETY: bounds checked by `at`.
    unsafe { place.write_unaligned(header) };
    count(Counter::ArpAnswered);
    Verdict::Reflect
}

/// The announcement of an address on an interface.
#[inline(always)]
pub fn lookup(ifindex: u32, address: Address) -> Option<&'static mut Announced> {
    let announced = ANNOUNCED.get_ptr_mut(AnnouncedKey { ifindex, address })?;
    // SAFETY: entries live until the program ends; the counter may lose an increment under a race, which is harmless.
    Some(unsafe { &mut *announced })
}

/// Whether this node's right to answer still stands.
#[inline(always)]
pub fn may_answer() -> bool {
    let Some(deadline) = DEADLINE.get(0) else {
        return false;
    };
    // SAFETY: plain helper call. The clock counts suspended time: a node that slept has lost its right.
    unsafe { bpf_ktime_get_boot_ns() < deadline.boottime_ns }
}
