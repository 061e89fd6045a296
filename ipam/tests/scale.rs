//! 100,000 services over 100 pools, with bounds wide enough for an unoptimised build on a busy
//! machine. The real figures come from `cargo run --release --example scale`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use landfall_ipam::{
    Allocator, Block, Created, FirstLast, LabelSelector, Pool, ServiceId, ServiceRequest,
};

const POOLS: u64 = 100;
const SERVICES: u64 = 100_000;

fn pools(widened: Option<u64>) -> Vec<Pool> {
    (0..POOLS)
        .map(|index| {
            let prefix = if widened == Some(index) { 20 } else { 21 };
            let block = Block::from_cidr(&format!("10.{index}.0.0/{prefix}")).unwrap();
            let labels = BTreeMap::from([("tenant".to_owned(), index.to_string())]);
            let selector = LabelSelector::new(labels, Vec::new()).unwrap();
            Pool::new(
                &format!("pool-{index}"),
                Created(index),
                vec![block],
                FirstLast::Allowed,
            )
            .unwrap()
            .with_selector(Some(selector))
        })
        .collect()
}

fn service(index: u64) -> ServiceRequest {
    let id = ServiceId::new("default", &format!("service-{index}"));
    let mut request = ServiceRequest::new(id, Created(index));
    request.labels = BTreeMap::from([("tenant".to_owned(), (index % POOLS).to_string())]);
    request
}

fn within<T>(bound: Duration, what: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    let took = start.elapsed();
    assert!(took < bound, "{what} took {took:?}, more than {bound:?}");
    result
}

#[test]
fn a_hundred_thousand_services_plan_quickly_and_a_change_concerns_only_its_own() {
    let mut allocator = Allocator::new();
    allocator.set_pools(pools(None)).unwrap();
    let changes = within(Duration::from_secs(20), "start-up", || {
        (0..SERVICES).for_each(|index| {
            allocator.import(service(index));
        });
        allocator.start()
    });
    assert_eq!(changes.services.len() as u64, SERVICES);
    assert!(
        allocator
            .pool_statuses()
            .all(|status| status.used == u128::from(SERVICES / POOLS))
    );

    let single = Duration::from_millis(50);
    let changes = within(single, "a service", || {
        allocator.upsert_service(service(SERVICES))
    });
    assert_eq!((changes.services.len(), changes.pools.len()), (1, 1));
    let id = ServiceId::new("default", "service-7");
    let changes = within(single, "a removal", || allocator.remove_service(&id));
    assert_eq!((changes.services.len(), changes.pools.len()), (1, 1));
    let list = pools(Some(7));
    let changes = within(single, "a pool edit", || allocator.set_pools(list)).unwrap();
    assert_eq!((changes.services.len(), changes.pools.len()), (0, 1));
}
