//! Interfaces that go, come back and lose their carrier; solicited-node groups.

use std::net::{IpAddr, Ipv6Addr};

use landfall_arp_responder::address::solicited_node_group;
use landfall_arp_responder::codec::{Frame, Message};
use landfall_arp_responder::{Desired, Event, Role, Timing};
use nix::errno::Errno;

use crate::lan::{CLIENT_MAC, CLIENT6, Lan, NODE_MAC, Node, VIP4, VIP6, wait_for};

fn assert_up(event: Event) {
    assert!(matches!(event, Event::InterfaceUp { .. }), "{event:?}");
}

fn assert_down(event: Event, expected: Errno) {
    let Event::InterfaceDown { error, .. } = &event else {
        panic!("{event:?}")
    };
    assert_eq!(error.raw_os_error().map(Errno::from_raw), Some(expected));
}

#[test]
fn an_interface_may_go_down_lose_its_carrier_and_be_deleted() {
    let lan = Lan::new();
    let mut wire = lan.wire();
    let mut node = Node::start(Timing::default());
    let announced = &Frame::announcements(NODE_MAC, VIP4.parse().unwrap())[0];
    node.desired.send_replace(lan.desired(Role::Takeover));
    assert_up(node.next_event());
    wire.wait_for_frame(announced);

    lan.on_node("link set ens3 down");
    assert_down(node.next_event(), Errno::ENETDOWN);
    lan.on_node("link set ens3 up");
    assert_up(node.next_event());
    wire.wait_for_frame(announced);

    lan.on_client("link set eth0 down");
    assert_down(node.next_event(), Errno::ENOLINK);
    lan.on_client("link set eth0 up");
    assert_up(node.next_event());

    lan.on_node("link delete ens3");
    let gone = node.next_event();
    assert!(matches!(gone, Event::InterfaceDown { .. }), "{gone:?}");

    lan.link_up();
    let mut wire = lan.wire();
    node.desired.send_replace(lan.desired(Role::Takeover));
    assert_up(node.next_event());
    wire.wait_for_frame(announced);
    node.stop();
}

#[test]
fn an_interface_that_never_was_is_told_and_harms_no_other() {
    let lan = Lan::new();
    let mut wire = lan.wire();
    let mut node = Node::start(Timing::default());
    let mut desired = lan.desired(Role::Takeover);
    let nowhere = landfall_arp_responder::InterfaceIndex(4_711);
    let wanted = desired.interfaces[&lan.ens3()].clone();
    desired.interfaces.insert(nowhere, wanted);
    node.desired.send_replace(desired);
    assert_up(node.next_event());
    assert_down(node.next_event(), Errno::ENODEV);
    wire.wait_for_frame(&Frame::announcements(NODE_MAC, VIP6.parse().unwrap())[0]);
    node.stop();
}

#[test]
fn solicited_node_groups_are_joined_reported_by_mld_and_left() {
    let lan = Lan::new();
    let mut wire = lan.wire();
    let node = Node::start(Timing::default());
    let group = solicited_node_group(VIP6.parse().unwrap());
    let joined = || {
        lan.on_node("-6 maddress show dev ens3")
            .contains(&group.to_string())
    };
    assert!(!joined());
    node.desired.send_replace(lan.desired(Role::Takeover));
    wait_for("the group to be joined", joined);
    // MLDv2 report (type 143, RFC 3810 section 5.2) behind a hop-by-hop header with the router alert.
    wait_for("an MLD report of the group", || {
        let bytes = wire.next_bytes();
        bytes.is_some_and(|bytes| {
            bytes.get(62) == Some(&143) && bytes.windows(16).any(|window| window == group.octets())
        })
    });
    node.desired.send_replace(Desired::default());
    wait_for("the group to be left", || !joined());
    node.stop();
}

#[test]
fn thousands_of_groups_fit() {
    let lan = Lan::new();
    let node = Node::start(Timing::default());
    let network = u128::from("2001:db8::".parse::<Ipv6Addr>().unwrap());
    let vips = (1..=5_000).map(|n| IpAddr::from(Ipv6Addr::from(network + n)));
    node.desired
        .send_replace(lan.desired_vips(Role::Takeover, vips));
    wait_for("all groups", || {
        let groups = lan.on_node("-6 maddress show dev ens3");
        groups
            .lines()
            .filter(|line| line.contains("ff02::1:ff"))
            .count()
            >= 5_000
    });
    node.stop();
}

#[test]
fn without_ipv6_on_the_interface_solicitations_are_answered_and_the_lack_is_told() {
    let lan = Lan::new();
    // Below the least MTU of IPv6 (RFC 8200 section 5) Linux takes IPv6 off an interface.
    lan.on_node("link set ens3 mtu 1200");
    let mut wire = lan.wire();
    let mut node = Node::start(Timing::default());
    node.desired.send_replace(lan.desired(Role::Takeover));
    let told = node.wait_for_event(|event| matches!(event, Event::InterfaceUp { .. }));
    let unreported = told
        .iter()
        .any(|event| matches!(event, Event::GroupUnreported { .. }));
    assert!(unreported, "{told:?}");
    let (client, vip) = (CLIENT6.parse().unwrap(), VIP6.parse().unwrap());
    wire.send(&Frame::solicitation(CLIENT_MAC, client, vip));
    wire.wait_for("an advertisement", |frame| {
        matches!(&frame.message, Message::Advertisement(na) if na.solicited && na.target == vip)
    });
    node.stop();
}
