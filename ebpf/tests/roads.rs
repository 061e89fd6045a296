//! Road probes: a packet such as a client's goes to another node and back.

mod support;

use support::*;

const XDP_PASS: u32 = 2;
const XDP_TX: u32 = 3;

/// The client of probes, and a virtual address, by family.
const FAMILIES: [(&str, &str); 2] = [
    ("198.18.136.181", "10.10.200.5"),
    ("2001:2:0:88b5::1", "fd00:10:200::5"),
];

/// The payload of a probe.
fn probe() -> Vec<u8> {
    let mut payload = vec![0x12, 1, 0, 0];
    payload.extend_from_slice(&[7; 16]);
    payload
}

/// A probe from one end to the other, in a frame from a peer.
fn from_peer(from: &str, to: &str) -> Vec<u8> {
    let mut frame = frames::udp((from, 9), (to, 9), &probe());
    frame[6..12].copy_from_slice(&PEER_MAC);
    frame
}

#[test]
fn a_road_probe_goes_back_as_an_answer_to_the_client_does() {
    let mut bench = Bench::open();
    for (client, vip) in FAMILIES {
        let (code, out) = bench.xdp(&from_peer(client, vip));
        assert_eq!(code, XDP_TX, "{client}");
        assert_eq!((&out[0..6], &out[6..12]), (&PEER_MAC[..], &OWN_MAC[..]));
        // Reading it checks all sums.
        let read = frames::read(&out);
        assert_eq!(
            (read.source, read.destination),
            (vip.parse().unwrap(), client.parse().unwrap())
        );
    }
}

#[test]
fn a_road_probe_that_has_come_back_goes_up_to_the_agent_alone() {
    let mut bench = Bench::open();
    for ((client, vip), family) in FAMILIES.into_iter().zip([4, 6]) {
        let (code, out) = bench.xdp(&from_peer(vip, client));
        assert_eq!(code, XDP_PASS, "{client}");
        assert_eq!(out[12..14], [0x88, 0xb5], "no IP packet for the stack");
        assert_eq!(out[14..18], [0x13, 1, family, 0]);
        assert_eq!(out[18..34], [7; 16]);
    }
}

#[test]
fn what_is_cut_short_or_for_another_station_is_not_answered() {
    let mut bench = Bench::open();
    for (client, vip) in FAMILIES {
        let mut other = from_peer(client, vip);
        other[5] ^= 1;
        assert_eq!(bench.xdp(&other), (XDP_PASS, other.clone()));
        let whole = from_peer(client, vip);
        let short = &whole[..whole.len() - 1];
        assert_ne!(bench.xdp(short).0, XDP_TX, "{client}");
    }
}
