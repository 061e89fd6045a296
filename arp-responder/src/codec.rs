//! Ethernet frames that carry ARP, neighbour discovery, and agents' talk of who answers, from and to bytes.
//!
//! Bytes come from packet sockets and are hostile: [`Frame::decode`] accepts only what RFC 826, RFC 4861 section 7.1 and
//! RFC 6980 let a host act upon, and never panics. [`Frame::encode`] is its inverse. What the machines have to say is
//! built by the constructors in `build`. Frames carry no VLAN tag: the kernel strips it and delivers a tagged frame on
//! the VLAN's own interface.

mod arp;
mod build;
mod ndp;
#[cfg(test)]
mod tests;
mod witness;

use pnet::packet::Packet;
use pnet::packet::ethernet::{EtherType, EtherTypes, EthernetPacket, MutableEthernetPacket};
use pnet::util::MacAddr;

pub use arp::{ArpMessage, ArpOperation};
pub use ndp::{NeighbourAdvertisement, NeighbourSolicitation};
pub use witness::{
    ETHERTYPE_WITNESS, KIND_QUESTION, KIND_TESTIMONY, MOST_STATIONS, Question, Testimony,
};

use crate::address::is_station;

const ETHERNET_HEADER: usize = EthernetPacket::minimum_packet_size();

/// One Ethernet frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// A station, broadcast or multicast address.
    pub destination: MacAddr,
    /// The sending station; never multicast.
    pub source: MacAddr,
    /// What it says.
    pub message: Message,
}

/// The messages by which addresses are resolved, claimed and probed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// ARP for IPv4 over Ethernet (RFC 826).
    Arp(ArpMessage),
    /// ICMPv6 type 135 (RFC 4861 section 4.3).
    Solicitation(NeighbourSolicitation),
    /// ICMPv6 type 136 (RFC 4861 section 4.4).
    Advertisement(NeighbourAdvertisement),
    /// A peer's agent asks who answers for an address.
    Question(Question),
    /// A peer's agent tells who did.
    Testimony(Testimony),
}

/// Why bytes are not a frame to act upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A header or option goes past the end.
    #[error("frame is shorter than its headers say")]
    Truncated,
    /// Neither ARP nor IPv6 nor Landfall's.
    #[error("EtherType {0:#06x} is neither ARP nor IPv6")]
    EtherType(u16),
    /// A multicast, broadcast or zero address where only one station's may stand.
    #[error("{0} is not the address of one station")]
    StationAddress(MacAddr),
    /// ARP for another pair of protocols or with other address lengths.
    #[error("ARP is not for IPv4 over Ethernet")]
    ArpProtocols,
    /// Neither request nor reply.
    #[error("ARP operation {0} is neither request nor reply")]
    ArpOperation(u16),
    /// A sender or target that no host can have.
    #[error("ARP names an address that no host can have")]
    ArpAddress,
    /// Not version 6, or not directly followed by ICMPv6; RFC 6980 forbids fragments of neighbour discovery.
    #[error("IPv6 packet does not carry ICMPv6 directly")]
    NotIcmpv6,
    /// The packet has passed a router, so it is not from this link (RFC 4861 section 7.1).
    #[error("hop limit {0} is not 255")]
    HopLimit(u8),
    /// The ICMPv6 checksum does not match.
    #[error("ICMPv6 checksum does not match")]
    Checksum,
    /// Neither solicitation nor advertisement, or with a code.
    #[error("ICMPv6 type {0} code {1} is neither solicitation nor advertisement")]
    Icmpv6Type(u8, u8),
    /// Addresses that RFC 4861 section 7.1 forbids together.
    #[error("neighbour discovery message with addresses that do not go together")]
    NdpAddresses,
    /// An option of length zero, past the end, or not fitting an Ethernet address.
    #[error("neighbour discovery option has a wrong length")]
    NdpOption,
    /// Landfall's EtherType, but neither question nor testimony of this version.
    #[error("kind {0:#04x} of version {1} is neither question nor testimony")]
    Talk(u8, u8),
}

impl Frame {
    /// Reads a frame, which may have padding or a trailer after the message.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let ethernet = EthernetPacket::new(bytes).ok_or(DecodeError::Truncated)?;
        let source = ethernet.get_source();
        if !is_station(source) {
            return Err(DecodeError::StationAddress(source));
        }
        let payload = bytes.get(ETHERNET_HEADER..).ok_or(DecodeError::Truncated)?;
        let message = match ethernet.get_ethertype() {
            EtherTypes::Arp => Message::Arp(ArpMessage::decode(payload)?),
            EtherTypes::Ipv6 => ndp::decode(payload)?,
            EtherType(ETHERTYPE_WITNESS) => match witness::decode(payload)? {
                witness::Talk::Question(question) => Message::Question(question),
                witness::Talk::Testimony(testimony) => Message::Testimony(testimony),
            },
            EtherType(other) => return Err(DecodeError::EtherType(other)),
        };
        Ok(Self {
            destination: ethernet.get_destination(),
            source,
            message,
        })
    }

    /// The bytes of the frame, without frame check sequence; the driver pads to the minimum.
    pub fn encode(&self) -> Vec<u8> {
        let (ethertype, payload) = match &self.message {
            Message::Arp(message) => (EtherTypes::Arp, message.encode()),
            Message::Solicitation(message) => (EtherTypes::Ipv6, message.encode()),
            Message::Advertisement(message) => (EtherTypes::Ipv6, message.encode()),
            Message::Question(message) => (EtherType(ETHERTYPE_WITNESS), message.encode()),
            Message::Testimony(message) => (EtherType(ETHERTYPE_WITNESS), message.encode()),
        };
        let mut ethernet = MutableEthernetPacket::owned(vec![0; ETHERNET_HEADER + payload.len()])
            .expect("the buffer has room for the header");
        ethernet.set_destination(self.destination);
        ethernet.set_source(self.source);
        ethernet.set_ethertype(ethertype);
        ethernet.set_payload(&payload);
        ethernet.packet().to_vec()
    }
}
