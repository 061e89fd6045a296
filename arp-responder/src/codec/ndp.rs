//! Neighbour solicitation and advertisement over IPv6 (RFC 4861 sections 4.3, 4.4 and 7.1, RFC 6980).
//!
//! The fixed headers are pnet's; options are walked here, since a length of zero has to be an error.

use std::net::Ipv6Addr;

use pnet::packet::icmpv6::ndp::{
    MutableNeighborAdvertPacket, MutableNeighborSolicitPacket, NeighborAdvertFlags,
    NeighborAdvertPacket, NeighborSolicitPacket,
};
use pnet::packet::icmpv6::{Icmpv6Packet, Icmpv6Types, MutableIcmpv6Packet, checksum};
use pnet::packet::ip::IpNextHeaderProtocols;
use pnet::packet::ipv6::{Ipv6Packet, MutableIpv6Packet};
use pnet::util::MacAddr;

use super::{DecodeError, Message};
use crate::address::{is_station, solicited_node_group};

const IPV6_HEADER: usize = Ipv6Packet::minimum_packet_size();
/// Type, code, checksum, flags or reserved, target: the same in both messages.
const MESSAGE: usize = 24;
/// An option with an Ethernet address: type, length in units of eight bytes, address.
const LINK_LAYER_OPTION: usize = 8;
const SOURCE_LINK_LAYER: u8 = 1;
const TARGET_LINK_LAYER: u8 = 2;
/// Neighbour discovery never passes a router.
const HOP_LIMIT: u8 = 255;

/// Asks for, or probes for, the link-layer address of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeighbourSolicitation {
    /// The asker; unspecified in duplicate address detection (RFC 4862 section 5.4.2).
    pub source: Ipv6Addr,
    /// The target itself or its solicited-node group.
    pub destination: Ipv6Addr,
    /// The address asked for.
    pub target: Ipv6Addr,
    /// The asker's address, from the source link-layer option; absent when the source is unspecified, and often absent
    /// when a neighbour's reachability is checked.
    pub source_link_layer: Option<MacAddr>,
}

/// Tells the link-layer address of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeighbourAdvertisement {
    /// The speaker.
    pub source: Ipv6Addr,
    /// The asker, or all nodes.
    pub destination: Ipv6Addr,
    /// The address told.
    pub target: Ipv6Addr,
    /// The speaker forwards.
    pub router: bool,
    /// The answer to a solicitation; never set in a multicast.
    pub solicited: bool,
    /// Caches are to replace what they hold.
    pub override_cached: bool,
    /// The target's address, from the target link-layer option.
    pub target_link_layer: Option<MacAddr>,
}

impl NeighbourSolicitation {
    /// Whether it is duplicate address detection (RFC 4862 section 5.4).
    pub fn is_probe(&self) -> bool {
        self.source.is_unspecified()
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let option = self.source_link_layer.map(|mac| (SOURCE_LINK_LAYER, mac));
        packet(self.source, self.destination, option, |bytes| {
            let mut message = MutableNeighborSolicitPacket::new(bytes).expect("sized by packet()");
            message.set_icmpv6_type(Icmpv6Types::NeighborSolicit);
            message.set_target_addr(self.target);
        })
    }
}

impl NeighbourAdvertisement {
    pub(super) fn encode(&self) -> Vec<u8> {
        let option = self.target_link_layer.map(|mac| (TARGET_LINK_LAYER, mac));
        packet(self.source, self.destination, option, |bytes| {
            let mut message = MutableNeighborAdvertPacket::new(bytes).expect("sized by packet()");
            let flag = |set: bool, bit: u8| if set { bit } else { 0 };
            message.set_icmpv6_type(Icmpv6Types::NeighborAdvert);
            message.set_flags(
                flag(self.router, NeighborAdvertFlags::Router)
                    | flag(self.solicited, NeighborAdvertFlags::Solicited)
                    | flag(self.override_cached, NeighborAdvertFlags::Override),
            );
            message.set_target_addr(self.target);
        })
    }
}

/// Reads an IPv6 packet that carries a solicitation or an advertisement; bytes past its payload length are padding.
pub(super) fn decode(bytes: &[u8]) -> Result<Message, DecodeError> {
    let ip = Ipv6Packet::new(bytes).ok_or(DecodeError::Truncated)?;
    if ip.get_version() != 6 || ip.get_next_header() != IpNextHeaderProtocols::Icmpv6 {
        return Err(DecodeError::NotIcmpv6);
    }
    if ip.get_hop_limit() != HOP_LIMIT {
        return Err(DecodeError::HopLimit(ip.get_hop_limit()));
    }
    let (source, destination) = (ip.get_source(), ip.get_destination());
    let end = IPV6_HEADER + usize::from(ip.get_payload_length());
    let payload = bytes.get(IPV6_HEADER..end).ok_or(DecodeError::Truncated)?;
    let (_, options) = payload
        .split_at_checked(MESSAGE)
        .ok_or(DecodeError::Truncated)?;
    let icmpv6 = Icmpv6Packet::new(payload).ok_or(DecodeError::Truncated)?;
    if checksum(&icmpv6, &source, &destination) != icmpv6.get_checksum() {
        return Err(DecodeError::Checksum);
    }
    if source.is_multicast() {
        return Err(DecodeError::NdpAddresses);
    }
    match (icmpv6.get_icmpv6_type(), icmpv6.get_icmpv6_code().0) {
        (Icmpv6Types::NeighborSolicit, 0) => {
            let message = NeighborSolicitPacket::new(payload).ok_or(DecodeError::Truncated)?;
            solicitation(&NeighbourSolicitation {
                source,
                destination,
                target: message.get_target_addr(),
                source_link_layer: link_layer_option(options, SOURCE_LINK_LAYER)?,
            })
        }
        (Icmpv6Types::NeighborAdvert, 0) => {
            let message = NeighborAdvertPacket::new(payload).ok_or(DecodeError::Truncated)?;
            let has = |bit: u8| message.get_flags() & bit != 0;
            advertisement(&NeighbourAdvertisement {
                source,
                destination,
                target: message.get_target_addr(),
                router: has(NeighborAdvertFlags::Router),
                solicited: has(NeighborAdvertFlags::Solicited),
                override_cached: has(NeighborAdvertFlags::Override),
                target_link_layer: link_layer_option(options, TARGET_LINK_LAYER)?,
            })
        }
        (kind, code) => Err(DecodeError::Icmpv6Type(kind.0, code)),
    }
}

/// Validates by RFC 4861 section 7.1.1, and that the destination is one at which the target would be asked.
fn solicitation(message: &NeighbourSolicitation) -> Result<Message, DecodeError> {
    let group = solicited_node_group(message.target);
    let asked_at_target = message.destination == group || message.destination == message.target;
    let probe_is_whole = message.destination == group && message.source_link_layer.is_none();
    if !is_host(message.target) || !asked_at_target || (message.is_probe() && !probe_is_whole) {
        return Err(DecodeError::NdpAddresses);
    }
    Ok(Message::Solicitation(message.clone()))
}

/// Validates by RFC 4861 section 7.1.2.
fn advertisement(message: &NeighbourAdvertisement) -> Result<Message, DecodeError> {
    let solicited_multicast = message.solicited && message.destination.is_multicast();
    if !is_host(message.target) || message.source.is_unspecified() || solicited_multicast {
        return Err(DecodeError::NdpAddresses);
    }
    Ok(Message::Advertisement(message.clone()))
}

fn is_host(address: Ipv6Addr) -> bool {
    !address.is_multicast() && !address.is_unspecified() && !address.is_loopback()
}

/// The address in the first option of type `wanted`; every option is checked, unknown ones are passed over.
fn link_layer_option(mut options: &[u8], wanted: u8) -> Result<Option<MacAddr>, DecodeError> {
    let mut found = None;
    while !options.is_empty() {
        let &[kind, units, ..] = options else {
            return Err(DecodeError::NdpOption);
        };
        let length = usize::from(units) * 8;
        if length == 0 {
            return Err(DecodeError::NdpOption);
        }
        let (option, rest) = options
            .split_at_checked(length)
            .ok_or(DecodeError::NdpOption)?;
        if kind == wanted {
            let &[_, _, a, b, c, d, e, f] = option else {
                return Err(DecodeError::NdpOption);
            };
            let mac = MacAddr(a, b, c, d, e, f);
            if !is_station(mac) {
                return Err(DecodeError::StationAddress(mac));
            }
            found = found.or(Some(mac));
        }
        options = rest;
    }
    Ok(found)
}

/// An IPv6 packet around the message that `fill` writes, with its option and checksum.
fn packet(
    source: Ipv6Addr,
    destination: Ipv6Addr,
    option: Option<(u8, MacAddr)>,
    fill: impl FnOnce(&mut [u8]),
) -> Vec<u8> {
    let payload_length = MESSAGE + option.map_or(0, |_| LINK_LAYER_OPTION);
    let mut bytes = vec![0; IPV6_HEADER + payload_length];
    let mut ip = MutableIpv6Packet::new(&mut bytes).expect("the buffer has room for the header");
    ip.set_version(6);
    ip.set_payload_length(u16::try_from(payload_length).expect("at most 32"));
    ip.set_next_header(IpNextHeaderProtocols::Icmpv6);
    ip.set_hop_limit(HOP_LIMIT);
    ip.set_source(source);
    ip.set_destination(destination);

    let payload = &mut bytes[IPV6_HEADER..];
    fill(payload);
    if let Some((kind, mac)) = option {
        payload[MESSAGE..MESSAGE + 2].copy_from_slice(&[kind, 1]);
        payload[MESSAGE + 2..].copy_from_slice(&mac.octets());
    }
    let mut icmpv6 = MutableIcmpv6Packet::new(payload).expect("longer than the ICMPv6 header");
    let sum = checksum(&icmpv6.to_immutable(), &source, &destination);
    icmpv6.set_checksum(sum);
    bytes
}
