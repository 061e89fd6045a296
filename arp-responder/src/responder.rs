//! What to answer to those who ask for a VIP.
//!
//! Sans-IO: frames and `now` go in, at most one answer each comes out. Answers what the kernel of a host with the address
//! would (RFC 826, RFC 4861 section 7.2.4, RFC 4862 section 5.4.3), and only before the deadline. Requests without a
//! source link-layer option are answered too: neighbours use them to check that a VIP is still reachable.

use std::collections::BTreeMap;
use std::net::IpAddr;

use pnet::util::MacAddr;

use crate::address::{InterfaceAddress, InterfaceIndex, multicast_mac, solicited_node_group};
use crate::clock::BootInstant;
use crate::codec::{
    ArpMessage, ArpOperation, Frame, Message, NeighbourAdvertisement, NeighbourSolicitation,
};

/// Answers given so far, per interface and VIP.
pub type AnswerCounts = BTreeMap<InterfaceAddress, u64>;

/// The VIPs to answer for, and with which address.
#[derive(Debug, Default)]
pub struct Responder {
    entries: BTreeMap<InterfaceAddress, MacAddr>,
    deadline: Option<BootInstant>,
    counts: AnswerCounts,
}

impl Responder {
    /// A responder that has nothing to answer, and no right to.
    pub fn new() -> Self {
        Self::default()
    }

    /// Answers for `vip` with `mac`. The count goes on where it was.
    pub fn set(&mut self, vip: InterfaceAddress, mac: MacAddr) {
        self.entries.insert(vip, mac);
        self.counts.entry(vip).or_default();
    }

    /// Answers for `vip` no longer and forgets its count.
    pub fn remove(&mut self, vip: InterfaceAddress) {
        self.entries.remove(&vip);
        self.counts.remove(&vip);
    }

    /// Ends the right to answer at `deadline`; without one nothing is answered.
    pub fn set_deadline(&mut self, deadline: Option<BootInstant>) {
        self.deadline = deadline;
    }

    /// Answers given so far, of the VIPs that are still answered for.
    pub fn counts(&self) -> &AnswerCounts {
        &self.counts
    }

    /// The answer to `frame`, which came in on `interface`, if it asks for a VIP of ours.
    pub fn answer(
        &mut self,
        interface: InterfaceIndex,
        frame: &Frame,
        now: BootInstant,
    ) -> Option<Frame> {
        let ip: IpAddr = match &frame.message {
            Message::Arp(arp) if arp.operation == ArpOperation::Request => arp.target_ip.into(),
            Message::Solicitation(ns) => ns.target.into(),
            _ => return None,
        };
        let vip = InterfaceAddress { interface, ip };
        let mac = *self.entries.get(&vip)?;
        let may_answer = self.deadline.is_some_and(|deadline| now < deadline);
        if !may_answer || frame.source == mac {
            return None;
        }
        let answer = match &frame.message {
            Message::Arp(request) => arp_reply(mac, frame.destination, request),
            Message::Solicitation(solicitation) => advertisement(mac, frame, solicitation),
            Message::Advertisement(_) | Message::Question(_) | Message::Testimony(_) => None,
        }?;
        *self.counts.entry(vip).or_default() += 1;
        Some(answer)
    }
}

/// A reply to the asker alone. Gratuitous requests ask nothing; requests to another station are not for us.
fn arp_reply(mac: MacAddr, asked: MacAddr, request: &ArpMessage) -> Option<Frame> {
    let for_us = asked == mac || asked.is_broadcast();
    if !for_us || request.is_gratuitous() || request.sender_mac == mac {
        return None;
    }
    Some(Frame {
        destination: request.sender_mac,
        source: mac,
        message: Message::Arp(ArpMessage {
            operation: ArpOperation::Reply,
            sender_mac: mac,
            sender_ip: request.target_ip,
            target_mac: request.sender_mac,
            target_ip: request.sender_ip,
        }),
    })
}

/// A solicited advertisement to the asker, or one to all nodes when the asker probes and has no address yet.
fn advertisement(mac: MacAddr, frame: &Frame, asked: &NeighbourSolicitation) -> Option<Frame> {
    let group = multicast_mac(solicited_node_group(asked.target));
    if frame.destination != mac && frame.destination != group {
        return None;
    }
    if asked.is_probe() {
        return Some(Frame::unsolicited_advertisement(mac, asked.target));
    }
    if asked.source_link_layer == Some(mac) {
        return None;
    }
    Some(Frame {
        destination: asked.source_link_layer.unwrap_or(frame.source),
        source: mac,
        message: Message::Advertisement(NeighbourAdvertisement {
            source: asked.target,
            destination: asked.source,
            target: asked.target,
            router: false,
            solicited: true,
            override_cached: true,
            target_link_layer: Some(mac),
        }),
    })
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;
    use crate::address::ALL_NODES;

    const LAN: InterfaceIndex = InterfaceIndex(3);
    const OWN: MacAddr = MacAddr(2, 0, 0, 0, 0, 1);
    const CLIENT: MacAddr = MacAddr(2, 0, 0, 0, 0, 9);
    const VIP4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 80);
    const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x80);
    const CLIENT4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);
    const CLIENT6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9);
    const DEADLINE: BootInstant = BootInstant::from_nanos(1_000);
    const BEFORE: BootInstant = BootInstant::from_nanos(999);

    fn responder() -> Responder {
        let mut responder = Responder::new();
        for ip in [VIP4.into(), VIP6.into()] {
            responder.set(InterfaceAddress { interface: LAN, ip }, OWN);
        }
        responder.set_deadline(Some(DEADLINE));
        responder
    }

    fn answer(frame: &Frame) -> Option<Frame> {
        responder().answer(LAN, frame, BEFORE)
    }

    #[test]
    fn an_arp_request_is_answered_to_the_asker() {
        let answer = answer(&Frame::arp_request(CLIENT, CLIENT4, VIP4)).unwrap();
        assert_eq!((answer.destination, answer.source), (CLIENT, OWN));
        let Message::Arp(reply) = answer.message else {
            panic!("{answer:?}")
        };
        assert_eq!(reply.operation, ArpOperation::Reply);
        assert_eq!((reply.sender_mac, reply.sender_ip), (OWN, VIP4));
        assert_eq!((reply.target_mac, reply.target_ip), (CLIENT, CLIENT4));
    }

    #[test]
    fn probes_are_answered_so_that_the_vip_is_defended() {
        let arp = answer(&Frame::probe(CLIENT, VIP4.into())).unwrap();
        assert_eq!(arp.destination, CLIENT);
        let ndp = answer(&Frame::probe(CLIENT, VIP6.into())).unwrap();
        assert_eq!(ndp.destination, multicast_mac(ALL_NODES));
        let Message::Advertisement(na) = ndp.message else {
            panic!("{ndp:?}")
        };
        assert_eq!(
            (na.destination, na.solicited, na.override_cached),
            (ALL_NODES, false, true)
        );
    }

    #[test]
    fn a_solicitation_is_answered_to_the_asker() {
        let frame = Frame::solicitation(CLIENT, CLIENT6, VIP6);
        let answer = answer(&frame).unwrap();
        assert_eq!((answer.destination, answer.source), (CLIENT, OWN));
        let Message::Advertisement(na) = answer.message else {
            panic!("{answer:?}")
        };
        assert_eq!(
            (na.source, na.destination, na.target),
            (VIP6, CLIENT6, VIP6)
        );
        assert_eq!(
            (na.solicited, na.override_cached, na.router),
            (true, true, false)
        );
        assert_eq!(na.target_link_layer, Some(OWN));
    }

    #[test]
    fn a_unicast_solicitation_without_option_is_answered_to_the_frames_sender() {
        let frame = Frame {
            destination: OWN,
            source: CLIENT,
            message: Message::Solicitation(NeighbourSolicitation {
                source: CLIENT6,
                destination: VIP6,
                target: VIP6,
                source_link_layer: None,
            }),
        };
        assert_eq!(
            answer(&frame).map(|answer| answer.destination),
            Some(CLIENT)
        );
    }

    #[test]
    fn nothing_is_answered_from_the_deadline_on_or_without_one() {
        let frame = Frame::arp_request(CLIENT, CLIENT4, VIP4);
        let mut responder = responder();
        assert!(responder.answer(LAN, &frame, BEFORE).is_some());
        assert_eq!(responder.answer(LAN, &frame, DEADLINE), None);
        responder.set_deadline(None);
        assert_eq!(responder.answer(LAN, &frame, BEFORE), None);
    }

    #[test]
    fn what_does_not_ask_us_gets_no_answer() {
        let elsewhere = MacAddr(2, 0, 0, 0, 0, 7);
        let mut silent: Vec<Frame> = [VIP4.into(), VIP6.into()]
            .into_iter()
            .flat_map(|ip| Frame::announcements(CLIENT, ip))
            .collect();
        silent.push(Frame::arp_request(OWN, CLIENT4, VIP4));
        silent.push(Frame::solicitation(OWN, CLIENT6, VIP6));
        silent.push(Frame::probe(OWN, VIP6.into()));
        silent.push(Frame::arp_request(
            CLIENT,
            CLIENT4,
            Ipv4Addr::new(192, 0, 2, 81),
        ));
        for mut frame in [
            Frame::arp_request(CLIENT, CLIENT4, VIP4),
            Frame::solicitation(CLIENT, CLIENT6, VIP6),
        ] {
            frame.destination = elsewhere;
            silent.push(frame);
        }
        for frame in silent {
            assert_eq!(answer(&frame), None, "{frame:?}");
        }
        let frame = Frame::arp_request(CLIENT, CLIENT4, VIP4);
        assert_eq!(responder().answer(InterfaceIndex(4), &frame, BEFORE), None);
    }

    #[test]
    fn answers_are_counted_per_vip() {
        let mut responder = responder();
        for _ in 0..3 {
            responder.answer(LAN, &Frame::arp_request(CLIENT, CLIENT4, VIP4), BEFORE);
        }
        responder.answer(LAN, &Frame::solicitation(CLIENT, CLIENT6, VIP6), BEFORE);
        responder.answer(LAN, &Frame::solicitation(CLIENT, CLIENT6, VIP6), DEADLINE);
        let counts: Vec<u64> = responder.counts().values().copied().collect();
        assert_eq!(counts, [3, 1]);
    }
}
