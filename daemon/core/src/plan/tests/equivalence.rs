//! Whatever the order of changes, the plan is that of the state they lead to.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;

use crate::model::{Change, NodeName, Observation, Observed, Service, ServiceType, TrafficPolicy};
use crate::plan::fixtures::{
    Cluster, endpoint, ip, link, name, node, pod, policy, pool, port, service, settings, slice,
};
use crate::plan::{Plan, plan};

#[derive(Clone, Debug)]
enum Step {
    Change(Box<Change>),
    Dead(BTreeSet<u8>),
    Plan,
}

fn a_service() -> impl Strategy<Value = Change> {
    let parts = (
        0_u8..5,
        0_u8..3,
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        0_u8..3,
        1_u64..4,
    );
    parts.prop_map(|(index, fate, local, sharing, external, wish, created)| {
        let name = name(&format!("s{index}"));
        let new = (fate > 0).then(|| Service {
            created,
            service_type: if fate == 1 {
                ServiceType::ClusterIp
            } else {
                ServiceType::LoadBalancer
            },
            external_traffic_policy: if local {
                TrafficPolicy::Local
            } else {
                TrafficPolicy::Cluster
            },
            sharing_key: sharing.then(|| "key".to_owned()),
            external_ips: if external {
                vec![ip("10.10.200.77")]
            } else {
                Vec::new()
            },
            requested_ips: if wish == 1 {
                vec![ip("10.10.200.3")]
            } else {
                Vec::new()
            },
            ports: {
                let mut ports = service("").ports;
                ports[0].port = port(80 + u16::from(index % 2));
                ports
            },
            ..service(&name.name)
        });
        Change::Service(name, new)
    })
}

fn a_change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => a_service(),
        2 => (0_u8..6, 0_u8..5, 1_u8..4, any::<bool>(), any::<bool>()).prop_map(|(index, app, on, ready, here)| {
            let name = name(&format!("p{index}"));
            let (app, on, at) = (format!("s{app}"), format!("n{on}"), format!("10.1.0.{index}"));
            let mut new = pod(&name.name, &app, &on, &at);
            new.ready = ready;
            Change::Pod(name, here.then_some(new))
        }),
        1 => (0_u8..5, 1_u8..4, any::<bool>()).prop_map(|(index, on, here)| {
            let (service, on) = (format!("s{index}"), format!("n{on}"));
            let new = slice(&service, &service, vec![endpoint("10.2.0.1", &on)]);
            Change::EndpointSlice(name(&service), here.then_some(new))
        }),
        1 => (0_u8..2, any::<bool>()).prop_map(|(index, here)| {
            let name = format!("pool{index}");
            let new = pool(&name, ["10.10.200.0/29", "10.10.200.0/28"][usize::from(index)]);
            Change::Pool(name, here.then_some(new))
        }),
        1 => any::<bool>().prop_map(|here| Change::Policy("p".to_owned(), here.then(|| policy("p")))),
        1 => (1_u8..5, any::<bool>()).prop_map(|(index, here)| {
            let name = format!("n{index}");
            let new = node(&name, &format!("10.10.200.{index}"));
            Change::Node(NodeName::new(name), here.then_some(new))
        }),
        1 => any::<bool>().prop_map(|up| {
            let mut link = link(2, "ens3", "10.10.200.11");
            link.up = up;
            Change::Links(vec![link])
        }),
    ]
}

fn a_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => a_change().prop_map(|change| Step::Change(Box::new(change))),
        1 => proptest::collection::btree_set(1_u8..4, 0..2).prop_map(Step::Dead),
        2 => Just(Step::Plan),
    ]
}

fn assert_same(stepwise: &Plan, whole: &Plan) {
    assert_eq!(stepwise.table, whole.table);
    assert_eq!(stepwise.announcements, whole.announcements);
    assert_eq!(stepwise.addresses.services, whole.addresses.services);
    assert_eq!(stepwise.addresses.pools, whole.addresses.pools);
    assert_eq!(stepwise.conflicts, whole.conflicts);
    assert_eq!(stepwise.links, whole.links);
    assert_eq!(
        whole.addresses.proposal, None,
        "a restart finds nothing to write"
    );
}

/// No address is under two leases, and no frontend or VIP is a node's own by allocation.
fn assert_sound(plan: &Plan) {
    let mut seen = BTreeMap::new();
    for (lease, vip) in &plan.announcements.vips {
        for address in vip.addresses.keys() {
            assert_eq!(
                seen.insert(*address, lease),
                None,
                "{address} is under two leases"
            );
        }
    }
    for (key, frontend) in &plan.table.frontends {
        assert!(
            plan.addresses.services.contains_key(&frontend.service),
            "{key:?}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn planning_step_by_step_gives_the_plan_of_the_whole(steps in vec(a_step(), 1..60)) {
        let mut cluster = Cluster::new();
        let mut dead = BTreeSet::new();
        for step in steps {
            match step {
                Step::Change(change) => cluster.fold(*change),
                Step::Dead(nodes) => {
                    dead = nodes.iter().map(|index| NodeName::new(format!("n{index}"))).collect();
                    cluster.planner.observe(Observation::Dead(dead.clone()));
                }
                Step::Plan => assert_sound(&cluster.plan()),
            }
        }
        let stepwise = cluster.plan();
        assert_sound(&stepwise);
        let observed = Observed {
            dead,
            allocating: true,
            ..cluster.planner.observed().clone()
        };
        let whole = plan(&settings(), cluster.planner.state(), &observed);
        assert_same(&stepwise, &whole);
    }
}
