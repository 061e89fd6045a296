//! Parsing: an Ethernet frame's IP and transport headers.

use landfall_ebpf_abi::flow::{Flow, FlowKey, Reply, ReplyKey};
use landfall_ebpf_abi::{Address, PortNumber};

use crate::frame::Frame;
use crate::maps::ARRIVING;

/// EtherType of IPv4, as it lies in the frame.
pub const ETHERTYPE_V4: u16 = 0x0800_u16.to_be();
/// EtherType of IPv6, as it lies in the frame.
pub const ETHERTYPE_V6: u16 = 0x86dd_u16.to_be();
/// EtherType of ARP, as it lies in the frame.
pub const ETHERTYPE_ARP: u16 = 0x0806_u16.to_be();

/// Length of an Ethernet header.
pub const ETHERNET: usize = 14;
/// Length of an IPv6 header.
pub const IPV6: usize = 40;

/// IP protocol number of TCP.
pub const TCP: u8 = 6;
/// IP protocol number of UDP.
pub const UDP: u8 = 17;
/// IP protocol number of ICMP.
pub const ICMP: u8 = 1;
/// IP protocol number of ICMPv6.
pub const ICMP6: u8 = 58;

/// TCP's FIN flag.
pub const TCP_FIN: u8 = 0x01;
/// TCP's SYN flag.
pub const TCP_SYN: u8 = 0x02;
/// TCP's RST flag.
pub const TCP_RST: u8 = 0x04;
/// TCP's ACK flag.
pub const TCP_ACK: u8 = 0x10;

/// An Ethernet header.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Ethernet {
    /// Destination.
    pub destination: [u8; 6],
    /// Source.
    pub source: [u8; 6],
    /// EtherType as it lies in the frame.
    pub ethertype: u16,
}

impl Ethernet {
    /// The header of a frame.
    #[inline(always)]
    pub fn read(frame: impl Frame) -> Option<Self> {
        // SAFETY: bounds checked by `at`.
        frame
            .at::<Self>(0)
            .map(|place| unsafe { place.read_unaligned() })
    }

    /// Copies a header in three words: octet by octet, as a plain copy of this type goes, it shows in every packet's time.
    ///
    /// # Safety
    /// Both are headers, and no others use `to`.
    #[inline(always)]
    pub unsafe fn copy(from: *const Self, to: *mut Self) {
        // SAFETY: the caller's; a header has 14 octets.
        unsafe {
            to.cast::<u64>()
                .write_unaligned(from.cast::<u64>().read_unaligned());
            let (from, to) = (from.byte_add(8), to.byte_add(8));
            to.cast::<u32>()
                .write_unaligned(from.cast::<u32>().read_unaligned());
            (*to.byte_add(4).cast::<u16>()) = *from.byte_add(4).cast::<u16>();
        }
    }
}

/// How a packet has come: what a node may still do with it. Each step allows less than the one before, so that no packet
/// crosses more than two nodes after the first.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// From a client or a router; or, by its source address, from a node whose table chose this one.
    None,
    /// From a node that was told that this one keeps the flow.
    Asked,
    /// Passed on; it ends here.
    PassedOn,
}

/// What a packet's ends shall be.
#[derive(Clone, Copy)]
pub struct Endpoints {
    /// Source address.
    pub source: Address,
    /// Destination address.
    pub destination: Address,
    /// Source port.
    pub source_port: PortNumber,
    /// Destination port.
    pub destination_port: PortNumber,
}

/// A packet on its way in, with room for what is made of it. It lies in per-CPU scratch, not on the stack: paths call each
/// other four deep, and the kernel gives them 512 octets in all. Programs that use it run with bottom halves disabled, so
/// they neither nest nor migrate.
#[repr(C, align(8))]
pub struct Arriving {
    /// Its IP and transport headers.
    pub packet: Packet,
    /// Its Ethernet header.
    pub ethernet: Ethernet,
    /// The flow's hash; meaningless before a frontend is found.
    pub hash: u64,
    /// What its ends shall be.
    pub new: Endpoints,
    /// Its flow's entries in the making.
    pub flow: Flow,
    /// The key of its answers.
    pub reply_key: ReplyKey,
    /// Whom its answers are from.
    pub reply: Reply,
}

impl Arriving {
    /// This CPU's scratch.
    #[inline(always)]
    pub fn scratch() -> Option<&'static mut Self> {
        // SAFETY: see the type.
        ARRIVING
            .get_ptr_mut(0)
            .map(|arriving| unsafe { &mut *arriving })
    }
}

/// A parsed packet.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Packet {
    /// Both ends and the protocol, as a packet from a client has them; ports are zero unless TCP or UDP.
    pub key: FlowKey,
    /// TCP's flags; zero for UDP.
    pub tcp_flags: u8,
    /// IPv6.
    pub v6: bool,
    /// Length of the IP header in octets: 20 to 60, or 40.
    ip_header: u8,
}

impl Packet {
    /// Offset of the transport header.
    #[inline(always)]
    pub fn l4(&self) -> usize {
        // The mask tells the verifier the bound that `parse` has established.
        ETHERNET + (self.ip_header & 0x3f) as usize
    }

    /// Offset of the transport checksum.
    #[inline(always)]
    pub fn l4_checksum(&self) -> usize {
        self.l4() + if self.key.protocol == UDP { 6 } else { 16 }
    }

    /// Whether it begins a connection.
    #[inline(always)]
    pub fn begins(&self) -> bool {
        self.tcp_flags & (TCP_SYN | TCP_ACK) == TCP_SYN
    }

    /// The flow it belongs to if it comes from an endpoint.
    #[inline(always)]
    pub fn reply_key(&self) -> ReplyKey {
        let FlowKey {
            client,
            frontend,
            client_port,
            frontend_port,
            protocol,
            ..
        } = self.key;
        ReplyKey::new(client, frontend, client_port, frontend_port, protocol)
    }
}

/// Parses the IP packet of a frame into `packet`; false for anything else: not IP, a fragment, extension headers, cut short.
/// `v6` says which family its EtherType or first nibble announced.
#[inline(always)]
pub fn parse(frame: impl Frame, v6: bool, packet: &mut Packet) -> bool {
    let (source, destination, protocol, ip_header) = if v6 {
        let Some(ip) = frame.at::<[u32; 10]>(ETHERNET) else {
            return false;
        };
        let ip = ip.cast::<u32>();
        // SAFETY: bounds checked by `at`; unaligned because of the Ethernet header.
        let word = |index: usize| unsafe { ip.add(index).read_unaligned() };
        if word(0).to_ne_bytes()[0] >> 4 != 6 {
            return false;
        }
        let source = Address {
            words: [word(2), word(3), word(4), word(5)],
        };
        let destination = Address {
            words: [word(6), word(7), word(8), word(9)],
        };
        (source, destination, word(1).to_ne_bytes()[2], IPV6 as u8)
    } else {
        let Some(ip) = frame.at::<[u32; 5]>(ETHERNET) else {
            return false;
        };
        let ip = ip.cast::<u32>();
        // SAFETY: as above.
        let word = |index: usize| unsafe { ip.add(index).read_unaligned() };
        // SAFETY: as above. A word would lie across two stores of whoever made the frame.
        let octet = |offset: usize| unsafe { ip.cast::<u8>().add(offset).read() };
        let first = octet(0);
        let header = (first & 0x0f) << 2;
        // RFC 791: more fragments, or an offset.
        const FRAGMENT: u32 = u32::from_ne_bytes([0, 0, 0x3f, 0xff]);
        if first >> 4 != 4 || header < 20 || word(1) & FRAGMENT != 0 {
            return false;
        }
        (
            Address::from_v4_word(word(3)),
            Address::from_v4_word(word(4)),
            octet(9),
            header,
        )
    };
    packet.v6 = v6;
    packet.ip_header = ip_header;
    let (mut ports, mut tcp_flags) = (0, 0);
    if protocol == TCP {
        let Some(tcp) = frame.at::<[u16; 10]>(packet.l4()) else {
            return false;
        };
        // SAFETY: as above.
        unsafe {
            ports = tcp.cast::<u32>().read_unaligned();
            tcp_flags = tcp.cast::<u8>().add(13).read();
        }
    } else if protocol == UDP {
        let Some(udp) = frame.at::<[u16; 4]>(packet.l4()) else {
            return false;
        };
        // SAFETY: as above.
        ports = unsafe { udp.cast::<u32>().read_unaligned() };
    }
    packet.key = FlowKey::new(source, destination, ports, protocol);
    packet.tcp_flags = tcp_flags;
    true
}
