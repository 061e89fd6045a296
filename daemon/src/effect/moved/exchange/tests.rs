//! Exchanges of several nodes over a wire that loses, doubles and holds up frames, on a clock of the test's own.

use std::collections::BTreeSet;

use landfall_ebpf::abi::{Address, PortNumber};
use proptest::prelude::*;

use super::super::codec::{Item, Stream};
use super::*;

fn node(number: usize) -> NodeName {
    NodeName::new(format!("node{number}"))
}

fn flow(port: u16) -> FlowKey {
    FlowKey {
        client: Address::from(std::net::IpAddr::from([10, 0, 0, 1])),
        frontend: Address::from(std::net::IpAddr::from([10, 0, 0, 2])),
        client_port: PortNumber::new(port),
        frontend_port: PortNumber::new(80),
        protocol: 6,
        zero: [0; 3],
    }
}

fn nobody(_: &NodeName) -> bool {
    false
}

/// Nodes, what the kernel of each holds, and frames under way.
struct Lan {
    exchanges: Vec<Exchange>,
    kernels: Vec<BTreeMap<u16, Option<NodeName>>>,
    under_way: Vec<(NodeName, Outbound)>,
    now: Instant,
}

impl Lan {
    fn of(nodes: usize) -> Self {
        let now = Instant::now();
        let mut lan = Self {
            exchanges: Vec::new(),
            kernels: vec![BTreeMap::new(); nodes],
            under_way: Vec::new(),
            now,
        };
        for number in 0..nodes {
            lan.exchanges.push(lan.process(number, nodes, 1));
        }
        lan
    }

    fn process(&self, number: usize, nodes: usize, process: u64) -> Exchange {
        let mut exchange = Exchange::new(&node(number), Process(process), Seal::default());
        let others = (0..nodes).filter(|other| *other != number);
        let peers = others.map(|other| (node(other), 200)).collect();
        exchange.set_peers(&peers, self.now, &mut Vec::new());
        exchange
    }

    fn note(&mut self, number: usize, entries: Vec<Entry>) {
        for entry in entries {
            match entry {
                Entry::Kept(key, keeper) => {
                    self.kernels[number].insert(key.client_port.get(), keeper)
                }
                Entry::Nobody(key) => self.kernels[number].remove(&key.client_port.get()),
            };
        }
    }

    fn own(&mut self, number: usize, ports: impl IntoIterator<Item = u16>, again: bool) {
        let mut out = Vec::new();
        let found = ports.into_iter().map(flow).collect();
        self.exchanges[number].set_own(found, again, &mut out);
        self.note(number, out);
    }

    /// Lets time pass in steps of 5 ms; `fate` decides of each frame: lost, held up, doubled, or none of these.
    fn pass(&mut self, steps: usize, mut fate: impl FnMut() -> u8) {
        for _ in 0..steps {
            self.now += Duration::from_millis(5);
            for (from, frame) in std::mem::take(&mut self.under_way) {
                match fate() {
                    0 => continue,
                    1 => {
                        self.under_way.push((from, frame));
                        continue;
                    }
                    2 => self.under_way.push((from.clone(), frame.clone())),
                    _ => {}
                }
                let to = (0..self.exchanges.len()).find(|number| node(*number) == frame.to);
                let to = to.expect("a node");
                let mut out = Vec::new();
                self.exchanges[to].receive(&from, &frame.payload, self.now, &mut out);
                self.note(to, out);
            }
            for number in 0..self.exchanges.len() {
                let mut out = Vec::new();
                let frames = self.exchanges[number].poll(&nobody, self.now, &mut out);
                self.note(number, out);
                self.under_way
                    .extend(frames.into_iter().map(|frame| (node(number), frame)));
            }
        }
    }

    fn ports(&self, number: usize) -> BTreeSet<u16> {
        self.kernels[number].keys().copied().collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn all_nodes_come_to_know_who_keeps_what_over_any_wire(
        rounds in prop::collection::vec((0_usize..3, prop::collection::btree_set(0_u16..60, 0..40)), 1..8),
        fates in prop::collection::vec(0_u8..12, 200..400),
        restart in prop::option::of(0_usize..3),
    ) {
        let mut lan = Lan::of(3);
        let mut turn = 0;
        let mut fate = || { turn += 1; fates[turn % fates.len()] };
        // Every node has ports of its own, so that what is to come of it is one thing only.
        let mut own = vec![BTreeSet::new(); 3];
        for (number, ports) in rounds {
            own[number] = ports.into_iter().map(|port| port * 3 + number as u16).collect();
            lan.own(number, own[number].clone(), false);
            lan.pass(20, &mut fate);
        }
        if let Some(number) = restart {
            lan.exchanges[number] = lan.process(number, 3, 2);
            lan.kernels[number].clear();
            lan.exchanges[number].set_tables(Fingerprint(1), Change(1));
            lan.own(number, own[number].clone(), false);
        }
        lan.pass(600, &mut fate);
        lan.pass(400, || 9);
        for (number, ports) in own.iter().enumerate() {
            lan.exchanges[number].set_tables(Fingerprint(2), Change(2));
            lan.own(number, ports.clone(), false);
        }
        lan.pass(200, || 9);
        let all: BTreeSet<u16> = own.iter().flatten().copied().collect();
        for number in 0..3 {
            prop_assert_eq!(&lan.ports(number), &all);
            for (port, keeper) in &lan.kernels[number] {
                let expected = usize::from(port % 3);
                prop_assert_eq!(keeper.clone(), (expected != number).then(|| node(expected)));
            }
        }
    }
}

#[test]
fn tables_settle_when_every_node_has_looked_after_all_went_by_them() {
    let mut lan = Lan::of(3);
    lan.pass(20, || 9);
    let (print, change) = (Fingerprint(7), Change(3));
    for number in 0..2 {
        lan.exchanges[number].set_tables(print, change);
        lan.own(number, [], false);
    }
    lan.pass(20, || 9);
    assert!(
        !lan.exchanges[0].is_to_look_again(&nobody),
        "one goes by other tables still"
    );
    lan.exchanges[2].set_tables(print, Change(9));
    lan.own(2, [5], false);
    lan.pass(20, || 9);
    for number in 0..3 {
        assert!(lan.exchanges[number].is_to_look_again(&nobody));
        assert_eq!(lan.exchanges[number].settled(&nobody), None);
        lan.own(number, (number == 2).then_some(5), true);
    }
    lan.pass(20, || 9);
    assert_eq!(lan.exchanges[0].settled(&nobody), Some(change));
    assert_eq!(lan.exchanges[2].settled(&nobody), Some(Change(9)));
    // The next change begins all anew.
    lan.exchanges[1].set_tables(Fingerprint(8), Change(4));
    lan.own(1, [], false);
    lan.pass(20, || 9);
    assert_eq!(lan.exchanges[0].settled(&nobody), None);
}

#[test]
fn a_dead_nodes_flows_are_forgotten_and_told_again_when_it_is_back() {
    let mut lan = Lan::of(2);
    lan.exchanges[1].set_tables(Fingerprint(1), Change(1));
    lan.pass(20, || 9);
    lan.own(1, [4], false);
    lan.pass(20, || 9);
    assert_eq!(lan.ports(0), [4].into());
    let mut out = Vec::new();
    let dead = |name: &NodeName| *name == node(1);
    lan.exchanges[0].poll(&dead, lan.now, &mut out);
    lan.note(0, out);
    assert_eq!(lan.ports(0), [].into());
    lan.pass(2000, || 9);
    assert_eq!(
        lan.ports(0),
        [4].into(),
        "the same process, from a new beginning"
    );
}

#[test]
fn what_a_silent_agent_told_is_kept_for_ten_minutes() {
    let mut lan = Lan::of(2);
    lan.pass(20, || 9);
    lan.own(1, [4], false);
    lan.pass(20, || 9);
    lan.under_way.clear();
    let mut poll = |after: Duration| {
        let mut out = Vec::new();
        lan.exchanges[0].poll(&nobody, lan.now + after, &mut out);
        out
    };
    assert_eq!(poll(KEPT_SILENT - Duration::from_secs(1)), []);
    assert_eq!(
        poll(KEPT_SILENT + Duration::from_secs(1)),
        [Entry::Nobody(flow(4))]
    );
}

#[test]
fn a_frame_with_another_key_or_for_another_node_is_refused() {
    let mut lan = Lan::of(2);
    let message = |from: usize, to: usize| Message {
        from: identity(&node(from)),
        to: identity(&node(to)),
        process: Process(9),
        heard: Process(1),
        body: Body::Telling {
            generation: 1,
            number: 0,
            items: vec![Item::Keeps(flow(1))],
        },
    };
    let mut out = Vec::new();
    for forged in [message(1, 1), message(0, 0)] {
        let payload = forged.encode(&Seal::default());
        lan.exchanges[0].receive(&node(1), &payload, lan.now, &mut out);
    }
    assert_eq!((out.len(), lan.exchanges[0].refused()), (0, 2));
}

#[test]
fn a_clock_that_went_back_does_not_silence_a_node() {
    let mut lan = Lan::of(2);
    lan.exchanges[1] = lan.process(1, 2, 1_000);
    lan.pass(200, || 9);
    lan.own(1, [1], false);
    lan.pass(20, || 9);
    lan.exchanges[1] = lan.process(1, 2, 5);
    lan.exchanges[1].set_tables(Fingerprint(1), Change(1));
    lan.own(1, [2], false);
    lan.pass(2000, || 9);
    assert_eq!(lan.ports(0), [2].into());
    let stream = Stream {
        process: Process(1_000),
        generation: 0,
    };
    assert!(lan.exchanges[1].process > stream.process);
}
