//! The frames this node sends: announcements, probes and questions.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use pnet::util::MacAddr;

use super::{
    ArpMessage, ArpOperation, Frame, Message, NeighbourAdvertisement, NeighbourSolicitation,
    Question, Testimony,
};
use crate::address::{ALL_NODES, multicast_mac, solicited_node_group};

impl Frame {
    /// The frames that move every neighbour's entry for `ip` to `mac`.
    ///
    /// IPv4: gratuitous ARP as request (RFC 5227 section 2.3) and as reply (RFC 5944 section 4.6), because some
    /// neighbours heed only one of them. The reply names `mac` as target too: Linux takes it for gratuitous, and so past
    /// its `locktime`, only then. IPv6: an unsolicited advertisement to all nodes (RFC 4861 section 7.2.6), from the VIP
    /// itself, since the interface need not have a link-local address.
    pub fn announcements(mac: MacAddr, ip: IpAddr) -> Vec<Self> {
        match ip {
            IpAddr::V4(ip) => [
                (ArpOperation::Request, MacAddr::zero()),
                (ArpOperation::Reply, mac),
            ]
            .map(|(operation, target_mac)| {
                Self::arp_broadcast(ArpMessage {
                    operation,
                    sender_mac: mac,
                    sender_ip: ip,
                    target_mac,
                    target_ip: ip,
                })
            })
            .to_vec(),
            IpAddr::V6(ip) => vec![Self::unsolicited_advertisement(mac, ip)],
        }
    }

    /// Asks whether anyone has `ip` without claiming it: an ARP probe (RFC 5227 section 2.1.1), or the solicitation of
    /// duplicate address detection (RFC 4862 section 5.4.2).
    pub fn probe(mac: MacAddr, ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => Self::arp_request(mac, Ipv4Addr::UNSPECIFIED, ip),
            IpAddr::V6(ip) => Self::solicitation(mac, Ipv6Addr::UNSPECIFIED, ip),
        }
    }

    /// A broadcast ARP request for `target` in the name of `sender`.
    pub fn arp_request(mac: MacAddr, sender: Ipv4Addr, target: Ipv4Addr) -> Self {
        Self::arp_broadcast(ArpMessage {
            operation: ArpOperation::Request,
            sender_mac: mac,
            sender_ip: sender,
            target_mac: MacAddr::zero(),
            target_ip: target,
        })
    }

    /// A multicast solicitation for `target` from `source`, with a source link-layer option unless it is a probe.
    pub fn solicitation(mac: MacAddr, source: Ipv6Addr, target: Ipv6Addr) -> Self {
        let group = solicited_node_group(target);
        Self {
            destination: multicast_mac(group),
            source: mac,
            message: Message::Solicitation(NeighbourSolicitation {
                source,
                destination: group,
                target,
                source_link_layer: (!source.is_unspecified()).then_some(mac),
            }),
        }
    }

    /// A request for `ip` as a client sends it, in the name of `sender`; nothing where the two are of different families.
    pub fn request(mac: MacAddr, sender: IpAddr, ip: IpAddr) -> Option<Self> {
        match (sender, ip) {
            (IpAddr::V4(sender), IpAddr::V4(ip)) => Some(Self::arp_request(mac, sender, ip)),
            (IpAddr::V6(sender), IpAddr::V6(ip)) => Some(Self::solicitation(mac, sender, ip)),
            _ => None,
        }
    }

    /// Asks the agent of the peer at `peer` who answers.
    pub fn question(mac: MacAddr, peer: MacAddr, question: Question) -> Self {
        Self {
            destination: peer,
            source: mac,
            message: Message::Question(question),
        }
    }

    /// Tells the agent of the peer at `asker` who answered.
    pub fn testimony(mac: MacAddr, asker: MacAddr, testimony: Testimony) -> Self {
        Self {
            destination: asker,
            source: mac,
            message: Message::Testimony(testimony),
        }
    }

    /// Tells all nodes that `mac` has `ip`. The router flag stays clear: no host takes a VIP for its router.
    pub(crate) fn unsolicited_advertisement(mac: MacAddr, ip: Ipv6Addr) -> Self {
        Self {
            destination: multicast_mac(ALL_NODES),
            source: mac,
            message: Message::Advertisement(NeighbourAdvertisement {
                source: ip,
                destination: ALL_NODES,
                target: ip,
                router: false,
                solicited: false,
                override_cached: true,
                target_link_layer: Some(mac),
            }),
        }
    }

    fn arp_broadcast(message: ArpMessage) -> Self {
        Self {
            destination: MacAddr::broadcast(),
            source: message.sender_mac,
            message: Message::Arp(message),
        }
    }
}
