//! Bounds that a debug build on a busy machine keeps; `examples/plan_scale.rs` measures.

use std::time::{Duration, Instant};

use crate::model::Change;
use crate::plan::fixtures::{Cluster, endpoint, name, policy, pool, service, slice};

const SERVICES: u32 = 2_000;

#[test]
fn a_change_of_one_service_among_thousands_costs_that_service() {
    let mut cluster = Cluster::new();
    cluster.add_pool(pool("lan", "10.0.0.0/16"));
    cluster.add_policy(policy("p"));
    let begun = Instant::now();
    for index in 0..SERVICES {
        let service_name = format!("s{index}");
        cluster.add_service(service(&service_name));
        let endpoints = (0..10).map(|pod| endpoint(&format!("10.1.{}.{}", index % 250, pod), "n1"));
        cluster.add_slice(slice(&service_name, &service_name, endpoints.collect()));
    }
    let plan = cluster.plan();
    assert_eq!(plan.table.frontends.len(), SERVICES as usize);
    let whole = begun.elapsed();
    let begun = Instant::now();
    for round in 0..10 {
        let endpoints = vec![endpoint(&format!("10.1.0.{round}"), "n2")];
        cluster.add_slice(slice("s7", "s7", endpoints));
        cluster.plan();
    }
    let each = begun.elapsed() / 10;
    assert!(
        each < Duration::from_millis(50).max(whole / 20),
        "{each:?} of {whole:?}"
    );
    cluster.fold(Change::Service(name("s7"), None));
    assert_eq!(cluster.plan().table.frontends.len(), SERVICES as usize - 1);
}
