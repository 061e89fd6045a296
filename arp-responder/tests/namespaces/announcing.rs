//! Takeover, conflict probe and late conflicts.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use landfall_arp_responder::address::solicited_node_group;
use landfall_arp_responder::codec::Frame;
use landfall_arp_responder::{BootInstant, Event, Role, Timing};

use crate::lan::{CLIENT_MAC, Lan, NODE_MAC, Node, PATIENCE, STRANGER, VIP4, VIP6, Wire, wait_for};

fn vips() -> [IpAddr; 2] {
    [VIP4, VIP6].map(|vip| vip.parse().unwrap())
}

fn announcements() -> Vec<Frame> {
    vips()
        .into_iter()
        .flat_map(|ip| Frame::announcements(NODE_MAC, ip))
        .collect()
}

fn wait_for_announcements(wire: &mut Wire) {
    let mut missing = announcements();
    wait_for("the announcements", || {
        if let Some(frame) = wire.next() {
            missing.retain(|expected| *expected != frame);
        }
        missing.is_empty()
    });
}

#[test]
fn a_takeover_is_announced_at_once_and_again_after_locktime() {
    let lan = Lan::new();
    let mut wire = lan.wire();
    let node = Node::start(Timing::default());
    let start = Instant::now();
    node.desired.send_replace(lan.desired(Role::Takeover));
    wait_for_announcements(&mut wire);
    let first = start.elapsed();
    wait_for_announcements(&mut wire);
    let second = start.elapsed();
    println!("announced after {first:?} and {second:?}");
    assert!(second >= Duration::from_millis(1_100), "{second:?}");
    node.stop();
}

#[test]
fn a_takeover_moves_the_entries_of_the_clients_kernel() {
    let lan = Lan::new();
    for vip in [VIP4, VIP6] {
        let old = format!("neigh replace {vip} dev eth0 lladdr {STRANGER} nud reachable");
        lan.on_client(&old);
    }
    let node = Node::start(Timing::default());
    node.desired.send_replace(lan.desired(Role::Takeover));
    let start = Instant::now();
    for vip in [VIP4, VIP6] {
        wait_for("the entry to move", || {
            lan.client_neighbour(vip).contains(&NODE_MAC.to_string())
        });
    }
    println!("entries moved within {:?}", start.elapsed());
    assert!(
        start.elapsed() < Duration::from_millis(1_100),
        "the first announcement counts"
    );
    node.stop();
}

#[test]
fn nothing_is_announced_without_the_right() {
    let lan = Lan::new();
    let mut wire = lan.wire();
    let mut node = Node::start(Timing::default());
    node.deadline.revoke();
    node.desired.send_replace(lan.desired(Role::Takeover));
    // Told after the machine had its turn; the claim goes through the same loop once more.
    node.wait_for_event(|event| matches!(event, Event::InterfaceUp { .. }));
    node.told_of_claim(&mut wire, vips()[0]);
    let granted = BootInstant::now();
    while let Some(frame) = wire.next() {
        assert!(
            !announcements().contains(&frame),
            "announced without the right: {frame:?}"
        );
    }
    node.deadline.set(granted + PATIENCE);
    wait_for_announcements(&mut wire);
    node.stop();
}

#[test]
fn a_free_vip_clears_and_is_announced() {
    let lan = Lan::new();
    let mut wire = lan.wire();
    let mut node = Node::start(Timing::default());
    let start = Instant::now();
    node.desired.send_replace(lan.desired(Role::First));
    for ip in vips() {
        wire.wait_for_frame(&Frame::probe(NODE_MAC, ip));
    }
    let cleared = |event: &Event| matches!(event, Event::ProbeCleared { .. });
    node.wait_for_event(cleared);
    node.wait_for_event(cleared);
    println!("cleared after {:?}", start.elapsed());
    assert!(start.elapsed() >= Duration::from_millis(30));
    wait_for_announcements(&mut wire);
    node.stop();
}

#[test]
fn an_address_in_use_is_told_not_announced_and_taken_when_it_is_free() {
    let lan = Lan::new();
    let mut wire = lan.wire();
    lan.on_client(&format!("address add {VIP4}/24 dev eth0"));
    lan.on_client(&format!("address add {VIP6}/64 dev eth0 nodad"));
    // Linux joins the group a moment after the address was added, and does not hear solicitations until then.
    let group = solicited_node_group(VIP6.parse().unwrap()).to_string();
    wait_for("the address to be in use", || {
        lan.on_client("-6 maddress show dev eth0").contains(&group)
    });
    let mut node = Node::start(Timing::default());
    node.desired.send_replace(lan.desired(Role::First));

    let mut conflicts = BTreeSet::new();
    while conflicts.len() < 2 {
        match node.next_event() {
            Event::Conflict { ip, mac, .. } => {
                assert_eq!(mac, CLIENT_MAC);
                conflicts.insert(ip);
            }
            Event::InterfaceUp { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(conflicts, BTreeSet::from(vips()));
    while let Some(frame) = wire.next() {
        assert!(
            !announcements().contains(&frame),
            "announced in spite of the conflict: {frame:?}"
        );
    }

    lan.on_client(&format!("address delete {VIP4}/24 dev eth0"));
    lan.on_client(&format!("address delete {VIP6}/64 dev eth0"));
    wait_for_announcements(&mut wire);
    node.wait_for_event(|event| matches!(event, Event::ProbeCleared { .. }));
    node.stop();
}

#[test]
fn a_stranger_who_comes_later_is_told() {
    let lan = Lan::new();
    let mut wire = lan.wire();
    let mut node = Node::start(Timing::default());
    node.desired.send_replace(lan.desired(Role::Takeover));
    node.wait_for_event(|event| matches!(event, Event::InterfaceUp { .. }));
    for vip in vips() {
        let told = node.told_of_claim(&mut wire, vip);
        assert!(
            matches!(told, Event::LateConflict { ip, mac: STRANGER, .. } if ip == vip),
            "{told:?}"
        );
    }
    node.stop();
}

#[test]
fn a_thousand_vips_are_announced_in_one_breath() {
    let lan = Lan::new();
    let node = Node::start(Timing::default());
    let vips = (0..1_000).map(|n| IpAddr::from(Ipv4Addr::from(0x0a00_0000 + n)));
    let desired = lan.desired_vips(Role::Takeover, vips);
    let before = frames_received(&lan);
    let start = Instant::now();
    node.desired.send_replace(desired);
    wait_for("two frames for each", || {
        frames_received(&lan) >= before + 2_000
    });
    let elapsed = start.elapsed();
    println!("1,000 VIPs announced in {elapsed:?}");
    assert!(
        elapsed < Duration::from_millis(1_100),
        "{elapsed:?} reaches the repetition"
    );
    node.stop();
}

/// Frames that have come in at the client's eth0.
fn frames_received(lan: &Lan) -> u64 {
    let table = lan.in_client(|| std::fs::read_to_string("/proc/thread-self/net/dev").unwrap());
    let eth0 = table
        .lines()
        .find_map(|line| line.trim().strip_prefix("eth0:"))
        .unwrap();
    eth0.split_whitespace().nth(1).unwrap().parse().unwrap()
}
