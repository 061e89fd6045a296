use super::*;
use crate::model::{Change, PodPort, Protocol, ServiceName};
use crate::plan::fixtures::{endpoint, name, pod, port, service, slice};
use std::collections::BTreeSet;

/// State and index kept in step, with what each change touched.
struct World {
    state: DesiredState,
    index: EndpointIndex,
}

impl World {
    fn new(rule: EndpointRule) -> Self {
        Self {
            state: DesiredState::default(),
            index: EndpointIndex::new(rule),
        }
    }

    fn fold(&mut self, change: Change) -> BTreeSet<ServiceName> {
        let mut touched = BTreeSet::new();
        match change {
            Change::Service(name, new) => {
                self.index.service_changed(&name, new.as_ref());
                match new {
                    Some(new) => self.state.services.insert(name, new),
                    None => self.state.services.remove(&name),
                };
            }
            Change::Pod(name, new) => {
                let before = self.state.pods.remove(&name);
                let index = &mut self.index;
                index.pod_changed(&self.state, before.as_ref(), new.as_ref(), &mut touched);
                self.state.pods.extend(new.map(|new| (name, new)));
            }
            Change::EndpointSlice(name, new) => {
                let before = self.state.slices.remove(&name);
                self.index
                    .slice_changed(before.as_ref(), new.as_ref(), &mut touched);
                self.state.slices.extend(new.map(|new| (name, new)));
            }
            other => panic!("not about endpoints: {other:?}"),
        }
        touched
    }

    fn add_pod(&mut self, pod: Pod) -> BTreeSet<ServiceName> {
        self.fold(Change::Pod(pod.name.clone(), Some(pod)))
    }

    fn add_service(&mut self, service: Service) {
        self.fold(Change::Service(service.name.clone(), Some(service)));
    }

    fn targets(&self, service: &str) -> Vec<Target> {
        let service = &self.state.services[&name(service)];
        resolve(&self.index, &self.state, service).ports.remove(0)
    }

    fn addresses(&self, service: &str) -> Vec<String> {
        self.targets(service)
            .iter()
            .map(|target| target.address.to_string())
            .collect()
    }
}

#[test]
fn pods_come_before_slices_and_slices_where_no_pod_matches() {
    let mut world = World::new(EndpointRule::PodsFirst);
    world.add_service(service("web"));
    let of_slice = slice("web-1", "web", vec![endpoint("10.1.0.9", "n2")]);
    let touched = world.fold(Change::EndpointSlice(of_slice.name.clone(), Some(of_slice)));
    assert_eq!(touched, BTreeSet::from([name("web")]));
    assert_eq!(world.addresses("web"), ["10.1.0.9"]);
    world.add_pod(pod("p1", "web", "n1", "10.1.0.1"));
    assert_eq!(world.addresses("web"), ["10.1.0.1"]);
    world.fold(Change::Pod(name("p1"), None));
    assert_eq!(world.addresses("web"), ["10.1.0.9"]);
}

#[test]
fn a_finished_pod_is_no_endpoint_and_does_not_bring_back_a_stale_slice() {
    let mut world = World::new(EndpointRule::PodsFirst);
    world.add_service(service("web"));
    let of_slice = slice("web-1", "web", vec![endpoint("10.1.0.9", "n2")]);
    world.fold(Change::EndpointSlice(of_slice.name.clone(), Some(of_slice)));
    world.add_pod(Pod {
        finished: true,
        ..pod("p1", "web", "n1", "10.1.0.1")
    });
    assert_eq!(world.addresses("web"), [""; 0]);
}

#[test]
fn with_the_kubernetes_rule_pods_are_not_looked_at() {
    let mut world = World::new(EndpointRule::SlicesOnly);
    world.add_service(service("web"));
    assert_eq!(
        world.add_pod(pod("p1", "web", "n1", "10.1.0.1")),
        BTreeSet::new()
    );
    assert_eq!(world.addresses("web"), [""; 0]);
    let of_slice = slice("web-1", "web", vec![endpoint("10.1.0.9", "n2")]);
    world.fold(Change::EndpointSlice(of_slice.name.clone(), Some(of_slice)));
    assert_eq!(world.addresses("web"), ["10.1.0.9"]);
}

#[test]
fn a_service_without_selector_has_its_slices_whatever_pods_there_are() {
    let mut world = World::new(EndpointRule::PodsFirst);
    world.add_service(Service {
        selector: Default::default(),
        ..service("web")
    });
    world.add_pod(pod("p1", "web", "n1", "10.1.0.1"));
    assert_eq!(world.addresses("web"), [""; 0]);
}

#[test]
fn a_named_port_is_looked_up_in_each_pod_by_name_and_protocol() {
    let mut world = World::new(EndpointRule::PodsFirst);
    let mut web = service("web");
    web.ports[0].target = TargetPort::Name("http".into());
    world.add_service(web);
    let named = |protocol, number| PodPort {
        name: "http".into(),
        protocol,
        port: port(number),
    };
    let with = |ports, pod| Pod { ports, ..pod };
    world.add_pod(with(
        vec![named(Protocol::Udp, 1), named(Protocol::Tcp, 8080)],
        pod("p1", "web", "n1", "10.1.0.1"),
    ));
    world.add_pod(with(
        vec![named(Protocol::Tcp, 9090)],
        pod("p2", "web", "n2", "10.1.0.2"),
    ));
    world.add_pod(pod("p3", "web", "n3", "10.1.0.3"));
    let found: Vec<_> = world
        .targets("web")
        .iter()
        .map(|t| (t.address, t.port.get()))
        .collect();
    let expected = [("10.1.0.1", 8080), ("10.1.0.2", 9090)];
    assert_eq!(
        found,
        expected.map(|(address, port)| (address.parse().expect("valid"), port))
    );
}

#[test]
fn readiness_follows_the_endpointslice_controller() {
    let mut world = World::new(EndpointRule::PodsFirst);
    world.add_service(service("web"));
    let plain = pod("p1", "web", "n1", "10.1.0.1");
    let conditions = |world: &World| {
        let targets = world.targets("web");
        (targets[0].ready, targets[0].serving, targets[0].terminating)
    };
    world.add_pod(plain.clone());
    assert_eq!(conditions(&world), (true, true, false));
    world.add_pod(Pod {
        ready: false,
        ..plain.clone()
    });
    assert_eq!(conditions(&world), (false, false, false));
    world.add_pod(Pod {
        terminating: true,
        ..plain.clone()
    });
    assert_eq!(conditions(&world), (false, true, true));
    world.add_service(Service {
        publish_not_ready: true,
        ..service("web")
    });
    world.add_pod(Pod {
        terminating: true,
        ready: false,
        ..plain
    });
    assert_eq!(conditions(&world), (true, true, true));
}

#[test]
fn families_of_the_service_and_nothing_else_are_endpoints() {
    let mut world = World::new(EndpointRule::PodsFirst);
    world.add_service(service("web"));
    let mut dual = pod("p1", "web", "n1", "10.1.0.1");
    dual.ips.push("fd00::1".parse().expect("valid"));
    world.add_pod(dual);
    assert_eq!(world.addresses("web"), ["10.1.0.1"]);
    world.add_service(Service {
        ip_families: vec![IpFamily::V4, IpFamily::V6],
        ..service("web")
    });
    assert_eq!(world.addresses("web"), ["10.1.0.1", "fd00::1"]);
}

#[test]
fn of_an_endpoint_in_two_slices_the_ready_one_counts() {
    let mut world = World::new(EndpointRule::PodsFirst);
    world.add_service(service("web"));
    let ready = endpoint("10.1.0.1", "n1");
    let unready = crate::model::Endpoint {
        ready: false,
        serving: false,
        ..ready.clone()
    };
    for (slice_name, endpoint) in [("web-1", unready), ("web-2", ready)] {
        let slice = slice(slice_name, "web", vec![endpoint]);
        world.fold(Change::EndpointSlice(slice.name.clone(), Some(slice)));
    }
    let targets = world.targets("web");
    assert_eq!(targets.len(), 1);
    assert!(targets[0].ready);
}

#[test]
fn a_pod_touches_the_services_that_select_it_before_or_after_and_no_other() {
    let mut world = World::new(EndpointRule::PodsFirst);
    for app in ["a", "b", "c"] {
        world.add_service(service(app));
    }
    assert_eq!(
        world.add_pod(pod("p1", "a", "n1", "10.1.0.1")),
        BTreeSet::from([name("a")])
    );
    let touched = world.add_pod(pod("p1", "b", "n1", "10.1.0.1"));
    assert_eq!(touched, BTreeSet::from([name("a"), name("b")]));
    assert_eq!(world.addresses("a"), [""; 0]);
    assert_eq!(world.addresses("b"), ["10.1.0.1"]);
}

mod properties {
    use super::*;
    use proptest::collection::{btree_map, vec};
    use proptest::prelude::*;

    fn labels() -> impl Strategy<Value = std::collections::BTreeMap<String, String>> {
        btree_map("[ab]", "[xy]", 0..3)
    }

    #[derive(Clone, Debug)]
    enum Step {
        Service(u8, Option<std::collections::BTreeMap<String, String>>),
        Pod(u8, Option<std::collections::BTreeMap<String, String>>),
    }

    fn step() -> impl Strategy<Value = Step> {
        let labels = || proptest::option::weighted(0.8, labels());
        prop_oneof![
            (0_u8..4, labels()).prop_map(|(index, labels)| Step::Service(index, labels)),
            (0_u8..6, labels()).prop_map(|(index, labels)| Step::Pod(index, labels)),
        ]
    }

    proptest! {
        #[test]
        fn the_index_finds_what_a_search_of_everything_finds(steps in vec(step(), 1..40)) {
            let mut world = World::new(EndpointRule::PodsFirst);
            for step in steps {
                match step {
                    Step::Service(index, selector) => {
                        let name = name(&format!("s{index}"));
                        let new = selector.map(|selector| Service { selector, ..service(&name.name) });
                        world.fold(Change::Service(name, new));
                    }
                    Step::Pod(index, labels) => {
                        let pod_name = format!("p{index}");
                        let address = format!("10.1.0.{index}");
                        let new = labels.map(|labels| Pod { labels, ..pod(&pod_name, "", "n1", &address) });
                        world.fold(Change::Pod(name(&pod_name), new));
                    }
                }
                for (service_name, service) in &world.state.services {
                    let selected = |pod: &&Pod| {
                        !service.selector.is_empty()
                            && service.selector.iter().all(|(k, v)| pod.labels.get(k) == Some(v))
                    };
                    let pods = world.state.pods.values();
                    let expected: Vec<String> = pods
                        .filter(selected)
                        .flat_map(|pod| pod.ips.iter().map(ToString::to_string))
                        .collect();
                    prop_assert_eq!(world.addresses(&service_name.name), expected);
                }
            }
        }
    }
}
