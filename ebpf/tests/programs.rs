//! The real programs, frame in, frame out, by BPF_PROG_TEST_RUN. Needs root.

mod support;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use landfall_ebpf::abi::announce::AnnouncedKey;
use landfall_ebpf::abi::counter::Counter;
use landfall_ebpf::announce::{Announcements, DeadlineCell};
use landfall_ebpf::clock;
use landfall_ebpf::conntrack::{Conntrack, TimeOuts};
use landfall_ebpf::counters::Counters;
use support::frames::{self, ACK, FIN, RST, SYN, TCP, UDP};
use support::{Bench, CLIENT_MAC, IFINDEX, OWN_MAC, PEER_MAC, address, endpoint, spec};

const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
const XDP_TX: u32 = 3;
const TC_ACT_UNSPEC: u32 = u32::MAX;

/// VIP, client, endpoint here and endpoint there of one family.
const FAMILIES: [(&str, &str, &str, &str); 2] = [
    ("10.10.200.1", "10.10.200.100", "10.244.1.2", "10.244.2.2"),
    (
        "fd00:10:200::1:1",
        "fd00:10:200::100",
        "fd00:244:1::2",
        "fd00:244:2::2",
    ),
];

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn a_packet_for_nobody_we_know_is_passed_untouched() {
    let mut bench = Bench::open();
    for (vip, client, ..) in FAMILIES {
        let frame = frames::tcp((client, 40_000), (vip, 80), SYN, b"");
        assert_eq!(bench.xdp(&frame), (XDP_PASS, frame));
    }
}

#[test]
fn a_frame_for_another_ethernet_address_is_not_ours() {
    let mut bench = Bench::open();
    let (vip, client, here, _) = FAMILIES[0];
    let specification = spec(bench.peer, &[endpoint(here, 8080)], &[]);
    bench.put(vip, 80, TCP, &specification);
    let mut frame = frames::tcp((client, 40_000), (vip, 80), SYN, b"");
    frame[5] = 0x77;
    assert_eq!(bench.xdp(&frame), (XDP_PASS, frame));
}

#[test]
fn l2_dsr_sends_the_packet_untouched_to_the_chosen_nodes_ethernet_address() {
    let mut bench = Bench::open();
    for (vip, client, _, there) in FAMILIES {
        let specification = spec(bench.peer, &[], &[endpoint(there, 8080)]);
        for (protocol, frame) in [
            (TCP, frames::tcp((client, 40_000), (vip, 80), SYN, b"")),
            (TCP, frames::tcp((client, 40_000), (vip, 80), ACK, b"hello")),
            (UDP, frames::udp((client, 40_000), (vip, 80), b"hello")),
        ] {
            bench.put(vip, 80, protocol, &specification);
            let (code, out) = bench.xdp(&frame);
            assert_eq!(code, XDP_TX);
            assert_eq!(out[0..6], PEER_MAC);
            assert_eq!(out[6..12], OWN_MAC);
            assert_eq!(out[12..], frame[12..], "the IP packet is untouched");
        }
    }
}

#[test]
fn local_delivery_translates_to_the_endpoint_and_keeps_the_client() {
    let mut bench = Bench::open();
    for (vip, client, here, _) in FAMILIES {
        let specification = spec(bench.peer, &[endpoint(here, 8080)], &[]);
        for (protocol, frame) in [
            (TCP, frames::tcp((client, 40_000), (vip, 80), SYN, b"")),
            (
                TCP,
                frames::tcp((client, 40_000), (vip, 80), ACK, b"odd length"),
            ),
            (UDP, frames::udp((client, 40_000), (vip, 80), b"hello")),
            (UDP, frames::udp((client, 40_000), (vip, 80), b"again")),
        ] {
            bench.put(vip, 80, protocol, &specification);
            let (code, out) = bench.xdp(&frame);
            assert_eq!(code, XDP_PASS);
            let read = frames::read(&out);
            assert_eq!((read.source, read.destination), (ip(client), ip(here)));
            assert_eq!(read.ports(), (40_000, 8080));
        }
    }
}

#[test]
fn the_answer_gets_the_frontends_address_back_at_egress() {
    let mut bench = Bench::open();
    for (vip, client, here, _) in FAMILIES {
        let specification = spec(bench.peer, &[endpoint(here, 8080)], &[]);
        bench.put(vip, 80, TCP, &specification);
        bench.put(vip, 80, UDP, &specification);
        bench.xdp(&frames::tcp((client, 40_000), (vip, 80), SYN, b""));
        bench.xdp(&frames::udp((client, 40_000), (vip, 80), b"hello"));
        for frame in [
            frames::tcp((here, 8080), (client, 40_000), SYN | ACK, b""),
            frames::udp((here, 8080), (client, 40_000), b"hello"),
        ] {
            let result = bench.loaded.test_run("tc_restore", &frame, 1).unwrap();
            assert_eq!(result.code, TC_ACT_UNSPEC, "programs behind it run too");
            let read = frames::read(&result.frame);
            assert_eq!((read.source, read.destination), (ip(vip), ip(client)));
            assert_eq!(read.ports(), (80, 40_000));
        }
        // What the endpoint says to others is its own business.
        let other = frames::tcp((here, 8080), (client, 40_001), ACK, b"");
        assert_eq!(
            bench
                .loaded
                .test_run("tc_restore", &other, 1)
                .unwrap()
                .frame,
            other
        );
    }
}

#[test]
fn tc_delivers_as_xdp_does() {
    let mut bench = Bench::open();
    for (vip, client, here, _) in FAMILIES {
        let specification = spec(bench.peer, &[endpoint(here, 8080)], &[]);
        bench.put(vip, 80, TCP, &specification);
        let frame = frames::tcp((client, 40_000), (vip, 80), SYN, b"");
        let result = bench.loaded.test_run("tc_uplink", &frame, 1).unwrap();
        assert_eq!(result.code, TC_ACT_UNSPEC, "programs behind it run too");
        let read = frames::read(&result.frame);
        assert_eq!((read.source, read.destination), (ip(client), ip(here)));
        assert_eq!(read.ports(), (40_000, 8080));
    }
}

#[test]
fn an_established_connection_stays_at_its_endpoint_when_the_table_changes() {
    let mut bench = Bench::open();
    let (vip, client, here, there) = FAMILIES[0];
    let before = spec(bench.peer, &[endpoint(here, 8080)], &[]);
    bench.put(vip, 80, TCP, &before);
    for port in 40_000..40_064 {
        bench.xdp(&frames::tcp((client, port), (vip, 80), SYN, b""));
    }
    let others = [endpoint("10.244.1.3", 8080), endpoint("10.244.1.4", 8080)];
    let after = spec(bench.peer, &others, &[]);
    bench.put(vip, 80, TCP, &after);
    for port in 40_000..40_064 {
        let (code, out) = bench.xdp(&frames::tcp((client, port), (vip, 80), ACK, b"x"));
        assert_eq!((code, frames::read(&out).destination), (XDP_PASS, ip(here)));
    }
    // With endpoints on another node too, the flows that live here are not sent away.
    let moved = spec(
        bench.peer,
        &others,
        &[endpoint(there, 8080), endpoint("10.244.2.3", 8080)],
    );
    bench.put(vip, 80, TCP, &moved);
    let codes: Vec<u32> = (40_000..40_064)
        .map(|port| {
            bench
                .xdp(&frames::tcp((client, port), (vip, 80), ACK, b"x"))
                .0
        })
        .collect();
    assert!(
        codes.contains(&XDP_TX),
        "half of them now belong to the other node, which passes them back"
    );
}

#[test]
fn a_node_that_does_not_know_a_connection_passes_it_to_the_previous_choice_marked() {
    let mut bench = Bench::open();
    for (vip, client, here, there) in FAMILIES {
        let before = spec(bench.peer, &[], &[endpoint(there, 8080)]);
        bench.put(vip, 80, TCP, &before);
        let after = spec(bench.peer, &[endpoint(here, 8080)], &[]);
        bench.put(vip, 80, TCP, &after);
        let frame = frames::tcp((client, 40_000), (vip, 80), ACK, b"x");
        let (code, out) = bench.xdp(&frame);
        assert_eq!(code, XDP_TX);
        assert_eq!(out[0..6], PEER_MAC);
        assert_eq!(out[12..14], [0x88, 0xb5]);
        assert_eq!(out[14..], frame[14..]);
        // A new connection begins here.
        let (code, out) = bench.xdp(&frames::tcp((client, 40_001), (vip, 80), SYN, b""));
        assert_eq!((code, frames::read(&out).destination), (XDP_PASS, ip(here)));
    }
}

#[test]
fn a_marked_frame_is_delivered_here_or_nowhere() {
    let mut bench = Bench::open();
    for (vip, client, here, there) in FAMILIES {
        let before = spec(bench.peer, &[endpoint(here, 8080)], &[]);
        bench.put(vip, 80, TCP, &before);
        bench.xdp(&frames::tcp((client, 40_000), (vip, 80), SYN, b""));
        let after = spec(bench.peer, &[], &[endpoint(there, 8080)]);
        bench.put(vip, 80, TCP, &after);
        let mut known = frames::tcp((client, 40_000), (vip, 80), ACK, b"x");
        known[12..14].copy_from_slice(&[0x88, 0xb5]);
        let (code, out) = bench.xdp(&known);
        assert_eq!(code, XDP_PASS);
        let read = frames::read(&out);
        assert_eq!(read.destination, ip(here));
        assert!(
            read.ethertype == 0x0800 || read.ethertype == 0x86dd,
            "the mark is taken off"
        );
        let mut unknown = frames::tcp((client, 41_000), (vip, 80), ACK, b"x");
        unknown[12..14].copy_from_slice(&[0x88, 0xb5]);
        let (code, out) = bench.xdp(&unknown);
        assert_ne!(out[0..6], PEER_MAC, "never over a third hop");
        assert_eq!(code, XDP_TX, "reset: nobody knows it");
        assert_eq!(frames::read(&out).l4[13], RST);
    }
}

#[test]
fn two_flows_of_one_client_port_through_two_vips_to_one_endpoint_stay_apart() {
    let mut bench = Bench::open();
    let (_, client, here, _) = FAMILIES[0];
    let specification = spec(bench.peer, &[endpoint(here, 80)], &[]);
    bench.put("10.10.200.1", 80, TCP, &specification);
    bench.put("10.10.200.2", 80, TCP, &specification);
    let (_, first) = bench.xdp(&frames::tcp(
        (client, 40_000),
        ("10.10.200.1", 80),
        SYN,
        b"",
    ));
    let (_, second) = bench.xdp(&frames::tcp(
        (client, 40_000),
        ("10.10.200.2", 80),
        SYN,
        b"",
    ));
    let (first, second) = (frames::read(&first), frames::read(&second));
    assert_eq!(first.ports().0, 40_000);
    assert_eq!(second.source, ip(client), "the address is the client's own");
    assert_ne!(second.ports().0, 40_000);
    let answer = frames::tcp((here, 80), (client, second.ports().0), SYN | ACK, b"");
    let out = bench
        .loaded
        .test_run("tc_restore", &answer, 1)
        .unwrap()
        .frame;
    let read = frames::read(&out);
    assert_eq!(
        (read.source, read.ports()),
        (ip("10.10.200.2"), (80, 40_000))
    );
}

#[test]
fn without_a_ready_endpoint_tcp_is_reset_and_udp_told_unreachable() {
    let mut bench = Bench::open();
    for (vip, client, ..) in FAMILIES {
        let specification = spec(bench.peer, &[], &[]);
        bench.put(vip, 80, TCP, &specification);
        bench.put(vip, 80, UDP, &specification);
        for program in ["xdp_uplink", "tc_uplink"] {
            let frame = frames::tcp((client, 40_000), (vip, 80), SYN, b"");
            let out = bench.loaded.test_run(program, &frame, 1).unwrap().frame;
            let reset = frames::read(&out);
            assert_eq!((reset.source, reset.destination), (ip(vip), ip(client)));
            assert_eq!(reset.destination_mac, CLIENT_MAC);
            assert_eq!(reset.ports(), (80, 40_000));
            assert_eq!(reset.l4[13], RST | ACK);
            assert_eq!(
                reset.l4[8..12],
                1001_u32.to_be_bytes(),
                "acknowledges the SYN"
            );
            let frame = frames::udp(
                (client, 40_000),
                (vip, 80),
                b"a question, longer than what is quoted of it",
            );
            let out = bench.loaded.test_run(program, &frame, 1).unwrap().frame;
            let refusal = frames::read(&out);
            assert_eq!((refusal.source, refusal.destination), (ip(vip), ip(client)));
            let v6 = vip.contains(':');
            assert_eq!(
                (refusal.protocol, refusal.l4[0], refusal.l4[1]),
                if v6 { (58, 1, 4) } else { (1, 3, 3) }
            );
            let header = if v6 { 40 } else { 20 };
            assert_eq!(
                refusal.l4[8..],
                frame[14..14 + header + 8],
                "quotes what it refuses"
            );
        }
    }
}

#[test]
fn a_port_that_no_service_has_is_rejected_unless_the_address_is_a_nodes_own() {
    let mut bench = Bench::open();
    let (vip, client, here, _) = FAMILIES[0];
    let specification = spec(bench.peer, &[endpoint(here, 80)], &[]);
    bench.put(vip, 80, TCP, &specification);
    let mut own = specification.clone();
    own.owns_address = false;
    bench.put("10.10.200.11", 80, TCP, &own);
    let (code, out) = bench.xdp(&frames::tcp((client, 40_000), (vip, 22), SYN, b""));
    assert_eq!((code, frames::read(&out).l4[13]), (XDP_TX, RST | ACK));
    let ssh = frames::tcp((client, 40_000), ("10.10.200.11", 22), SYN, b"");
    assert_eq!(bench.xdp(&ssh), (XDP_PASS, ssh));
}

#[test]
fn a_reset_is_not_answered_by_a_reset() {
    let mut bench = Bench::open();
    let (vip, client, ..) = FAMILIES[0];
    let specification = spec(bench.peer, &[], &[]);
    bench.put(vip, 80, TCP, &specification);
    assert_eq!(
        bench
            .xdp(&frames::tcp((client, 40_000), (vip, 80), RST, b""))
            .0,
        XDP_DROP
    );
}

#[test]
fn echo_to_a_vip_is_answered_in_the_kernel() {
    let mut bench = Bench::open();
    for (vip, client, here, _) in FAMILIES {
        let specification = spec(bench.peer, &[endpoint(here, 80)], &[]);
        bench.put(vip, 80, TCP, &specification);
        let request = if vip.contains(':') { 128 } else { 8 };
        let (code, out) = bench.xdp(&frames::icmp(
            client,
            vip,
            request,
            0,
            &[0, 7, 0, 1, 9, 9, 9],
        ));
        assert_eq!(code, XDP_TX);
        let read = frames::read(&out);
        assert_eq!((read.source, read.destination), (ip(vip), ip(client)));
        assert_eq!(read.l4[0], if vip.contains(':') { 129 } else { 0 });
        assert_eq!(read.l4[4..], [0, 7, 0, 1, 9, 9, 9]);
    }
}

#[test]
fn clients_outside_the_source_ranges_are_dropped_and_counted() {
    let mut bench = Bench::open();
    let counters = Counters::take(&mut bench.loaded);
    let (vip, client, here, _) = FAMILIES[0];
    let mut specification = spec(bench.peer, &[endpoint(here, 80)], &[]);
    specification.source_ranges = vec![(address("10.10.200.0"), 96 + 26)];
    bench.put(vip, 80, TCP, &specification);
    assert_eq!(
        bench
            .xdp(&frames::tcp((client, 40_000), (vip, 80), SYN, b""))
            .0,
        XDP_DROP
    );
    assert_eq!(counters.get(Counter::DroppedSourceRange), 1);
    assert_eq!(
        bench
            .xdp(&frames::tcp(("10.10.200.60", 40_000), (vip, 80), SYN, b""))
            .0,
        XDP_PASS
    );
    specification.source_ranges.clear();
    bench.put(vip, 80, TCP, &specification);
    assert_eq!(
        bench
            .xdp(&frames::tcp((client, 40_001), (vip, 80), SYN, b""))
            .0,
        XDP_PASS
    );
}

fn arp_request(sender: [u8; 4], target: [u8; 4]) -> Vec<u8> {
    let mut arp = vec![0, 1, 8, 0, 6, 4, 0, 1];
    arp.extend_from_slice(&CLIENT_MAC);
    arp.extend_from_slice(&sender);
    arp.extend_from_slice(&[0; 6]);
    arp.extend_from_slice(&target);
    arp.extend_from_slice(&[0; 18]);
    frames::ethernet([0xff; 6], CLIENT_MAC, 0x0806, &arp)
}

#[test]
fn arp_is_answered_until_the_deadline_and_not_after_it() {
    let mut bench = Bench::open();
    let mut announcements = Announcements::take(&mut bench.loaded);
    let mut deadline = DeadlineCell::take(&mut bench.loaded);
    let vip = AnnouncedKey {
        ifindex: IFINDEX,
        address: address("10.10.200.1"),
    };
    announcements
        .replace(&BTreeMap::from([(vip, OWN_MAC)]))
        .unwrap();
    let request = arp_request([10, 10, 200, 100], [10, 10, 200, 1]);
    assert_eq!(bench.xdp(&request).0, XDP_DROP, "no right yet");
    deadline
        .set(clock::boottime() + Duration::from_millis(200))
        .unwrap();
    let (code, out) = bench.xdp(&request);
    assert_eq!(code, XDP_TX);
    assert_eq!(out[0..6], CLIENT_MAC);
    assert_eq!(out[6..12], OWN_MAC);
    assert_eq!(out[20..22], [0, 2]);
    assert_eq!(out[22..28], OWN_MAC);
    assert_eq!(out[28..32], [10, 10, 200, 1]);
    assert_eq!(out[32..42], request[22..32]);
    assert_eq!(
        announcements.answers()[&(IFINDEX, address("10.10.200.1"))],
        1
    );
    let other = arp_request([10, 10, 200, 100], [10, 10, 200, 2]);
    assert_eq!(bench.xdp(&other), (XDP_PASS, other));
    let gratuitous = arp_request([10, 10, 200, 1], [10, 10, 200, 1]);
    assert_eq!(bench.xdp(&gratuitous), (XDP_PASS, gratuitous));
    let since = Instant::now();
    while bench.xdp(&request).0 == XDP_TX {
        assert!(
            since.elapsed() < Duration::from_secs(2),
            "the deadline never came"
        );
    }
    assert_eq!(bench.xdp(&request).0, XDP_DROP);
}

fn solicitation(source: &str, target: &str, options: &[u8]) -> Vec<u8> {
    let IpAddr::V6(v6) = ip(target) else {
        panic!("IPv6")
    };
    let mut rest = vec![0; 4];
    rest.extend_from_slice(&v6.octets());
    rest.extend_from_slice(options);
    let group = format!(
        "ff02::1:ff{:02x}:{:02x}{:02x}",
        v6.octets()[13],
        v6.octets()[14],
        v6.octets()[15]
    );
    let mut frame = frames::icmp(source, &group, 135, 0, &rest);
    frame[0..6].copy_from_slice(&[
        0x33,
        0x33,
        0xff,
        v6.octets()[13],
        v6.octets()[14],
        v6.octets()[15],
    ]);
    frame[21] = 255;
    frame
}

#[test]
fn solicitations_are_answered_with_an_advertisement_that_checks() {
    let mut bench = Bench::open();
    let mut announcements = Announcements::take(&mut bench.loaded);
    let mut deadline = DeadlineCell::take(&mut bench.loaded);
    let target = "fd00:10:200::1:1";
    let vip = AnnouncedKey {
        ifindex: IFINDEX,
        address: address(target),
    };
    announcements
        .replace(&BTreeMap::from([(vip, OWN_MAC)]))
        .unwrap();
    deadline
        .set(clock::boottime() + Duration::from_secs(60))
        .unwrap();
    let option = [1, 1, 2, 0, 0, 0, 0, 9];
    let nonce = [14, 1, 1, 2, 3, 4, 5, 6];
    let long: Vec<u8> = option.iter().chain(&nonce).copied().collect();
    for program in ["xdp_uplink", "tc_uplink"] {
        for options in [&option[..], &long[..], &[]] {
            let ask = solicitation("fd00:10:200::100", target, options);
            let result = bench.loaded.test_run(program, &ask, 1).unwrap();
            let read = frames::read(&result.frame);
            assert_eq!(
                (read.source, read.destination),
                (ip(target), ip("fd00:10:200::100"))
            );
            assert_eq!(read.destination_mac, CLIENT_MAC);
            assert_eq!(read.l4[0], 136);
            assert_eq!(read.l4[4], 0x60, "solicited and override");
            assert_eq!(read.l4[24..], [2, 1, 2, 0, 0, 0, 0, 1]);
            assert_eq!(result.frame[21], 255, "hop limit");
        }
    }
    let probe = solicitation("::", target, &[]);
    let (code, out) = bench.xdp(&probe);
    assert_eq!(code, XDP_TX);
    let read = frames::read(&out);
    assert_eq!(read.destination, ip("ff02::1"));
    assert_eq!(read.l4[4], 0x20, "override, not solicited");
    let mut routed = solicitation("fd00:10:200::100", target, &option);
    routed[21] = 254;
    assert_eq!(bench.xdp(&routed).0, XDP_PASS, "crossed a router");
}

#[test]
fn probes_are_echoed_to_their_sender() {
    let mut bench = Bench::open();
    let mut payload = vec![0x10, 1, 0, 0];
    payload.extend_from_slice(&[7; 16]);
    payload.extend_from_slice(&[0; 26]);
    let (code, out) = bench.xdp(&frames::ethernet(OWN_MAC, PEER_MAC, 0x88b5, &payload));
    assert_eq!(code, XDP_TX);
    assert_eq!(out[0..6], PEER_MAC);
    assert_eq!(out[14], 0x11);
    assert_eq!(out[18..34], [7; 16]);
}

#[test]
fn a_closed_connections_port_can_be_used_again_at_once() {
    let mut bench = Bench::open();
    let (vip, client, here, _) = FAMILIES[0];
    let before = spec(bench.peer, &[endpoint(here, 80)], &[]);
    bench.put(vip, 80, TCP, &before);
    bench.xdp(&frames::tcp((client, 40_000), (vip, 80), SYN, b""));
    bench.xdp(&frames::tcp((client, 40_000), (vip, 80), FIN | ACK, b""));
    let after = spec(bench.peer, &[endpoint("10.244.1.9", 80)], &[]);
    bench.put(vip, 80, TCP, &after);
    let (_, out) = bench.xdp(&frames::tcp((client, 40_000), (vip, 80), SYN, b""));
    assert_eq!(frames::read(&out).destination, ip("10.244.1.9"));
}

#[test]
fn a_full_flow_table_refuses_new_connections_and_keeps_old_ones() {
    let options = landfall_ebpf::loader::Options {
        max_connections: 64,
        ..Default::default()
    };
    let mut bench = Bench::with(options);
    let counters = Counters::take(&mut bench.loaded);
    let (vip, client, here, _) = FAMILIES[0];
    let specification = spec(bench.peer, &[endpoint(here, 80)], &[]);
    bench.put(vip, 80, TCP, &specification);
    let codes: Vec<u32> = (40_000..40_128)
        .map(|port| {
            bench
                .xdp(&frames::tcp((client, port), (vip, 80), SYN, b""))
                .0
        })
        .collect();
    assert!(counters.get(Counter::DroppedFlowTableFull) > 0);
    for (offset, code) in codes.iter().enumerate() {
        let frame = frames::tcp((client, 40_000 + offset as u16), (vip, 80), ACK, b"x");
        if *code == XDP_PASS {
            assert_eq!(
                frames::read(&bench.xdp(&frame).1).destination,
                ip(here),
                "an old one goes on"
            );
        }
    }
}

#[test]
fn collection_takes_flows_of_endpoints_that_are_gone_and_no_others() {
    let mut bench = Bench::open();
    let mut conntrack = Conntrack::take(&mut bench.loaded, TimeOuts::default()).unwrap();
    let (vip, client, here, _) = FAMILIES[0];
    let gone = "10.244.1.7";
    for (vip, backend) in [(vip, here), ("10.10.200.2", gone)] {
        let specification = spec(bench.peer, &[endpoint(backend, 80)], &[]);
        bench.put(vip, 80, TCP, &specification);
        for port in 40_000..40_100 {
            bench.xdp(&frames::tcp((client, port), (vip, 80), SYN, b""));
        }
    }
    assert_eq!(conntrack.list().unwrap().len(), 200);
    let live = [(address(here), endpoint(here, 80).1, TCP)].into();
    let collected = conntrack.collect(Some(&live)).unwrap();
    assert_eq!(
        (collected.kept, collected.orphaned, collected.expired),
        (100, 100, 0)
    );
    assert!(
        conntrack
            .list()
            .unwrap()
            .iter()
            .all(|flow| flow.flow.backend == address(here))
    );
}

#[test]
fn a_successor_takes_over_pinned_maps_and_their_flows() {
    let (vip, client, here, _) = FAMILIES[0];
    let mut first = Bench::open();
    let specification = spec(first.peer, &[endpoint(here, 80)], &[]);
    first.put(vip, 80, TCP, &specification);
    first.xdp(&frames::tcp((client, 40_000), (vip, 80), SYN, b""));
    let Bench { loaded, bpffs, .. } = first;
    drop(loaded);
    let options = support::options(&bpffs.path);
    let mut second = Bench::on(bpffs, options);
    let frame = frames::tcp((client, 40_000), (vip, 80), ACK, b"x");
    assert_eq!(
        frames::read(&second.xdp(&frame).1).destination,
        ip(here),
        "before anything is planned"
    );
    let changed = spec(second.peer, &[endpoint("10.244.1.9", 80)], &[]);
    second.put(vip, 80, TCP, &changed);
    second.frontends.settle(Instant::now()).unwrap();
    assert_eq!(
        frames::read(&second.xdp(&frame).1).destination,
        ip(here),
        "after it"
    );
    let new = frames::tcp((client, 40_001), (vip, 80), SYN, b"");
    assert_eq!(
        frames::read(&second.xdp(&new).1).destination,
        ip("10.244.1.9")
    );
}

#[test]
fn what_an_earlier_daemon_left_is_swept_when_the_new_one_has_settled() {
    let (vip, client, here, _) = FAMILIES[0];
    let mut first = Bench::open();
    let specification = spec(first.peer, &[endpoint(here, 80)], &[]);
    first.put(vip, 80, TCP, &specification);
    let Bench { loaded, bpffs, .. } = first;
    drop(loaded);
    let options = support::options(&bpffs.path);
    let mut second = Bench::on(bpffs, options);
    second.frontends.settle(Instant::now()).unwrap();
    let frame = frames::tcp((client, 40_000), (vip, 80), SYN, b"");
    assert_eq!(second.xdp(&frame), (XDP_PASS, frame));
}

#[test]
fn one_frontend_more_than_the_map_holds_is_refused_and_the_rest_works() {
    let options = landfall_ebpf::loader::Options {
        max_frontends: 8,
        ..Default::default()
    };
    let mut bench = Bench::with(options);
    let (_, client, here, _) = FAMILIES[0];
    let specification = spec(bench.peer, &[endpoint(here, 80)], &[]);
    let results: Vec<bool> = (1..=6)
        .map(|host| {
            let key = support::key(&format!("10.10.200.{host}"), 80, TCP);
            bench
                .frontends
                .put(key, &specification, Instant::now())
                .is_ok()
        })
        .collect();
    assert_eq!(results, [true, true, true, true, false, false]);
    let (code, _) = bench.xdp(&frames::tcp(
        (client, 40_000),
        ("10.10.200.4", 80),
        SYN,
        b"",
    ));
    assert_eq!(code, XDP_PASS);
}

#[test]
fn endpoints_share_connections_within_ten_percent_of_even() {
    let mut bench = Bench::open();
    let (vip, client, ..) = FAMILIES[0];
    let local: Vec<_> = (2..5)
        .map(|host| endpoint(&format!("10.244.1.{host}"), 80))
        .collect();
    let specification = spec(
        bench.peer,
        &local,
        &[endpoint("10.244.2.2", 80), endpoint("10.244.2.3", 80)],
    );
    bench.put(vip, 80, TCP, &specification);
    let mut shares: BTreeMap<String, u32> = BTreeMap::new();
    for port in 1..=20_000_u16 {
        let (code, out) = bench.xdp(&frames::tcp((client, port), (vip, 80), SYN, b""));
        let taker = if code == XDP_TX {
            "peer".to_owned()
        } else {
            frames::read(&out).destination.to_string()
        };
        *shares.entry(taker).or_default() += 1;
    }
    assert!(
        (f64::from(shares["peer"]) / 8000.0 - 1.0).abs() < 0.1,
        "{shares:?}"
    );
    for host in 2..5 {
        assert!(
            (f64::from(shares[&format!("10.244.1.{host}")]) / 4000.0 - 1.0).abs() < 0.1,
            "{shares:?}"
        );
    }
}
