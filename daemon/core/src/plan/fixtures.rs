//! Objects for the planners' tests: plain ones, to be changed where a test is about something else.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use landfall_ipam::{Block, Created, FirstLast, LabelSelector, Pool, Requirement};

use super::addresses::Proposal;
use super::{Plan, PlanSettings, Planner};
use crate::election::Revision;
use crate::model::{
    Change, Endpoint, EndpointPort, EndpointSlice, IpFamily, IpFamilyPolicy, L2AnnouncementPolicy,
    Link, LinkAddress, LinkIndex, LinkKind, MacAddress, Node, NodeName, ObjectName, Observation,
    ObservedAssignments, Pod, Port, Protocol, Service, ServiceName, ServicePort, ServiceType,
    SourceId, TargetPort, TrafficPolicy,
};

pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

pub(super) fn port(number: u16) -> Port {
    Port::new(number).expect("not 0")
}

pub(super) fn name(name: &str) -> ServiceName {
    ObjectName::new("default", name)
}

pub(super) fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

/// TCP port 80 to target port 8080.
pub(super) fn service_port() -> ServicePort {
    ServicePort {
        name: "http".into(),
        protocol: Protocol::Tcp,
        port: port(80),
        target: TargetPort::Number(port(8080)),
        node_port: None,
    }
}

/// A LoadBalancer Service of one IPv4 address and one port that selects `app=<service>`.
pub(super) fn service(service: &str) -> Service {
    Service {
        name: name(service),
        created: 100,
        labels: labels(&[("color", "blue")]),
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
        ports: vec![service_port()],
        selector: labels(&[("app", service)]),
        external_traffic_policy: TrafficPolicy::Cluster,
        internal_traffic_policy: TrafficPolicy::Cluster,
        affinity: None,
        publish_not_ready: false,
        health_check_node_port: None,
        assigned: Vec::new(),
    }
}

/// A ready Pod `app=<app>` on `node`.
pub(super) fn pod(pod: &str, app: &str, node: &str, address: &str) -> Pod {
    Pod {
        name: name(pod),
        labels: labels(&[("app", app)]),
        node: Some(NodeName::new(node)),
        ips: vec![ip(address)],
        ready: true,
        terminating: false,
        finished: false,
        host_network: false,
        ports: Vec::new(),
    }
}

/// A ready endpoint on `node`.
pub(super) fn endpoint(address: &str, node: &str) -> Endpoint {
    Endpoint {
        address: ip(address),
        node: Some(NodeName::new(node)),
        ready: true,
        serving: true,
        terminating: false,
        zone: None,
        pod: None,
    }
}

/// A slice of `service` whose port `http` is 8080.
pub(super) fn slice(slice: &str, service: &str, endpoints: Vec<Endpoint>) -> EndpointSlice {
    let port = EndpointPort {
        name: "http".into(),
        protocol: Protocol::Tcp,
        port: port(8080),
    };
    EndpointSlice {
        name: name(slice),
        service: name(service),
        ports: vec![port],
        endpoints,
    }
}

/// An uplink of a /24 that is up.
pub(super) fn link(index: u32, link: &str, address: &str) -> Link {
    Link {
        index: LinkIndex(index),
        name: link.into(),
        mac: Some(MacAddress([2, 0, 0, 0, 0, 1])),
        up: true,
        kind: LinkKind::Uplink,
        mtu: 1500,
        addresses: vec![LinkAddress {
            address: ip(address),
            prefix_len: 24,
        }],
    }
}

pub(super) fn node(node: &str, address: &str) -> Node {
    Node {
        name: NodeName::new(node),
        labels: BTreeMap::new(),
        addresses: vec![ip(address)],
    }
}

/// A pool of one CIDR whose first and last address are kept back.
pub(super) fn pool(pool: &str, cidr: &str) -> Pool {
    let block = Block::from_cidr(cidr).expect("a CIDR");
    Pool::new(pool, Created(1), vec![block], FirstLast::Reserved).expect("a pool")
}

/// A policy for every Service, every node and both kinds of addresses, by subnet.
pub(super) fn policy(policy: &str) -> L2AnnouncementPolicy {
    L2AnnouncementPolicy {
        name: policy.to_owned(),
        service_selector: None,
        node_selector: None,
        interfaces: Vec::new(),
        external_ips: true,
        load_balancer_ips: true,
    }
}

pub(super) fn selector(pairs: &[(&str, &str)]) -> LabelSelector {
    LabelSelector::new(labels(pairs), Vec::new()).expect("a selector")
}

pub(super) fn lacking(label: &str) -> LabelSelector {
    let requirement = Requirement::parse::<&str>(label, "DoesNotExist", &[]).expect("valid");
    LabelSelector::new(BTreeMap::new(), vec![requirement]).expect("a selector")
}

pub(super) fn settings() -> PlanSettings {
    PlanSettings {
        node: NodeName::new("n1"),
        endpoints: super::endpoints::EndpointRule::PodsFirst,
        sources: BTreeSet::from([SourceId::Manifests, SourceId::Links]),
    }
}

/// A planner with its store: whatever it proposes is written and reported at once.
pub(super) struct Cluster {
    pub(super) planner: Planner,
    revision: u64,
    pub(super) writes: u64,
}

impl Cluster {
    /// Node `n1` of a cluster, which allocates, with interface `ens3` on 10.10.200.0/24 and peers `n2` and `n3`.
    pub(super) fn new() -> Self {
        let mut cluster = Self::unsynced();
        cluster.fold(Change::Synced(SourceId::Manifests));
        cluster.fold(Change::Synced(SourceId::Links));
        cluster
    }

    /// The same before its sources have synced.
    pub(super) fn unsynced() -> Self {
        let mut planner = Planner::new(settings());
        planner.fold(Change::Links(vec![link(2, "ens3", "10.10.200.11")]));
        planner.observe(Observation::Peers(BTreeMap::from([
            (NodeName::new("n2"), vec![link(2, "ens3", "10.10.200.12")]),
            (NodeName::new("n3"), vec![link(2, "ens3", "10.10.200.13")]),
        ])));
        planner.observe(Observation::Assignments(ObservedAssignments {
            revision: None,
            record: Arc::default(),
            recalled: false,
            lost: false,
        }));
        planner.observe(Observation::Allocating(true));
        Self {
            planner,
            revision: 0,
            writes: 0,
        }
    }

    pub(super) fn fold(&mut self, change: Change) {
        self.planner.fold(change);
    }

    pub(super) fn add_service(&mut self, service: Service) {
        self.fold(Change::Service(service.name.clone(), Some(service)));
    }

    pub(super) fn add_slice(&mut self, slice: EndpointSlice) {
        self.fold(Change::EndpointSlice(slice.name.clone(), Some(slice)));
    }

    pub(super) fn add_pool(&mut self, pool: Pool) {
        self.fold(Change::Pool(pool.name().to_owned(), Some(pool)));
    }

    pub(super) fn add_policy(&mut self, policy: L2AnnouncementPolicy) {
        self.fold(Change::Policy(policy.name.clone(), Some(policy)));
    }

    /// The plan once the store has what is proposed.
    pub(super) fn plan(&mut self) -> Plan {
        for _ in 0..4 {
            let Some(proposal) = self.planner.plan().addresses.proposal.clone() else {
                break;
            };
            self.write(&proposal);
        }
        let plan = self.planner.plan().clone();
        assert_eq!(
            plan.addresses.proposal, None,
            "a written record leaves nothing to write"
        );
        plan
    }

    /// Writes as the store does: by compare-and-swap on the revision.
    pub(super) fn write(&mut self, proposal: &Proposal) {
        let expected = (self.revision > 0).then_some(Revision(self.revision));
        assert_eq!(proposal.expected, expected);
        self.revision += 1;
        self.writes += 1;
        self.planner
            .observe(Observation::Assignments(ObservedAssignments {
                revision: Some(Revision(self.revision)),
                record: Arc::clone(&proposal.record),
                recalled: false,
                lost: false,
            }));
    }
}

/// The addresses a Service has in `plan`, as text.
pub(super) fn addresses(plan: &Plan, service: &str) -> Vec<String> {
    let entry = plan
        .addresses
        .services
        .get(&name(service))
        .expect("a Service that is recorded");
    entry
        .addresses
        .iter()
        .map(|assigned| assigned.address.to_string())
        .collect()
}
