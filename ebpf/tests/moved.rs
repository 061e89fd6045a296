//! Flows that no longer match the tables, on the real programs by BPF_PROG_TEST_RUN. Needs root.
//!
//! Two to four nodes are as many loaded data paths, each with maps of its own; what one sends to another's Ethernet address
//! is given to that one's program. So whole journeys are run, whatever each node believes.

mod support;

use std::collections::HashMap;
use std::time::Instant;

use landfall_ebpf::abi::flow::FlowKey;
use landfall_ebpf::abi::node::Interface;
use landfall_ebpf::frontends::{Frontends, NodeShare, Spec};
use landfall_ebpf::loader::Loaded;
use landfall_ebpf::maglev;
use landfall_ebpf::peers::{Peers, Reach};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use support::frames::{self, ACK, SYN, TCP, UDP};
use support::{Bpffs, CLIENT_MAC, IFINDEX, address, endpoint, key, options};

const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
const XDP_TX: u32 = 3;

const VIP: &str = "10.10.200.1";
const CLIENT: &str = "10.10.200.100";

/// EtherTypes in the order in which a packet may come to have them.
const IPV4: u16 = 0x0800;
const ASKED: u16 = 0x88b6;
const PASSED_ON: u16 = 0x88b5;

/// One node of a LAN.
struct Machine {
    loaded: Loaded,
    frontends: Frontends,
    /// Indexes under which it knows each node; 0 is itself.
    indexes: Vec<u16>,
    _bpffs: Bpffs,
}

fn mac(node: usize) -> [u8; 6] {
    [2, 0, 0, 0, 0, 0x10 + node as u8]
}

fn name(node: usize) -> String {
    format!("node{node}")
}

/// Nodes that know each other's Ethernet addresses.
struct Lan(Vec<Machine>);

/// Where a packet's journey ended, and the EtherTypes it had on the way between nodes.
#[derive(Debug, PartialEq, Eq)]
struct Journey {
    end: usize,
    code: u32,
    hops: Vec<(usize, u16)>,
}

impl Lan {
    fn of(nodes: usize) -> Self {
        let machine = |own: usize| {
            let bpffs = Bpffs::mount();
            let mut loaded = Loaded::open(&options(&bpffs.path)).unwrap();
            let frontends = Frontends::take(&mut loaded).unwrap();
            let mut peers = Peers::take(&mut loaded).unwrap();
            let interface = Interface {
                ifindex: IFINDEX,
                mac: mac(own),
                ..Interface::default()
            };
            peers.set_interface(interface).unwrap();
            let mut macs = HashMap::new();
            let mut index = |other: usize| {
                if other == own {
                    return 0;
                }
                let reach = Reach::L2Dsr {
                    mac: mac(other),
                    own_mac: mac(own),
                    ifindex: IFINDEX,
                };
                let index = peers.index(&name(other), reach).unwrap();
                macs.insert(mac(other), u32::from(index));
                index
            };
            let indexes = (0..nodes).map(&mut index).collect();
            peers.set_macs(&macs).unwrap();
            Machine {
                loaded,
                frontends,
                indexes,
                _bpffs: bpffs,
            }
        };
        Self((0..nodes).map(machine).collect())
    }

    /// Has `node` believe that each of the nodes has so many endpoints.
    fn put(&mut self, node: usize, shares: &[usize]) {
        let machine = &mut self.0[node];
        let nodes = shares.iter().enumerate().map(|(other, count)| NodeShare {
            index: machine.indexes[other],
            identity: maglev::identity(name(other).as_bytes()),
            snat: false,
            endpoints: (0..*count)
                .map(|pod| endpoint(&format!("10.244.{other}.{}", pod + 2), 8080))
                .collect(),
        });
        let spec = Spec {
            external: true,
            owns_address: true,
            affinity_s: 0,
            source_ranges: Vec::new(),
            nodes: nodes.collect(),
            others: Vec::new(),
            draining: Vec::new(),
        };
        for protocol in [TCP, UDP] {
            let key = key(VIP, 80, protocol);
            machine.frontends.put(key, &spec, Instant::now()).unwrap();
        }
    }

    fn put_all(&mut self, shares: &[usize]) {
        (0..self.0.len()).for_each(|node| self.put(node, shares));
    }

    /// Has `node` believe that `keeper` keeps a flow.
    fn keep(&mut self, node: usize, flow: &FlowKey, keeper: usize) {
        let machine = &mut self.0[node];
        let index = machine.indexes[keeper];
        assert!(machine.frontends.keep_flow(flow, index).unwrap());
    }

    /// Gives a client's frame to `node`, and what comes of it to whom it is for.
    fn travel(&mut self, node: usize, frame: &[u8]) -> Journey {
        let mut frame = frame.to_vec();
        frame[0..6].copy_from_slice(&mac(node));
        frame[6..12].copy_from_slice(&CLIENT_MAC);
        let mut journey = Journey {
            end: node,
            code: 0,
            hops: Vec::new(),
        };
        loop {
            let machine = &mut self.0[journey.end];
            let result = machine.loaded.test_run("xdp_uplink", &frame, 1).unwrap();
            journey.code = result.code;
            let next = (0..self.0.len()).find(|node| result.frame[0..6] == mac(*node));
            // An answer, such as a reset, goes back the way that the packet came, and is another packet.
            let answer = result.frame[30..34] != [10, 10, 200, 1];
            let (XDP_TX, Some(next), false) = (result.code, next, answer) else {
                return journey;
            };
            let ethertype = u16::from_be_bytes([result.frame[12], result.frame[13]]);
            journey.hops.push((next, ethertype));
            journey.end = next;
            frame = result.frame;
            assert!(journey.hops.len() < 10, "it circles: {journey:?}");
        }
    }
}

fn flow(port: u16, protocol: u8) -> FlowKey {
    let ports = u32::from_ne_bytes({
        let ([a, b], [c, d]) = (port.to_be_bytes(), 80_u16.to_be_bytes());
        [a, b, c, d]
    });
    FlowKey::new(address(CLIENT), address(VIP), ports, protocol)
}

fn syn(port: u16) -> Vec<u8> {
    frames::tcp((CLIENT, port), (VIP, 80), SYN, b"")
}

fn ack(port: u16) -> Vec<u8> {
    frames::tcp((CLIENT, port), (VIP, 80), ACK, b"x")
}

fn datagram(port: u16) -> Vec<u8> {
    frames::udp((CLIENT, port), (VIP, 80), b"x")
}

/// What one node believes: two tables one after the other, whether it waits for others, and who keeps the flows.
type Belief = (Vec<usize>, Vec<usize>, bool, [Option<usize>; 2]);

fn belief(nodes: usize) -> impl Strategy<Value = Belief> {
    let shares = || prop::collection::vec(0_usize..3, nodes);
    let keeper = || prop::option::of(0..nodes);
    (shares(), shares(), any::<bool>(), [keeper(), keeper()])
}

#[test]
fn no_packet_crosses_more_than_two_hops_whatever_the_nodes_believe() {
    let mut port = 10_000;
    for nodes in 2..=4 {
        let mut lan = Lan::of(nodes);
        let beliefs = prop::collection::vec(belief(nodes), nodes);
        let case = (beliefs, prop::collection::vec(0..nodes, 3));
        let mut runner = TestRunner::new(Config {
            failure_persistence: None,
            ..Config::with_cases(80)
        });
        let mut longest = 0;
        let lan = std::cell::RefCell::new(&mut lan);
        let counters = std::cell::RefCell::new((&mut port, &mut longest));
        runner
            .run(&case, |(beliefs, begun_at)| {
                let (mut lan, mut counters) = (lan.borrow_mut(), counters.borrow_mut());
                *counters.0 += 8;
                let port = *counters.0;
                let flows = [
                    (flow(port, TCP), ack(port)),
                    (flow(port, UDP), datagram(port)),
                ];
                // Some know the flows: each node in turn chooses itself, and begins them.
                for node in begun_at {
                    let own: Vec<usize> =
                        (0..nodes).map(|other| usize::from(other == node)).collect();
                    lan.put(node, &own);
                    lan.travel(node, &syn(port));
                    lan.travel(node, &datagram(port));
                }
                for (node, (before, now, told, keepers)) in beliefs.iter().enumerate() {
                    lan.0[node].frontends.expect_telling(*told);
                    lan.put(node, before);
                    lan.put(node, now);
                    for ((flow, _), keeper) in flows.iter().zip(keepers) {
                        if let Some(keeper) = keeper {
                            lan.keep(node, flow, *keeper);
                        }
                    }
                }
                for start in 0..nodes {
                    for frame in [
                        &flows[0].1,
                        &flows[1].1,
                        &syn(port + 1),
                        &ack(port + 2),
                        &datagram(port + 3),
                    ] {
                        let journey = lan.travel(start, frame);
                        prop_assert!(journey.hops.len() <= 2, "{journey:?}");
                        let marks: Vec<u16> = journey
                            .hops
                            .iter()
                            .map(|(_, ethertype)| *ethertype)
                            .collect();
                        // A second hop is the last one, and says so.
                        prop_assert!(marks.len() < 2 || marks[1] == PASSED_ON, "{journey:?}");
                        *counters.1 = (*counters.1).max(journey.hops.len());
                    }
                }
                for (flow, _) in &flows {
                    for machine in &mut lan.0 {
                        machine.frontends.forget_flow(flow).unwrap();
                    }
                }
                Ok(())
            })
            .unwrap();
        // Two nodes have no third to send to; among more, two hops were seen, or the test has not looked.
        assert_eq!(longest, 2, "{nodes} nodes");
    }
}

#[test]
fn a_packet_goes_to_the_node_that_keeps_its_flow_and_a_syn_by_the_tables() {
    let mut lan = Lan::of(3);
    lan.put_all(&[0, 1, 0]);
    assert_eq!(lan.travel(1, &syn(4000)).code, XDP_PASS);
    // Another node's turn; the flow stays where it is.
    lan.put_all(&[0, 0, 1]);
    lan.keep(0, &flow(4000, TCP), 1);
    let journey = lan.travel(0, &ack(4000));
    assert_eq!(
        (journey.end, journey.code, &journey.hops[..]),
        (1, XDP_PASS, &[(1, ASKED)][..])
    );
    // Another connection from the same port is the tables' choice's, and what follows is, too.
    for frame in [syn(4000), ack(4000)] {
        let journey = lan.travel(0, &frame);
        assert_eq!(
            (journey.end, journey.code, &journey.hops[..]),
            (2, XDP_PASS, &[(2, IPV4)][..])
        );
    }
}

#[test]
fn an_entry_left_over_does_not_keep_a_flow_from_the_node_that_knows_it() {
    let mut lan = Lan::of(3);
    lan.put_all(&[0, 0, 1]);
    for (protocol, first, next) in [
        (TCP, syn(4000), ack(4000)),
        (UDP, datagram(4000), datagram(4000)),
    ] {
        assert_eq!(lan.travel(0, &first).end, 2);
        // A node that has never heard of the flow, or has forgotten it, is said to keep it.
        lan.keep(0, &flow(4000, protocol), 1);
        let journey = lan.travel(0, &next);
        assert_eq!((journey.end, journey.code), (2, XDP_PASS));
        assert_eq!(journey.hops, [(1, ASKED), (2, PASSED_ON)]);
        lan.keep(0, &flow(4000, protocol), 0);
        assert_eq!(
            lan.travel(0, &next).hops,
            [(2, IPV4)],
            "said of the node itself"
        );
    }
}

#[test]
fn while_nodes_have_yet_to_tell_the_last_settled_table_is_asked_and_no_connection_reset() {
    let mut lan = Lan::of(3);
    lan.put_all(&[0, 1, 0]);
    assert_eq!(lan.travel(0, &syn(4000)).end, 1);
    lan.0
        .iter_mut()
        .for_each(|machine| machine.frontends.expect_telling(true));
    // Several changes in a row: one table before would say node 0.
    for shares in [[0, 0, 1], [1, 0, 0], [0, 0, 2], [2, 0, 0], [0, 0, 1]] {
        lan.put_all(&shares);
        let journey = lan.travel(0, &ack(4000));
        assert_eq!((journey.end, journey.code), (1, XDP_PASS), "{journey:?}");
    }
    // A connection that nobody knows: its sender is to try again.
    let journey = lan.travel(0, &ack(4001));
    assert_eq!((journey.end, journey.code), (1, XDP_DROP));
    // All is told: nothing but the present table counts, and what it does not know begins or is refused there.
    for machine in &mut lan.0 {
        let change = machine.frontends.last_change();
        machine
            .frontends
            .settle_told(change, Instant::now())
            .unwrap();
        assert!(!machine.frontends.is_unsettled());
    }
    let journey = lan.travel(0, &ack(4001));
    assert_eq!((journey.end, journey.code), (2, XDP_PASS));
    let journey = lan.travel(0, &datagram(4002));
    assert_eq!(
        (journey.end, &journey.hops[..]),
        (2, &[(2, IPV4)][..]),
        "a new flow goes by the present table"
    );
}

#[test]
fn nodes_that_do_not_tell_in_time_are_not_waited_for_and_the_previous_table_stays() {
    let mut lan = Lan::of(2);
    lan.put_all(&[0, 1]);
    assert_eq!(lan.travel(0, &syn(4000)).end, 1);
    lan.0
        .iter_mut()
        .for_each(|machine| machine.frontends.expect_telling(true));
    lan.put_all(&[1, 0]);
    for machine in &mut lan.0 {
        assert_eq!(machine.frontends.settle_untold(Instant::now()).unwrap(), 2);
    }
    assert_eq!(lan.travel(0, &ack(4000)).end, 1, "by the previous table");
    // A connection that nobody knows is reset.
    let journey = lan.travel(1, &ack(4001));
    assert_eq!((journey.end, journey.code), (1, XDP_TX));
    assert_eq!(journey.hops, [(0, IPV4), (1, PASSED_ON)]);
}

#[test]
fn a_successor_finds_who_keeps_which_flow() {
    let bpffs = Bpffs::mount();
    let key = flow(4000, TCP);
    let open = || Frontends::take(&mut Loaded::open(&options(&bpffs.path)).unwrap()).unwrap();
    assert!(open().keep_flow(&key, 3).unwrap());
    let mut successor = open();
    assert_eq!(successor.kept_flows().get(&key), Some(&3));
    successor.forget_flow(&key).unwrap();
    assert!(open().kept_flows().is_empty());
}
