use super::*;
use crate::model::{IpFamily, Service, ServiceType, TrafficPolicy};
use crate::plan::endpoints::{ServiceEndpoints, Target};
use crate::plan::fixtures::{ip, name, port, service};
use std::collections::BTreeSet;

fn target(address: &str, node: &str) -> Target {
    Target {
        address: ip(address),
        port: port(8080),
        node: Some(NodeName::new(node)),
        ready: true,
        serving: true,
        terminating: false,
    }
}

fn leaving(address: &str, node: &str) -> Target {
    Target {
        ready: false,
        terminating: true,
        ..target(address, node)
    }
}

fn unready(address: &str, node: &str) -> Target {
    Target {
        ready: false,
        serving: false,
        ..target(address, node)
    }
}

/// The only frontend, with the addresses of its backends and of those that drain.
fn plan(
    service: &Service,
    targets: Vec<Target>,
    dead: &[&str],
) -> (Frontend, Vec<String>, Vec<String>) {
    let endpoints = ServiceEndpoints {
        ports: vec![targets],
    };
    let dead: BTreeSet<NodeName> = dead.iter().map(|node| NodeName::new(*node)).collect();
    let mut found = frontends(service, &[ip("192.0.2.1")], &endpoints, &dead);
    assert_eq!(found.len(), 1);
    let (_, frontend) = found.remove(0);
    let addresses = |backends: &[Backend]| {
        backends
            .iter()
            .map(|backend| backend.address.to_string())
            .collect::<Vec<_>>()
    };
    let (backends, draining) = (addresses(&frontend.backends), addresses(&frontend.draining));
    (frontend, backends, draining)
}

#[test]
fn ready_endpoints_take_connections_and_the_others_finish_theirs() {
    let targets = vec![
        target("10.1.0.1", "n1"),
        leaving("10.1.0.2", "n2"),
        unready("10.1.0.3", "n3"),
    ];
    let (_, backends, draining) = plan(&service("web"), targets, &[]);
    assert_eq!(backends, ["10.1.0.1"]);
    assert_eq!(draining, ["10.1.0.2", "10.1.0.3"]);
}

#[test]
fn terminating_endpoints_that_serve_take_over_where_none_is_ready() {
    let targets = vec![leaving("10.1.0.2", "n2"), unready("10.1.0.3", "n3")];
    let (_, backends, draining) = plan(&service("web"), targets, &[]);
    assert_eq!(backends, ["10.1.0.2"]);
    assert_eq!(draining, ["10.1.0.3"]);
}

#[test]
fn with_local_policy_each_node_falls_back_to_its_own_terminating_endpoints() {
    let web = Service {
        external_traffic_policy: TrafficPolicy::Local,
        ..service("web")
    };
    let targets = vec![
        target("10.1.0.1", "n1"),
        leaving("10.1.0.2", "n1"),
        leaving("10.1.0.3", "n2"),
    ];
    let (frontend, backends, draining) = plan(&web, targets, &[]);
    assert!(frontend.local_only);
    assert_eq!(backends, ["10.1.0.1", "10.1.0.3"]);
    assert_eq!(draining, ["10.1.0.2"]);
}

#[test]
fn endpoints_of_dead_nodes_are_left_out_while_there_are_others() {
    let targets = vec![target("10.1.0.1", "n1"), target("10.1.0.2", "n2")];
    let (_, backends, draining) = plan(&service("web"), targets.clone(), &["n2"]);
    assert_eq!(
        (backends.as_slice(), draining.as_slice()),
        (&["10.1.0.1".into()][..], &["10.1.0.2".into()][..])
    );
    let (_, backends, _) = plan(&service("web"), targets, &["n1", "n2"]);
    assert_eq!(backends, ["10.1.0.1", "10.1.0.2"]);
    let targets = vec![leaving("10.1.0.1", "n1"), target("10.1.0.2", "n2")];
    let (_, backends, _) = plan(&service("web"), targets, &["n2"]);
    assert_eq!(backends, ["10.1.0.1"]);
}

#[test]
fn frontends_are_addresses_times_ports_and_take_backends_of_their_family() {
    let mut web = service("web");
    web.service_type = ServiceType::LoadBalancer;
    web.ip_families = vec![IpFamily::V4, IpFamily::V6];
    web.cluster_ips = vec![ip("10.96.0.1"), ip("fd00:96::1")];
    web.external_ips = vec![ip("198.51.100.1"), ip("192.0.2.1")];
    web.source_ranges = vec![Block::from_cidr("203.0.113.0/24").expect("a CIDR")];
    let mut dns = crate::plan::fixtures::service_port();
    dns.protocol = Protocol::Udp;
    web.ports.push(dns);
    let both = vec![target("10.1.0.1", "n1"), target("fd00::1", "n1")];
    let endpoints = ServiceEndpoints {
        ports: vec![both.clone(), both],
    };
    let found = frontends(&web, &[ip("192.0.2.1")], &endpoints, &BTreeSet::new());
    let table: Vec<String> = found
        .iter()
        .map(|(key, frontend)| {
            let backends: Vec<_> = frontend
                .backends
                .iter()
                .map(|b| b.address.to_string())
                .collect();
            format!(
                "{} {}/{} {:?} -> {} ranges {}",
                key.address,
                key.port,
                key.protocol,
                frontend.kind,
                backends.join(","),
                frontend.source_ranges.len()
            )
        })
        .collect();
    assert_eq!(
        table,
        [
            "192.0.2.1 80/TCP LoadBalancer -> 10.1.0.1 ranges 1",
            "192.0.2.1 80/UDP LoadBalancer -> 10.1.0.1 ranges 1",
            "198.51.100.1 80/TCP ExternalIp -> 10.1.0.1 ranges 0",
            "198.51.100.1 80/UDP ExternalIp -> 10.1.0.1 ranges 0",
            "10.96.0.1 80/TCP ClusterIp -> 10.1.0.1 ranges 0",
            "10.96.0.1 80/UDP ClusterIp -> 10.1.0.1 ranges 0",
            "fd00:96::1 80/TCP ClusterIp -> fd00::1 ranges 0",
            "fd00:96::1 80/UDP ClusterIp -> fd00::1 ranges 0",
        ]
    );
}

fn claim(service_name: &str) -> (FrontendKey, Frontend) {
    let endpoints = ServiceEndpoints {
        ports: vec![vec![target("10.1.0.1", "n1")]],
    };
    let found = frontends(
        &service(service_name),
        &[ip("192.0.2.1")],
        &endpoints,
        &BTreeSet::new(),
    );
    found.into_iter().next().expect("one port")
}

#[test]
fn of_two_claimants_the_older_has_the_frontend_until_it_goes() {
    let mut claims = Claims::default();
    let (key, _) = claim("old");
    claims.set(&name("young"), 200, vec![claim("young")]);
    claims.set(&name("old"), 100, vec![claim("old")]);
    assert_eq!(claims.table().frontends[&key].service, name("old"));
    let conflict = FrontendConflict {
        frontend: key,
        refused: name("young"),
        holder: name("old"),
    };
    assert_eq!(claims.conflicts(), [conflict]);
    claims.set(&name("old"), 100, Vec::new());
    assert_eq!(claims.table().frontends[&key].service, name("young"));
    assert_eq!(claims.conflicts(), []);
    claims.set(&name("young"), 200, Vec::new());
    assert!(claims.table().frontends.is_empty());
}

#[test]
fn what_did_not_change_is_the_same_allocation_and_readers_keep_their_table() {
    let mut claims = Claims::default();
    let (key, frontend) = claim("web");
    claims.set(&name("web"), 100, vec![(key, frontend.clone())]);
    let before = Arc::clone(claims.table());
    claims.set(&name("web"), 100, vec![(key, frontend)]);
    assert!(Arc::ptr_eq(&before, claims.table()));
    let mut other = claim("other");
    other.0.port = port(81);
    claims.set(&name("other"), 100, vec![other]);
    assert_eq!(before.frontends.len(), 1);
    assert!(Arc::ptr_eq(
        &before.frontends[&key],
        &claims.table().frontends[&key]
    ));
}

mod properties {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_oldest_claimant_always_has_the_frontend(
            steps in proptest::collection::vec((0_u64..5, 0_u64..3, proptest::collection::btree_set(1_u16..4, 0..3)), 1..40)
        ) {
            let mut claims = Claims::default();
            let mut model: BTreeMap<String, (u64, BTreeSet<u16>)> = Default::default();
            for (index, created, ports) in steps {
                let service = format!("s{index}");
                let (key, frontend) = claim(&service);
                let wanted = ports.iter().map(|p| (FrontendKey { port: port(*p), ..key }, frontend.clone()));
                claims.set(&name(&service), created, wanted.collect());
                model.insert(service, (created, ports));
                for number in 1..4 {
                    let mut claimants: Vec<_> = model
                        .iter()
                        .filter(|(_, (_, ports))| ports.contains(&number))
                        .map(|(service, (created, _))| (*created, service.clone()))
                        .collect();
                    claimants.sort();
                    let key = FrontendKey { port: port(number), ..key };
                    let holder = claims.table().frontends.get(&key).map(|f| f.service.name.to_string());
                    prop_assert_eq!(&holder, &claimants.first().map(|(_, service)| service.clone()));
                    let refused: Vec<_> = claims
                        .conflicts()
                        .into_iter()
                        .filter(|conflict| conflict.frontend == key)
                        .map(|conflict| conflict.refused.name.to_string())
                        .collect();
                    let losers: Vec<_> = claimants.into_iter().skip(1).map(|(_, service)| service).collect();
                    prop_assert_eq!(refused, losers);
                }
            }
        }
    }
}
