//! Answers by socket, and their end at the deadline.

use std::net::{Ipv4Addr, Ipv6Addr, UdpSocket};
use std::time::Duration;

use landfall_arp_responder::codec::{ArpOperation, Frame, Message, NeighbourSolicitation};
use landfall_arp_responder::{BootInstant, Event, Role, Timing};

use crate::lan::{CLIENT_MAC, CLIENT4, CLIENT6, Lan, NODE_MAC, NODE4, Node, VIP4, VIP6, wait_for};

fn v4(address: &str) -> Ipv4Addr {
    address.parse().unwrap()
}

fn v6(address: &str) -> Ipv6Addr {
    address.parse().unwrap()
}

fn arp_request() -> Frame {
    Frame::arp_request(CLIENT_MAC, v4(CLIENT4), v4(VIP4))
}

fn is_arp_reply(frame: &Frame) -> bool {
    matches!(&frame.message, Message::Arp(arp)
        if arp.operation == ArpOperation::Reply && arp.sender_ip == v4(VIP4) && !arp.is_gratuitous())
}

fn is_advertisement(frame: &Frame, solicited: bool) -> bool {
    matches!(&frame.message, Message::Advertisement(na)
        if na.target == v6(VIP6) && na.solicited == solicited)
}

#[test]
fn requests_and_solicitations_are_answered_and_counted() {
    let lan = Lan::new();
    let mut wire = lan.wire();
    let mut node = Node::start(Timing::default());
    node.desired.send_replace(lan.desired(Role::Takeover));
    node.wait_for_event(|event| matches!(event, Event::InterfaceUp { .. }));

    wire.send(&arp_request());
    wire.wait_for("an ARP reply", is_arp_reply);
    wire.send(&Frame::solicitation(CLIENT_MAC, v6(CLIENT6), v6(VIP6)));
    wire.wait_for("a solicited advertisement", |frame| {
        is_advertisement(frame, true)
    });
    wire.send(&Frame {
        destination: NODE_MAC,
        source: CLIENT_MAC,
        message: Message::Solicitation(NeighbourSolicitation {
            source: v6(CLIENT6),
            destination: v6(VIP6),
            target: v6(VIP6),
            source_link_layer: None,
        }),
    });
    wire.wait_for("an answer to a unicast solicitation", |frame| {
        is_advertisement(frame, true)
    });
    wire.send(&Frame::probe(CLIENT_MAC, v4(VIP4).into()));
    wire.wait_for("an answer to a probe", is_arp_reply);
    wire.send(&Frame::probe(CLIENT_MAC, v6(VIP6).into()));
    wire.wait_for("an answer to a probe", |frame| {
        is_advertisement(frame, false)
    });

    let answers = node.task.answers();
    wait_for("the counts", || {
        answers.borrow().values().copied().eq([2, 3])
    });
    node.stop();
}

#[test]
fn the_clients_kernel_resolves_both_vips() {
    let lan = Lan::new();
    let mut node = Node::start(Timing::default());
    node.desired.send_replace(lan.desired(Role::Takeover));
    node.wait_for_event(|event| matches!(event, Event::InterfaceUp { .. }));
    for (from, vip, to) in [
        ("0.0.0.0:0", VIP4, format!("{VIP4}:9")),
        ("[::]:0", VIP6, format!("[{VIP6}]:9")),
    ] {
        lan.in_client(|| {
            UdpSocket::bind(from)
                .unwrap()
                .send_to(b"discard", to)
                .unwrap()
        });
        wait_for("the neighbour entry", || {
            let entry = lan.client_neighbour(vip);
            entry.contains(&NODE_MAC.to_string()) && entry.contains("REACHABLE")
        });
    }
    node.stop();
}

#[test]
fn no_request_sent_after_the_deadline_is_answered() {
    let lan = Lan::new();
    let mut wire = lan.wire();
    let mut node = Node::start(Timing::default());
    node.desired.send_replace(lan.desired(Role::Takeover));
    node.wait_for_event(|event| matches!(event, Event::InterfaceUp { .. }));

    let deadline = BootInstant::now() + Duration::from_millis(200);
    node.deadline.set(deadline);
    // Each request asks in another name, by which its answer is known.
    let asker = |number: usize| Ipv4Addr::from(0x0a00_0001 + u32::try_from(number).unwrap());
    let mut sent = Vec::new();
    let mut answered = Vec::new();
    while BootInstant::now() < deadline + Duration::from_millis(100) {
        let request = Frame::arp_request(CLIENT_MAC, asker(sent.len()), v4(VIP4));
        sent.push(BootInstant::now());
        wire.send(&request);
        answered.extend(wire.next());
    }
    // Frames are handled in order: once this claim is told, every request before it has been handled.
    node.told_of_claim(&mut wire, v4(VIP4).into());
    // And once the node's kernel answers for its own address, everything before is off the wire.
    wire.send(&Frame::arp_request(CLIENT_MAC, v4(CLIENT4), v4(NODE4)));
    answered.extend(wire.wait_for(
        "the node's own reply",
        |frame| matches!(&frame.message, Message::Arp(arp) if arp.sender_ip == v4(NODE4)),
    ));

    let answered_number = |frame: &Frame| match &frame.message {
        Message::Arp(arp) if is_arp_reply(frame) => {
            usize::try_from(u32::from(arp.target_ip) - 0x0a00_0001).ok()
        }
        _ => None,
    };
    let numbers: Vec<usize> = answered.iter().filter_map(answered_number).collect();
    let last = *numbers.iter().max().expect("answers before the deadline");
    let silent = sent.len() - 1 - last;
    println!(
        "{} requests, {} answered, then {silent} silent",
        sent.len(),
        numbers.len()
    );
    assert!(
        sent[last] < deadline,
        "answered a request sent after the deadline"
    );
    assert!(
        sent.iter().any(|&at| at > deadline),
        "requests were sent after the deadline"
    );

    node.deadline
        .set(BootInstant::now() + Duration::from_secs(3_600));
    wire.send(&arp_request());
    wire.wait_for("an answer by the renewed right", is_arp_reply);
    node.stop();
}
