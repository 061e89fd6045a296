//! Rejecting: TCP gets a reset (RFC 9293, section 3.5.2), UDP "port unreachable" (RFC 792, RFC 4443), from the frontend's address.

use landfall_ebpf_abi::checksum::Sum;
use landfall_ebpf_abi::counter::Counter;

use crate::count::count;
use crate::frame::Frame;
use crate::maps::ANSWER;
use crate::packet::{
    Arriving, ETHERNET, ETHERTYPE_V4, ETHERTYPE_V6, Ethernet, ICMP, ICMP6, Packet, TCP, TCP_ACK,
    TCP_FIN, TCP_RST, TCP_SYN,
};
use crate::verdict::{Action, Verdict};

const TTL: u8 = 64;

/// A frame in the making: too large for the stack of a path that is already deep.
#[repr(C, align(8))]
pub struct Answer {
    halves: [u16; 56],
}

impl Answer {
    /// This CPU's scratch; programs neither migrate nor nest while they use it.
    #[inline(always)]
    fn scratch() -> Option<&'static mut Self> {
        // SAFETY: see above.
        ANSWER.get_ptr_mut(0).map(|answer| unsafe { &mut *answer })
    }

    #[inline(always)]
    fn put<T>(&mut self, offset: usize, value: T) {
        // SAFETY: all callers' offsets are constants inside the answer.
        unsafe {
            self.halves
                .as_mut_ptr()
                .byte_add(offset)
                .cast::<T>()
                .write_unaligned(value)
        };
    }

    #[inline(always)]
    fn headers_v4(&mut self, ethernet: &Ethernet, packet: &Packet, len: u16, protocol: u8) {
        self.put(0, turned(ethernet, false));
        self.put(ETHERNET, v4_header(packet, len, protocol));
    }

    #[inline(always)]
    fn headers_v6(&mut self, ethernet: &Ethernet, packet: &Packet, len: u16, protocol: u8) {
        self.put(0, turned(ethernet, true));
        self.put(ETHERNET, v6_header(packet, len, protocol));
    }
}

/// An IPv4 header without options.
#[repr(C)]
#[derive(Clone, Copy)]
struct V4 {
    first: u16,
    len: u16,
    id: u32,
    ttl: u8,
    protocol: u8,
    checksum: u16,
    source: u32,
    destination: u32,
}

/// An IPv6 header.
#[repr(C)]
#[derive(Clone, Copy)]
struct V6 {
    first: u32,
    payload_len: u16,
    next_header: u8,
    hop_limit: u8,
    source: [u32; 4],
    destination: [u32; 4],
}

/// A TCP header without options.
#[repr(C)]
#[derive(Clone, Copy)]
struct Tcp {
    source: u16,
    destination: u16,
    sequence: u32,
    acknowledgement: u32,
    offset: u8,
    flags: u8,
    window: u16,
    checksum: u16,
    urgent: u16,
}

/// Rejects a TCP or UDP packet and counts why.
#[inline(never)]
pub fn with(frame: impl Frame, arriving: &Arriving, reason: Counter) -> Action {
    let (ethernet, packet) = (&arriving.ethernet, &arriving.packet);
    count(reason);
    let done = match (packet.key.protocol == TCP, packet.v6) {
        (true, _) => reset(frame, ethernet, packet),
        (false, false) => unreachable_v4(frame, ethernet, packet),
        (false, true) => unreachable_v6(frame, ethernet, packet),
    };
    frame.conclude(if done {
        Verdict::Reflect
    } else {
        Verdict::Drop
    })
}

#[inline(never)]
fn reset(frame: impl Frame, ethernet: &Ethernet, packet: &Packet) -> bool {
    // A reset is never answered by a reset.
    if packet.tcp_flags & TCP_RST != 0 {
        return false;
    }
    let Some(tcp) = frame.at::<Tcp>(packet.l4()) else {
        return false;
    };
    // SAFETY: bounds checked by `at`.
    let old = unsafe { tcp.read_unaligned() };
    let control =
        u32::from(packet.tcp_flags & TCP_SYN != 0) + u32::from(packet.tcp_flags & TCP_FIN != 0);
    let data = payload_len(frame, packet).saturating_sub(u32::from(old.offset >> 4) * 4);
    let (sequence, acknowledgement, flags) = if packet.tcp_flags & TCP_ACK != 0 {
        (old.acknowledgement, 0, TCP_RST)
    } else {
        (
            0,
            u32::from_be(old.sequence)
                .wrapping_add(data + control)
                .to_be(),
            TCP_RST | TCP_ACK,
        )
    };
    let mut new = Tcp {
        source: old.destination,
        destination: old.source,
        sequence,
        acknowledgement,
        offset: 5 << 4,
        flags,
        window: 0,
        checksum: 0,
        urgent: 0,
    };
    let sum = pseudo(packet, 20, TCP)
        .add_half(new.source)
        .add_half(new.destination)
        .add(new.sequence)
        .add(new.acknowledgement)
        .add_half(u16::from_ne_bytes([new.offset, new.flags]));
    new.checksum = sum.checksum();
    let Some(answer) = Answer::scratch() else {
        return false;
    };
    if packet.v6 {
        answer.headers_v6(ethernet, packet, 20, TCP);
        answer.put(ETHERNET + 40, new);
        send::<37>(frame, answer)
    } else {
        answer.headers_v4(ethernet, packet, 40, TCP);
        answer.put(ETHERNET + 20, new);
        send::<27>(frame, answer)
    }
}

/// Octets after the IP header, by the header's own account.
#[inline(always)]
fn payload_len(frame: impl Frame, packet: &Packet) -> u32 {
    let at = if packet.v6 {
        ETHERNET + 4
    } else {
        ETHERNET + 2
    };
    let Some(len) = frame.at::<u16>(at) else {
        return 0;
    };
    // SAFETY: bounds checked by `at`.
    let len = u32::from(u16::from_be(unsafe { len.read_unaligned() }));
    if packet.v6 {
        len
    } else {
        len.saturating_sub((packet.l4() - ETHERNET) as u32)
    }
}

#[inline(never)]
fn unreachable_v4(frame: impl Frame, ethernet: &Ethernet, packet: &Packet) -> bool {
    // RFC 792: the IP header and eight octets of what is refused. Packets with options are refused silently.
    if packet.l4() != ETHERNET + 20 {
        return false;
    }
    let Some(answer) = Answer::scratch() else {
        return false;
    };
    let mut sum = Sum::default().add_half(u16::from_ne_bytes([3, 3]));
    let mut word = 0;
    while word < 7 {
        let Some(quoted) = frame.at::<[u16; 2]>(ETHERNET + word * 4) else {
            return false;
        };
        // SAFETY: bounds checked by `at`. Volatile, or the whole quotation is gathered on the stack first.
        let quoted = unsafe { quoted.read_volatile() };
        sum = sum.add_half(quoted[0]).add_half(quoted[1]);
        answer.put(ETHERNET + 28 + word * 4, quoted);
        word += 1;
    }
    answer.headers_v4(ethernet, packet, 56, ICMP);
    answer.put(
        ETHERNET + 20,
        [u16::from_ne_bytes([3, 3]), sum.checksum(), 0, 0],
    );
    send::<35>(frame, answer)
}

#[inline(never)]
fn unreachable_v6(frame: impl Frame, ethernet: &Ethernet, packet: &Packet) -> bool {
    const MESSAGE: u16 = 8 + 48;
    let Some(answer) = Answer::scratch() else {
        return false;
    };
    let mut sum = pseudo(packet, MESSAGE, ICMP6).add_half(u16::from_ne_bytes([1, 4]));
    let mut word = 0;
    while word < 12 {
        let Some(quoted) = frame.at::<[u16; 2]>(ETHERNET + word * 4) else {
            return false;
        };
        // SAFETY: bounds checked by `at`. Volatile, or the whole quotation is gathered on the stack first.
        let quoted = unsafe { quoted.read_volatile() };
        sum = sum.add_half(quoted[0]).add_half(quoted[1]);
        answer.put(ETHERNET + 48 + word * 4, quoted);
        word += 1;
    }
    answer.headers_v6(ethernet, packet, MESSAGE, ICMP6);
    answer.put(
        ETHERNET + 40,
        [u16::from_ne_bytes([1, 4]), sum.checksum(), 0, 0],
    );
    send::<55>(frame, answer)
}

/// Puts the first `HALVES` half words of the answer in the frame's place.
#[inline(always)]
fn send<const HALVES: usize>(frame: impl Frame, answer: &Answer) -> bool {
    if !frame.resize(HALVES as u32 * 2) {
        return false;
    }
    let Some(place) = frame.at::<[u16; HALVES]>(0) else {
        return false;
    };
    // SAFETY: bounds checked by `at`; the answer is longer than any frame made of it.
    unsafe { place.write_unaligned(*answer.halves.as_ptr().cast::<[u16; HALVES]>()) };
    true
}

/// Sum of the pseudo header of an answer; zero words of a mapped IPv4 address add nothing but its mark, which is taken out.
#[inline(always)]
fn pseudo(packet: &Packet, len: u16, protocol: u8) -> Sum {
    let (s, d) = (&packet.key.client.words, &packet.key.frontend.words);
    let mut sum = Sum::default()
        .add(u32::from(len).to_be())
        .add(u32::from(protocol).to_be())
        .add(s[3])
        .add(d[3]);
    if packet.v6 {
        sum = sum
            .add(s[0])
            .add(s[1])
            .add(s[2])
            .add(d[0])
            .add(d[1])
            .add(d[2]);
    }
    sum
}

#[inline(always)]
fn turned(ethernet: &Ethernet, v6: bool) -> Ethernet {
    Ethernet {
        destination: ethernet.source,
        source: ethernet.destination,
        ethertype: if v6 { ETHERTYPE_V6 } else { ETHERTYPE_V4 },
    }
}

#[inline(always)]
fn v4_header(packet: &Packet, len: u16, protocol: u8) -> V4 {
    let mut header = V4 {
        first: 0x4500_u16.to_be(),
        len: len.to_be(),
        id: 0x0000_4000_u32.to_be(),
        ttl: TTL,
        protocol,
        checksum: 0,
        source: packet.key.frontend.v4_word(),
        destination: packet.key.client.v4_word(),
    };
    header.checksum = Sum::default()
        .add_half(header.first)
        .add_half(header.len)
        .add(header.id)
        .add_half(u16::from_ne_bytes([header.ttl, header.protocol]))
        .add(header.source)
        .add(header.destination)
        .checksum();
    header
}

#[inline(always)]
fn v6_header(packet: &Packet, len: u16, protocol: u8) -> V6 {
    V6 {
        first: 0x6000_0000_u32.to_be(),
        payload_len: len.to_be(),
        next_header: protocol,
        hop_limit: TTL,
        source: packet.key.frontend.words,
        destination: packet.key.client.words,
    }
}
