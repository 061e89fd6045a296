//! The frames of ARP (RFC 826) and neighbour discovery (RFC 4861). Written here a second time, on
//! purpose apart from the daemon's own codecs: an instrument must not share their mistakes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Claim, ETHERTYPE_ARP, ETHERTYPE_IPV6};
use crate::lab::host::Mac;

const ICMPV6: u8 = 58;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asker {
    pub(super) mac: Mac,
    pub(super) v4: Ipv4Addr,
    pub(super) v6: Ipv6Addr,
}

impl Asker {
    /// An ARP announcement: who sends it has the address now (RFC 5227, 2.3).
    pub(super) fn announcement(&self, address: Ipv4Addr) -> Vec<u8> {
        Self {
            v4: address,
            ..*self
        }
        .arp_request(address)
    }

    /// A broadcast ARP request.
    pub(super) fn arp_request(&self, target: Ipv4Addr) -> Vec<u8> {
        let mut frame = ethernet(Mac([0xff; 6]), self.mac, ETHERTYPE_ARP);
        // Ethernet, IPv4, their address lengths, a request.
        frame.extend([0, 1, 8, 0, 6, 4, 0, 1]);
        frame.extend(self.mac.0);
        frame.extend(self.v4.octets());
        frame.extend([0; 6]);
        frame.extend(target.octets());
        frame.resize(60, 0);
        frame
    }

    /// A neighbour solicitation to the target's solicited-node group (RFC 4861, 4.3 and 7.2.2).
    pub(super) fn solicitation(&self, target: Ipv6Addr) -> Vec<u8> {
        let [.., a, b, c] = target.octets();
        let group = Ipv6Addr::new(
            0xff02,
            0,
            0,
            0,
            0,
            1,
            0xff00 | u16::from(a),
            u16::from_be_bytes([b, c]),
        );
        let mut message = vec![SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
        message.extend(target.octets());
        // The source link-layer address, in units of 8 octets.
        message.extend([1, 1]);
        message.extend(self.mac.0);
        let sum = checksum(self.v6, group, &message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());

        let mut frame = ethernet(Mac([0x33, 0x33, 0xff, a, b, c]), self.mac, ETHERTYPE_IPV6);
        frame.extend([0x60, 0, 0, 0, 0, message.len() as u8, ICMPV6, 255]);
        frame.extend(self.v6.octets());
        frame.extend(group.octets());
        frame.extend(message);
        frame
    }
}

/// Whether a frame asks who has an address, and who asks.
pub(super) fn question(frame: &[u8]) -> Option<(IpAddr, Mac)> {
    let (header, payload) = frame.split_at_checked(14)?;
    let asker = Mac(header[6..12].try_into().ok()?);
    let target = match u16::from_be_bytes([header[12], header[13]]) {
        ETHERTYPE_ARP => {
            let arp: &[u8; 28] = payload.first_chunk()?;
            let request = arp[7] == 1 && arp[14..18] != arp[24..28];
            let target: [u8; 4] = arp[24..28].try_into().ok()?;
            request.then(|| IpAddr::from(target))?
        }
        ETHERTYPE_IPV6 => {
            let (ip, message) = payload.split_at_checked(40)?;
            let solicits = ip[6] == ICMPV6 && *message.first()? == SOLICITATION;
            let target: [u8; 16] = message.get(8..24)?.try_into().ok()?;
            solicits.then(|| IpAddr::from(target))?
        }
        _ => return None,
    };
    Some((target, asker))
}

/// The MAC that a frame is for.
pub(super) fn destination(frame: &[u8]) -> Option<Mac> {
    frame.first_chunk().copied().map(Mac)
}

/// Whether a frame claims an address, and for which MAC.
pub(super) fn claim(frame: &[u8]) -> Option<(IpAddr, Mac, Claim)> {
    let (header, payload) = frame.split_at_checked(14)?;
    match u16::from_be_bytes([header[12], header[13]]) {
        ETHERTYPE_ARP => arp_claim(payload),
        ETHERTYPE_IPV6 => advertisement_claim(header, payload),
        _ => None,
    }
}

fn arp_claim(arp: &[u8]) -> Option<(IpAddr, Mac, Claim)> {
    let arp: &[u8; 28] = arp.first_chunk()?;
    let sender: [u8; 4] = arp[14..18].try_into().ok()?;
    let target: [u8; 4] = arp[24..28].try_into().ok()?;
    let mac = Mac(arp[8..14].try_into().ok()?);
    let (request, gratuitous) = (arp[7] == 1, sender == target);
    if sender == [0; 4] || (request && !gratuitous) {
        return None;
    }
    let claim = if gratuitous {
        Claim::Unasked
    } else {
        Claim::Answer
    };
    Some((IpAddr::from(sender), mac, claim))
}

fn advertisement_claim(ethernet: &[u8], packet: &[u8]) -> Option<(IpAddr, Mac, Claim)> {
    let (ip, message) = packet.split_at_checked(40)?;
    if ip[6] != ICMPV6 || ip[7] != 255 || *message.first()? != ADVERTISEMENT {
        return None;
    }
    let solicited = message.get(4)? & 0x40 != 0;
    let target: [u8; 16] = message.get(8..24)?.try_into().ok()?;
    // The target's link-layer address option, else the frame's own sender.
    let option = message.get(24..32).filter(|option| option[..2] == [2, 1]);
    let mac = option.map_or(&ethernet[6..12], |option| &option[2..8]);
    let claim = if solicited {
        Claim::Answer
    } else {
        Claim::Unasked
    };
    Some((IpAddr::from(target), Mac(mac.try_into().ok()?), claim))
}

fn ethernet(to: Mac, from: Mac, ethertype: u16) -> Vec<u8> {
    let mut frame = Vec::with_capacity(128);
    frame.extend(to.0);
    frame.extend(from.0);
    frame.extend(ethertype.to_be_bytes());
    frame
}

/// The checksum of an `ICMPv6` message of even length (RFC 8200, 8.1).
fn checksum(from: Ipv6Addr, to: Ipv6Addr, message: &[u8]) -> u16 {
    let mut bytes = Vec::new();
    bytes.extend(from.octets());
    bytes.extend(to.octets());
    bytes.extend((message.len() as u32).to_be_bytes());
    bytes.extend([0, 0, 0, ICMPV6]);
    bytes.extend(message);
    let mut sum: u32 = bytes
        .chunks_exact(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
