//! Neighbour solicitations (RFC 4861) for announced addresses, until the deadline.

use landfall_ebpf_abi::Address;
use landfall_ebpf_abi::checksum::Sum;
use landfall_ebpf_abi::counter::Counter;

use crate::arp::{lookup, may_answer};
use crate::count::count;
use crate::frame::Frame;
use crate::packet::{ETHERNET, ETHERTYPE_V6, Ethernet, ICMP6};
use crate::verdict::{Action, Verdict};

/// The IPv6 header and the fixed part of a neighbour message.
#[repr(C, packed)]
#[derive(Clone, Copy)]
struct Neighbour {
    first: u32,
    payload_len: u16,
    next_header: u8,
    hop_limit: u8,
    source: [u32; 4],
    destination: [u32; 4],
    kind: u8,
    code: u8,
    checksum: u16,
    flags: u32,
    target: [u32; 4],
}

/// An option with an Ethernet address.
#[repr(C)]
#[derive(Clone, Copy)]
struct LinkLayerOption {
    kind: u8,
    eights: u8,
    mac: [u8; 6],
}

const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
const TARGET_LINK_LAYER: u8 = 2;
/// Solicited and override flags of an advertisement, as they lie in the packet.
const SOLICITED: u32 = 0x4000_0000_u32.to_be();
const OVERRIDE: u32 = 0x2000_0000_u32.to_be();
/// Length of the neighbour message with one option, and of the frame that carries it.
const MESSAGE: u16 = 32;
const FRAME: u32 = 86;

/// Whether an IPv6 packet is a solicitation.
#[inline(always)]
pub fn is_solicitation(frame: impl Frame) -> bool {
    let Some(place) = frame.at::<Neighbour>(ETHERNET) else {
        return false;
    };
    // SAFETY: bounds checked by `at`.
    unsafe { (*place).next_header == ICMP6 && (*place).kind == SOLICITATION }
}

/// Answers a solicitation for an announced address; any other is passed.
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
    let Some(place) = frame.at::<Neighbour>(ETHERNET) else {
        return Verdict::Pass;
    };
    // SAFETY: bounds checked by `at`.
    let ask = unsafe { place.read_unaligned() };
    // RFC 4861, section 7.1.1: anything that crossed a router, or asks for a group, is not to be believed.
    if ask.hop_limit != 255 || ask.code != 0 || ask.target[0].to_ne_bytes()[0] == 0xff {
        return Verdict::Pass;
    }
    let Some(announced) = lookup(frame.ifindex(), Address { words: ask.target }) else {
        return Verdict::Pass;
    };
    if !may_answer() {
        count(Counter::DeadlinePassed);
        return Verdict::Drop;
    }
    announced.answers = announced.answers.wrapping_add(1);
    let mac = announced.mac;
    // An unspecified source is duplicate address detection: the answer goes to all nodes, unsolicited.
    let source = ask.source;
    let probe = source == [0; 4];
    let all_nodes = [0xff02_0000_u32.to_be(), 0, 0, 1_u32.to_be()];
    let mut reply = Neighbour {
        first: 0x6000_0000_u32.to_be(),
        payload_len: MESSAGE.to_be(),
        next_header: ICMP6,
        hop_limit: 255,
        source: ask.target,
        destination: if probe { all_nodes } else { source },
        kind: ADVERTISEMENT,
        code: 0,
        checksum: 0,
        flags: if probe {
            OVERRIDE
        } else {
            OVERRIDE | SOLICITED
        },
        target: ask.target,
    };
    let option = LinkLayerOption {
        kind: TARGET_LINK_LAYER,
        eights: 1,
        mac,
    };
    reply.checksum = checksum(&reply, &option);
    let header = Ethernet {
        destination: if probe {
            [0x33, 0x33, 0, 0, 0, 1]
        } else {
            ethernet.source
        },
        source: mac,
        ethertype: ETHERTYPE_V6,
    };
    if !frame.resize(FRAME) {
        return Verdict::Drop;
    }
    let Some(place) = frame.at::<[u8; FRAME as usize]>(0) else {
        return Verdict::Drop;
    };
    // SAFETY: bounds checked by `at`; the three parts fill the frame.
    unsafe {
        place.cast::<Ethernet>().write_unaligned(header);
        place
            .byte_add(ETHERNET)
            .cast::<Neighbour>()
            .write_unaligned(reply);
        place
            .byte_add(ETHERNET + 64)
            .cast::<LinkLayerOption>()
            .write_unaligned(option);
    }
    count(Counter::NdpAnswered);
    Verdict::Reflect
}

/// ICMPv6 checksum (RFC 4443, section 2.3) of an advertisement with its option.
#[inline(always)]
fn checksum(message: &Neighbour, option: &LinkLayerOption) -> u16 {
    let mut sum = Sum::default()
        .add(u32::from(MESSAGE).to_be())
        .add(u32::from(ICMP6).to_be())
        .add_half(u16::from_ne_bytes([message.kind, message.code]))
        .add(message.flags);
    let mut word = 0;
    let (source, destination, target) = (message.source, message.destination, message.target);
    while word < 4 {
        sum = sum
            .add(source[word])
            .add(destination[word])
            .add(target[word]);
        word += 1;
    }
    let mac = &option.mac;
    sum.add_half(u16::from_ne_bytes([option.kind, option.eights]))
        .add_half(u16::from_ne_bytes([mac[0], mac[1]]))
        .add_half(u16::from_ne_bytes([mac[2], mac[3]]))
        .add_half(u16::from_ne_bytes([mac[4], mac[5]]))
        .checksum()
}
