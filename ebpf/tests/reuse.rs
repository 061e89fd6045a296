//! A client uses a port again that one of its earlier connections had. Needs root.

mod support;

use std::net::IpAddr;

use landfall_ebpf::conntrack::{Conntrack, FlowState, TimeOuts};
use support::frames::{self, ACK, FIN, RST, Read, SYN, TCP};
use support::{Bench, address, endpoint, spec};

const XDP_PASS: u32 = 2;

const VIP: &str = "10.10.200.1";
const CLIENT: (&str, u16) = ("10.10.200.100", 40_000);
const POD: &str = "10.244.1.2";
const OTHER_POD: &str = "10.244.1.3";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A data path whose only endpoint is `POD`.
fn served_by_one_pod() -> Bench {
    let mut bench = Bench::open();
    serve_by(&mut bench, POD);
    bench
}

fn serve_by(bench: &mut Bench, pod: &str) {
    let specification = spec(bench.peer, &[endpoint(pod, 80)], &[]);
    bench.put(VIP, 80, TCP, &specification);
}

/// What becomes of a packet of the client's to `destination`.
fn asks(bench: &mut Bench, destination: &str, flags: u8) -> Read {
    let (code, frame) = bench.xdp(&frames::tcp(CLIENT, (destination, 80), flags, b""));
    assert_eq!(code, XDP_PASS);
    frames::read(&frame)
}

/// Whom the client believes a packet of `POD`'s to be from.
fn is_answered(bench: &mut Bench, flags: u8) -> IpAddr {
    let frame = frames::tcp((POD, 80), CLIENT, flags, b"");
    let restored = bench.loaded.test_run("tc_restore", &frame, 1).unwrap();
    let read = frames::read(&restored.frame);
    assert_eq!((read.destination, read.ports().1), (ip(CLIENT.0), CLIENT.1));
    read.source
}

/// Opens a connection through the VIP.
fn connect(bench: &mut Bench) {
    assert_eq!(asks(bench, VIP, SYN).destination, ip(POD));
    assert_eq!(is_answered(bench, SYN | ACK), ip(VIP));
    asks(bench, VIP, ACK);
}

#[test]
fn a_connection_straight_to_an_endpoint_gets_its_own_answers_after_one_through_a_vip() {
    for (ends_of_client, ends_of_pod) in [(FIN | ACK, FIN | ACK), (RST, ACK), (ACK, RST)] {
        let mut bench = served_by_one_pod();
        connect(&mut bench);
        asks(&mut bench, VIP, ends_of_client);
        assert_eq!(is_answered(&mut bench, ends_of_pod), ip(VIP));
        assert_eq!(asks(&mut bench, POD, SYN).destination, ip(POD));
        assert_eq!(is_answered(&mut bench, SYN | ACK), ip(POD));
        asks(&mut bench, POD, ACK);
        assert_eq!(is_answered(&mut bench, ACK), ip(POD));
        let conntrack = Conntrack::take(&mut bench.loaded, TimeOuts::default()).unwrap();
        let listed = conntrack.list().unwrap();
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0].state(), FlowState::Closed);
    }
}

#[test]
fn a_connection_through_a_vip_gets_the_vips_answers_after_one_straight_to_the_endpoint() {
    let mut bench = served_by_one_pod();
    for _ in 0..3 {
        connect(&mut bench);
        asks(&mut bench, VIP, FIN | ACK);
        is_answered(&mut bench, FIN | ACK);
        asks(&mut bench, POD, SYN);
        assert_eq!(is_answered(&mut bench, SYN | ACK), ip(POD));
    }
}

#[test]
fn a_live_connection_through_a_vip_keeps_its_answers_whatever_is_sent_straight_to_its_endpoint() {
    let mut bench = served_by_one_pod();
    connect(&mut bench);
    asks(&mut bench, POD, SYN);
    assert_eq!(is_answered(&mut bench, ACK), ip(VIP));
    // One side's end is no end: the other may go on for long.
    asks(&mut bench, VIP, FIN | ACK);
    asks(&mut bench, POD, SYN);
    assert_eq!(is_answered(&mut bench, ACK), ip(VIP));
    // A client that has forgotten the connection resets it when that answer comes, and then asks again.
    asks(&mut bench, VIP, RST);
    asks(&mut bench, POD, SYN);
    assert_eq!(is_answered(&mut bench, SYN | ACK), ip(POD));
}

#[test]
fn after_an_endpoint_has_refused_or_closed_the_next_connection_is_free_to_go_elsewhere() {
    for flags in [RST | ACK, FIN | ACK] {
        let mut bench = served_by_one_pod();
        asks(&mut bench, VIP, SYN);
        assert_eq!(is_answered(&mut bench, flags), ip(VIP));
        serve_by(&mut bench, OTHER_POD);
        assert_eq!(asks(&mut bench, VIP, SYN).destination, ip(OTHER_POD));
    }
}

#[test]
fn a_syn_sent_again_goes_where_the_first_one_went() {
    let mut bench = served_by_one_pod();
    asks(&mut bench, VIP, SYN);
    serve_by(&mut bench, OTHER_POD);
    assert_eq!(asks(&mut bench, VIP, SYN).destination, ip(POD));
    is_answered(&mut bench, SYN | ACK);
    assert_eq!(asks(&mut bench, VIP, SYN).destination, ip(POD));
    let conntrack = Conntrack::take(&mut bench.loaded, TimeOuts::default()).unwrap();
    let listed = conntrack.list().unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].flow.backend, address(POD));
}
