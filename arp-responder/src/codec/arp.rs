//! ARP for IPv4 over Ethernet (RFC 826, RFC 5227).

use std::net::Ipv4Addr;

use pnet::packet::arp::{
    ArpHardwareTypes, ArpOperation as Operation, ArpOperations, ArpPacket, MutableArpPacket,
};
use pnet::packet::ethernet::EtherTypes;
use pnet::util::MacAddr;

use super::DecodeError;
use crate::address::is_station;

/// An ARP request or reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArpMessage {
    /// Request or reply.
    pub operation: ArpOperation,
    /// The station that speaks; never multicast.
    pub sender_mac: MacAddr,
    /// The address the sender claims; 0.0.0.0 in a probe (RFC 5227 section 1.1).
    pub sender_ip: Ipv4Addr,
    /// Whom a reply is for; without meaning in a request.
    pub target_mac: MacAddr,
    /// The address asked for, or the asker's in a reply.
    pub target_ip: Ipv4Addr,
}

/// What an ARP message does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArpOperation {
    /// Asks for an address.
    Request,
    /// Tells an address.
    Reply,
}

impl ArpMessage {
    /// Whether sender and target name one address: an announcement that wants no answer (RFC 5227 section 1.1).
    pub fn is_gratuitous(&self) -> bool {
        self.sender_ip == self.target_ip
    }

    /// Whether it asks who has an address without claiming one (RFC 5227 section 1.1).
    pub fn is_probe(&self) -> bool {
        self.operation == ArpOperation::Request && self.sender_ip.is_unspecified()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let packet = ArpPacket::new(bytes).ok_or(DecodeError::Truncated)?;
        let for_ipv4_over_ethernet = packet.get_hardware_type() == ArpHardwareTypes::Ethernet
            && packet.get_protocol_type() == EtherTypes::Ipv4
            && packet.get_hw_addr_len() == 6
            && packet.get_proto_addr_len() == 4;
        if !for_ipv4_over_ethernet {
            return Err(DecodeError::ArpProtocols);
        }
        let operation = match packet.get_operation() {
            ArpOperations::Request => ArpOperation::Request,
            ArpOperations::Reply => ArpOperation::Reply,
            Operation(other) => return Err(DecodeError::ArpOperation(other)),
        };
        let message = Self {
            operation,
            sender_mac: packet.get_sender_hw_addr(),
            sender_ip: packet.get_sender_proto_addr(),
            target_mac: packet.get_target_hw_addr(),
            target_ip: packet.get_target_proto_addr(),
        };
        if !is_station(message.sender_mac) {
            return Err(DecodeError::StationAddress(message.sender_mac));
        }
        let impossible = |ip: Ipv4Addr| ip.is_multicast() || ip.is_broadcast();
        if impossible(message.sender_ip) || impossible(message.target_ip) {
            return Err(DecodeError::ArpAddress);
        }
        Ok(message)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; ArpPacket::minimum_packet_size()];
        let mut packet =
            MutableArpPacket::new(&mut bytes).expect("the buffer has the packet's size");
        packet.set_hardware_type(ArpHardwareTypes::Ethernet);
        packet.set_protocol_type(EtherTypes::Ipv4);
        packet.set_hw_addr_len(6);
        packet.set_proto_addr_len(4);
        packet.set_operation(match self.operation {
            ArpOperation::Request => ArpOperations::Request,
            ArpOperation::Reply => ArpOperations::Reply,
        });
        packet.set_sender_hw_addr(self.sender_mac);
        packet.set_sender_proto_addr(self.sender_ip);
        packet.set_target_hw_addr(self.target_mac);
        packet.set_target_proto_addr(self.target_ip);
        bytes
    }
}
