//! Prints what planning costs at 10,000 Services of 10 endpoints each: the whole plan, single changes, and
//! the memory of state and plan. Run it with `--release`.

mod memory;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use landfall_core::election::Revision;
use landfall_core::model::{
    Change, IpFamily, IpFamilyPolicy, L2AnnouncementPolicy, Link, LinkAddress, LinkIndex, LinkKind,
    MacAddress, NodeName, ObjectName, Observation, ObservedAssignments, Pod, Port, Protocol,
    Service, ServicePort, ServiceType, SourceId, TargetPort, TrafficPolicy,
};
use landfall_core::plan::endpoints::EndpointRule;
use landfall_core::plan::{PlanSettings, Planner};
use landfall_ipam::{Block, Created, FirstLast, Pool};

use memory::resident;

const SERVICES: u32 = 10_000;
const PODS: u32 = 10;
const CHANGES: u32 = 200;

fn labels(index: u32) -> BTreeMap<String, String> {
    let pairs = [
        ("app", format!("app-{index}")),
        ("tier", "backend".to_owned()),
    ];
    pairs
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}

fn service(index: u32) -> Change {
    let port = |number| Port::new(number).expect("not 0");
    let name = ObjectName::new(
        format!("namespace-{}", index % 100),
        format!("service-{index}"),
    );
    let service = Service {
        name: name.clone(),
        created: u64::from(index),
        labels: labels(index),
        service_type: ServiceType::LoadBalancer,
        class: None,
        cluster_ips: Vec::new(),
        external_ips: Vec::new(),
        ip_families: vec![IpFamily::V4],
        ip_family_policy: IpFamilyPolicy::SingleStack,
        requested_ips: Vec::new(),
        requested_pool: None,
        sharing_key: None,
        sharing_namespaces: Vec::new(),
        source_ranges: Vec::new(),
        ports: vec![ServicePort {
            name: "http".into(),
            protocol: Protocol::Tcp,
            port: port(80),
            target: TargetPort::Number(port(8080)),
            node_port: None,
        }],
        selector: labels(index),
        external_traffic_policy: TrafficPolicy::Cluster,
        internal_traffic_policy: TrafficPolicy::Cluster,
        affinity: None,
        publish_not_ready: false,
        health_check_node_port: None,
        assigned: Vec::new(),
    };
    Change::Service(name, Some(service))
}

fn pod(service: u32, index: u32, ready: bool) -> Change {
    let name = ObjectName::new(
        format!("namespace-{}", service % 100),
        format!("pod-{service}-{index}"),
    );
    let address = Ipv4Addr::from_bits(0x0b00_0000 + service * PODS + index);
    let pod = Pod {
        name: name.clone(),
        labels: labels(service),
        node: Some(NodeName::new(format!("node-{}", index % 3))),
        ips: vec![IpAddr::V4(address)],
        ready,
        terminating: false,
        finished: false,
        host_network: false,
        ports: Vec::new(),
    };
    Change::Pod(name, Some(pod))
}

fn link(host: u8) -> Link {
    Link {
        index: LinkIndex(2),
        name: "ens3".into(),
        mac: Some(MacAddress([2, 0, 0, 0, 0, host])),
        up: true,
        kind: LinkKind::Uplink,
        mtu: 1500,
        addresses: vec![LinkAddress {
            address: IpAddr::V4(Ipv4Addr::new(10, 255, 0, host)),
            prefix_len: 8,
        }],
    }
}

/// Plans, and writes what is proposed as the store would.
fn settle(planner: &mut Planner, revision: &mut u64) {
    while let Some(proposal) = planner.plan().addresses.proposal.clone() {
        *revision += 1;
        planner.observe(Observation::Assignments(ObservedAssignments {
            revision: Some(Revision(*revision)),
            record: Arc::clone(&proposal.record),
            recalled: false,
            lost: false,
        }));
    }
}

fn print(name: &str, mut samples: Vec<Duration>) {
    samples.sort_unstable();
    let at = |percent: usize| samples[(samples.len() - 1) * percent / 100];
    println!(
        "{name:<44} min {:>10.1?} median {:>10.1?} p95 {:>10.1?} max {:>10.1?}",
        at(0),
        at(50),
        at(95),
        at(100)
    );
}

fn main() {
    let mut planner = Planner::new(PlanSettings {
        node: NodeName::new("node-0"),
        endpoints: EndpointRule::PodsFirst,
        sources: [SourceId::Manifests].into(),
    });
    let mut revision = 0;
    let empty = resident();
    let block = Block::from_cidr("10.0.0.0/16").expect("a CIDR");
    let pool = Pool::new("lan", Created(1), vec![block], FirstLast::Reserved).expect("a pool");
    let policy = L2AnnouncementPolicy {
        name: "p".to_owned(),
        service_selector: None,
        node_selector: None,
        interfaces: Vec::new(),
        external_ips: true,
        load_balancer_ips: true,
    };
    let begun = Instant::now();
    planner.fold(Change::Pool("lan".to_owned(), Some(pool)));
    planner.fold(Change::Policy("p".to_owned(), Some(policy)));
    planner.fold(Change::Links(vec![link(1)]));
    planner.observe(Observation::Peers(BTreeMap::from([
        (NodeName::new("node-1"), vec![link(2)]),
        (NodeName::new("node-2"), vec![link(3)]),
    ])));
    planner.observe(Observation::Assignments(ObservedAssignments {
        revision: None,
        record: Arc::default(),
        recalled: false,
        lost: false,
    }));
    planner.observe(Observation::Allocating(true));
    for index in 0..SERVICES {
        planner.fold(service(index));
        for pod_index in 0..PODS {
            planner.fold(pod(index, pod_index, true));
        }
    }
    planner.fold(Change::Synced(SourceId::Manifests));
    println!(
        "fold {SERVICES} Services, {PODS} Pods each      {:?}",
        begun.elapsed()
    );
    let folded = resident();
    let begun = Instant::now();
    settle(&mut planner, &mut revision);
    println!(
        "whole plan, allocation included        {:?}",
        begun.elapsed()
    );
    println!(
        "memory: state {} KiB, plan {} KiB",
        folded - empty,
        resident() - folded
    );
    assert_eq!(planner.plan().table.frontends.len(), SERVICES as usize);
    assert_eq!(
        planner.plan().announcements.desired_vips().len(),
        SERVICES as usize
    );

    // Effects hold the plan before while the next is made: every changed map is copied.
    let mut held = planner.plan().clone();
    let mut pods = Vec::new();
    for index in 0..CHANGES {
        let begun = Instant::now();
        planner.fold(pod(index * 7, 3, false));
        let next = planner.plan().clone();
        pods.push(begun.elapsed());
        held = next;
    }
    print("one Pod", pods);
    let (mut first, mut whole) = (Vec::new(), Vec::new());
    for index in SERVICES..SERVICES + CHANGES {
        let begun = Instant::now();
        planner.fold(service(index));
        let next = planner.plan().clone();
        first.push(begun.elapsed());
        settle(&mut planner, &mut revision);
        whole.push(begun.elapsed());
        drop(next);
        held = planner.plan().clone();
    }
    print("new Service, to its proposal", first);
    print("new Service, written and planned", whole);
    let mut parts = Vec::new();
    for _ in 0..20 {
        let begun = Instant::now();
        let sizes = (
            held.announcements.desired_vips().len(),
            held.announcements.interfaces_here().len(),
        );
        parts.push(begun.elapsed());
        assert_eq!(sizes.0, sizes.1);
    }
    print("parts for election and announce effect", parts);
    let (mut deaths, mut flaps) = (Vec::new(), Vec::new());
    for round in 0..10 {
        let dead = (round % 2 == 0).then(|| NodeName::new("node-1"));
        let begun = Instant::now();
        planner.observe(Observation::Dead(dead.into_iter().collect()));
        let next = planner.plan().clone();
        deaths.push(begun.elapsed());
        let begun = Instant::now();
        planner.fold(Change::Links(vec![Link {
            up: round % 2 == 1,
            ..link(1)
        }]));
        held = planner.plan().clone();
        flaps.push(begun.elapsed());
        drop(next);
    }
    print("a node of every Service dies or comes back", deaths);
    print("carrier of this node is lost or comes back", flaps);
    assert!(held.complete);
}
