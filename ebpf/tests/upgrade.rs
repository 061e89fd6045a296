//! Taking over from maps of another layout, with the real programs by BPF_PROG_TEST_RUN. Needs root.

mod support;

use std::collections::HashSet;
use std::net::IpAddr;
use std::path::Path;

use landfall_ebpf::abi::flow::{FLOW_ANSWERED, FLOW_ESTABLISHED, FLOW_FIN, FLOW_SNAT, Mark};
use landfall_ebpf::abi::{PortNumber, map};
use landfall_ebpf::clock;
use landfall_ebpf::conntrack::{Conntrack, FlowState, TimeOuts, TrackedFlow};
use landfall_ebpf::loader::{Loaded, Options};
use landfall_ebpf::pin::Pins;
use support::frames::{self, ACK, SYN, TCP, UDP};
use support::layouts::{CLIENT, OLD_POD, VIP, describe, first, flow, newer};
use support::maps::{PinnedMap, ids};
use support::{Bench, Bpffs, address, endpoint, options, spec};

const XDP_PASS: u32 = 2;
const POD: &str = "10.244.1.2";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// What the flow tables hold, by the client's port.
fn listed(bench: &mut Bench) -> Vec<TrackedFlow> {
    let conntrack = Conntrack::take(&mut bench.loaded, TimeOuts::default()).unwrap();
    let mut listed = conntrack.list().unwrap();
    listed.sort_by_key(|tracked| tracked.key.client_port.get());
    listed
}

fn assert_same(found: &[TrackedFlow], wanted: &[TrackedFlow]) {
    assert_eq!(found.len(), wanted.len());
    for (found, wanted) in found.iter().zip(wanted) {
        assert_eq!(found.key, wanted.key);
        assert_eq!(found.flow, wanted.flow);
        assert_eq!(found.reply, wanted.reply);
    }
}

/// Flows of every kind and age.
fn flows() -> [TrackedFlow; 4] {
    let now = clock::tick();
    let old = now.wrapping_sub(500);
    let mut translated = flow(
        4,
        Mark::new(now, FLOW_SNAT | FLOW_ESTABLISHED),
        Mark::new(now, FLOW_ANSWERED),
    );
    translated.flow.source = address("10.10.200.11");
    translated.flow.source_port = PortNumber::new(61_234);
    [
        flow(
            1,
            Mark::new(now, FLOW_ESTABLISHED),
            Mark::new(now, FLOW_ANSWERED),
        ),
        flow(
            2,
            Mark::new(old, FLOW_FIN | FLOW_ESTABLISHED),
            Mark::new(old, FLOW_FIN | FLOW_ANSWERED),
        ),
        flow(3, Mark::new(now, FLOW_FIN), Mark::new(old, FLOW_ANSWERED)),
        translated,
    ]
}

fn open(bpffs: Bpffs) -> Bench {
    Bench::on(bpffs, options(Path::new("")))
}

#[test]
fn flows_of_layout_1_arrive_with_all_their_fields() {
    let bpffs = Bpffs::mount();
    let tables = first(&bpffs.path);
    let wanted = flows();
    wanted.iter().for_each(|tracked| tables.put(tracked));
    let unanswered = flow(5, Mark::new(clock::tick(), 0), Mark::new(0, 0));
    tables.put(&unanswered);
    let mut bench = open(bpffs);
    let found = listed(&mut bench);
    assert_same(&found[..4], &wanted);
    assert_same(&found[4..], &[unanswered]);
    assert_eq!(found[4].state(), FlowState::Opening);
}

#[test]
fn flows_of_a_newer_layout_arrive_by_its_own_description() {
    let bpffs = Bpffs::mount();
    let tables = newer(&bpffs.path);
    let wanted = flows();
    wanted.iter().for_each(|tracked| tables.put(tracked));
    assert_same(&listed(&mut open(bpffs)), &wanted);
}

#[test]
fn packets_of_a_flow_carried_over_go_where_it_went_and_are_answered_from_there() {
    let bpffs = Bpffs::mount();
    let tables = first(&bpffs.path);
    let now = clock::tick();
    let [begun, answered] = [FLOW_ESTABLISHED, FLOW_ANSWERED].map(|flags| Mark::new(now, flags));
    tables.put(&flow(40_000, begun, answered));
    let mut bench = open(bpffs);
    let mut specification = spec(bench.peer, &[endpoint(POD, 8080)], &[]);
    specification.draining = vec![endpoint(OLD_POD, 8080)];
    bench.put(VIP, 80, TCP, &specification);

    for (port, flags, pod) in [(40_000, ACK, OLD_POD), (40_001, SYN, POD)] {
        let (code, frame) = bench.xdp(&frames::tcp((CLIENT, port), (VIP, 80), flags, b""));
        assert_eq!(
            (code, frames::read(&frame).destination),
            (XDP_PASS, ip(pod))
        );
        let answer = frames::tcp((pod, 8080), (CLIENT, port), ACK, b"");
        let restored = bench.loaded.test_run("tc_restore", &answer, 1).unwrap();
        assert_eq!(frames::read(&restored.frame).source, ip(VIP));
    }
}

#[test]
fn a_flow_whose_time_is_up_is_not_brought_to_life_by_the_way() {
    let bpffs = Bpffs::mount();
    let tables = newer(&bpffs.path);
    flows().iter().for_each(|tracked| tables.put(tracked));
    let mut bench = open(bpffs);
    let mut conntrack = Conntrack::take(&mut bench.loaded, TimeOuts::default()).unwrap();
    let collected = conntrack.collect(None).unwrap();
    // The second was closed by both sides nine minutes ago.
    assert_eq!((collected.expired, collected.kept), (1, 3));
    bench.loaded.retire_predecessors(&[]);
    let ports: HashSet<u16> = conntrack
        .list()
        .unwrap()
        .iter()
        .map(|f| f.key.client_port.get())
        .collect();
    assert_eq!(ports, HashSet::from([1, 3, 4]));
}

#[test]
fn what_the_others_programs_do_meanwhile_arrives_when_they_are_retired() {
    let bpffs = Bpffs::mount();
    let tables = newer(&bpffs.path);
    let now = clock::tick();
    let [asked, answered] = [FLOW_ESTABLISHED, FLOW_ANSWERED].map(|flags| Mark::new(now, flags));
    tables.put(&flow(1, asked, answered));
    let mut bench = open(bpffs);
    let ended = flow(1, Mark::new(now, FLOW_ESTABLISHED | FLOW_FIN), answered);
    let begun = flow(2, asked, answered);
    tables.put(&ended);
    tables.put(&begun);
    // Here, another flow of the same ends as one there was begun meanwhile: it is the one that goes on.
    let specification = spec(bench.peer, &[endpoint(POD, 8080)], &[]);
    bench.put(VIP, 80, TCP, &specification);
    bench.xdp(&frames::tcp((CLIENT, 3), (VIP, 80), SYN, b""));
    tables.put(&flow(3, asked, answered));

    assert!(bench.loaded.has_predecessors());
    bench.loaded.retire_predecessors(&[]);
    assert!(!bench.loaded.has_predecessors());
    let found = listed(&mut bench);
    assert_same(&found[..2], &[ended, begun]);
    assert_eq!(found[2].flow.backend, address(POD));
    assert!(!bench.bpffs.path.join("landfall/v7").exists());
}

#[test]
fn maps_that_are_alike_are_the_same_map_in_both_layouts() {
    let bpffs = Bpffs::mount();
    let path = bpffs.path.clone();
    // An agent of a layout that is alike but for its flow tables.
    let mut before = open(bpffs);
    let specification = spec(before.peer, &[endpoint(POD, 8080)], &[]);
    before.put(VIP, 80, UDP, &specification);
    let (own, other) = (Pins::new(&path), path.join("landfall/v7"));
    let theirs = ids(&own.maps());
    std::fs::rename(own.maps().parent().unwrap(), &other).unwrap();
    std::fs::remove_file(other.join("maps").join(map::LAYOUT)).unwrap();
    describe(&path, "v7", &[map::FLOWS, map::REPLIES]);

    let mut loaded = Loaded::open(&options(&path)).unwrap();
    let ours = ids(&own.maps());
    for name in map::ALL {
        let is_shared = ours[name] == theirs[name];
        assert_eq!(
            is_shared,
            ![map::FLOWS, map::REPLIES].contains(&name),
            "{name}"
        );
    }
    // No packet in between finds a table empty.
    let frame = frames::udp((CLIENT, 40_000), (VIP, 80), b"");
    let passed = loaded.test_run("xdp_uplink", &frame, 1).unwrap();
    assert_eq!(frames::read(&passed.frame).destination, ip(POD));
    loaded.retire_predecessors(&[]);
    assert_eq!(ids(&own.maps()), ours);
    drop(before);
}

#[test]
fn what_finds_no_room_is_left_and_the_rest_arrives() {
    let bpffs = Bpffs::mount();
    let tables = first(&bpffs.path);
    let mark = Mark::new(clock::tick(), FLOW_ESTABLISHED);
    (1..=64).for_each(|port| tables.put(&flow(port, mark, mark)));
    let few = Options {
        max_connections: 16,
        ..Options::default()
    };
    let mut bench = Bench::on(bpffs, few);
    assert_eq!(listed(&mut bench).len(), 16);
}

#[test]
fn a_layout_that_does_not_describe_itself_is_survived_and_removed() {
    let bpffs = Bpffs::mount();
    let maps = bpffs.path.join("landfall/v9/maps");
    PinnedMap::hash(&maps, map::FLOWS, 40, 44, 16).put(&[1; 40], &[1; 44]);
    let mut bench = open(bpffs);
    assert_eq!(listed(&mut bench).len(), 0);
    bench.loaded.retire_predecessors(&[]);
    assert!(!maps.exists());
}

#[test]
fn a_description_that_does_not_fit_the_maps_is_not_believed() {
    let bpffs = Bpffs::mount();
    let maps = bpffs.path.join("landfall/v7/maps");
    PinnedMap::hash(&maps, map::FLOWS, 40, 44, 16).put(&[1; 40], &[1; 44]);
    PinnedMap::hash(&maps, map::REPLIES, 40, 44, 16).put(&[1; 40], &[1; 44]);
    describe(&bpffs.path, "v7", &[map::FLOWS, map::REPLIES]);
    assert_eq!(listed(&mut open(bpffs)).len(), 0);
}

#[test]
fn cleaning_up_removes_pins_of_every_layout_whatever_they_are() {
    let bpffs = Bpffs::mount();
    let tables = first(&bpffs.path);
    drop(newer(&bpffs.path));
    let odd = bpffs.path.join("landfall/v12/things/deeper");
    PinnedMap::hash(&odd, "ODD", 4, 4, 1);
    PinnedMap::hash(&bpffs.path.join("landfall"), "STRAY", 4, 4, 1);
    let stranger = PinnedMap::hash(&bpffs.path.join("other"), "THEIRS", 4, 4, 1);
    let bench = Bench::on(bpffs, options(Path::new("")));
    let removed = Pins::new(&bench.bpffs.path).remove_all().unwrap();
    // This build's maps with their description, two of layout 1, three of layout 7, two odd ones.
    assert_eq!(removed, map::ALL.len() + 1 + 2 + 3 + 2);
    assert!(!bench.bpffs.path.join("landfall").exists());
    assert!(bench.bpffs.path.join("other/THEIRS").exists());
    drop((tables, stranger));
}
