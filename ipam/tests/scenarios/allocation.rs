//! Which address a service gets.

use landfall_ipam::{
    Allocator, Created, Family, FamilyRequest, FirstLast, Lacking, Outcome, Pool, Reason, ServiceId,
};

use super::support::{allocator, block, has, id, ip, outcome, pool, selecting, service};

#[test]
fn the_example_gets_its_three_addresses() {
    let blocks = vec![block("10.10.200.0/29")];
    let lan = Pool::new("cilium-pool", Created(1), blocks, FirstLast::Reserved).unwrap();
    let mut allocator = allocator(vec![lan]);
    for name in ["svc1", "svc2", "svc3"] {
        allocator.upsert_service(service(name, 2));
    }
    let all = ["svc1", "svc2", "svc3"].map(|name| has(&allocator, name));
    assert_eq!(all, ["10.10.200.1", "10.10.200.2", "10.10.200.3"]);
    let status = allocator.pool_status("cilium-pool").unwrap();
    assert_eq!((status.total, status.used, status.available), (6, 3, 3));
}

#[test]
fn the_oldest_pool_gives_first_and_the_next_when_it_is_full() {
    let pools = vec![pool("a", 2, &["10.0.0.1"]), pool("b", 1, &["10.0.1.1"])];
    let mut allocator = allocator(pools);
    for (created, name) in ["one", "two", "three"].into_iter().enumerate() {
        allocator.upsert_service(service(name, created as u64));
    }
    assert_eq!(has(&allocator, "one"), "10.0.1.1");
    assert_eq!(has(&allocator, "two"), "10.0.0.1");
    assert_eq!(outcome(&allocator, "three").reason(), Reason::OutOfIps);
}

#[test]
fn a_selector_sees_labels_name_and_namespace() {
    let pools = vec![
        pool("name", 1, &["10.0.1.0/24"])
            .with_selector(selecting("io.kubernetes.service.name", "special")),
        pool("namespace", 2, &["10.0.2.0/24"])
            .with_selector(selecting("io.kubernetes.service.namespace", "tenant")),
        pool("label", 3, &["10.0.3.0/24"]).with_selector(selecting("color", "blue")),
    ];
    let mut allocator = allocator(pools);
    allocator.upsert_service(service("special", 1));
    assert_eq!(has(&allocator, "special"), "10.0.1.0");
    let mut blue = service("blue", 1);
    blue.labels.insert("color".to_owned(), "blue".to_owned());
    allocator.upsert_service(blue);
    assert_eq!(has(&allocator, "blue"), "10.0.3.0");
    let mut tenant = service("any", 1);
    tenant.id = ServiceId::new("tenant", "any");
    let changes = allocator.upsert_service(tenant.clone());
    assert!(
        changes.services[&tenant.id]
            .gained
            .contains(&ip("10.0.2.0"))
    );
    allocator.upsert_service(service("nobody", 1));
    assert_eq!(outcome(&allocator, "nobody").reason(), Reason::NoPool);
}

#[test]
fn a_pool_as_large_as_ipv6_allows_is_no_burden() {
    let mut allocator = allocator(vec![pool("all", 1, &["::/0"])]);
    let mut request = service("six", 1);
    request.families = FamilyRequest::SingleStack(Family::V6);
    request.requested = vec![ip("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")];
    allocator.upsert_service(request);
    assert!(outcome(&allocator, "six").is_satisfied());
    let status = allocator.pool_status("all").unwrap();
    assert_eq!(
        (status.total, status.used, status.available),
        (u128::MAX, 1, u128::MAX)
    );
}

#[test]
fn dual_stack_is_required_preferred_or_not_asked_for() {
    let mut allocator = allocator(vec![pool("four", 1, &["10.0.0.0/24"])]);
    let mut require = service("require", 1);
    require.families = FamilyRequest::RequireDualStack(Family::V6);
    let mut prefer = service("prefer", 2);
    prefer.families = FamilyRequest::PreferDualStack(Family::V4);
    let mut single = service("single", 3);
    single.families = FamilyRequest::SingleStack(Family::V6);
    for request in [require, prefer, single] {
        allocator.upsert_service(request);
    }
    assert!(matches!(
        outcome(&allocator, "require"),
        Outcome::Partial { .. }
    ));
    assert_eq!(outcome(&allocator, "require").reason(), Reason::NoPool);
    assert!(outcome(&allocator, "prefer").is_satisfied());
    let unmet = &outcome(&allocator, "prefer").refusals()[0];
    assert_eq!(unmet.lacking, Lacking::Family(Family::V6));
    assert!(matches!(
        outcome(&allocator, "single"),
        Outcome::Refused { .. }
    ));

    let four = pool("four", 1, &["10.0.0.0/24"]);
    let changes = allocator
        .set_pools(vec![four, pool("six", 2, &["2001:db8::/64"])])
        .unwrap();
    assert_eq!(changes.services.len(), 3);
    assert!(
        changes
            .services
            .values()
            .all(|change| change.lost.is_empty())
    );
    assert_eq!(has(&allocator, "require"), "2001:db8::,10.0.0.0");
    assert_eq!(has(&allocator, "prefer"), "10.0.0.1,2001:db8::1");
    assert_eq!(has(&allocator, "single"), "2001:db8::2");
}

#[test]
fn what_becomes_free_goes_to_the_oldest_who_waits() {
    let mut allocator = allocator(vec![pool("one", 1, &["10.0.0.1"])]);
    for (name, created) in [("holder", 5), ("young", 9), ("old", 1)] {
        allocator.upsert_service(service(name, created));
    }
    let changes = allocator.remove_service(&id("holder"));
    assert_eq!(has(&allocator, "old"), "10.0.0.1");
    assert_eq!(outcome(&allocator, "young").reason(), Reason::OutOfIps);
    assert_eq!(changes.services[&id("holder")].outcome, None);
    assert!(
        !changes.services.contains_key(&id("young")),
        "nothing changed for it"
    );
}

#[test]
fn nothing_is_allocated_before_the_start() {
    let mut allocator = Allocator::new();
    allocator
        .set_pools(vec![pool("one", 1, &["10.0.0.0/30"])])
        .unwrap();
    let mut young = service("young", 2);
    young.current = vec![ip("10.0.0.0")];
    assert!(allocator.import(service("old", 1)).is_empty());
    assert!(allocator.import(young).is_empty());
    assert!(!allocator.is_started());
    assert_eq!(allocator.outcome(&id("old")), None);
    let changes = allocator.start();
    assert_eq!(has(&allocator, "young"), "10.0.0.0");
    assert_eq!(has(&allocator, "old"), "10.0.0.1");
    assert!(
        changes.services[&id("young")].gained.is_empty(),
        "it had the address before"
    );
}

#[test]
fn two_pools_of_one_name_change_nothing() {
    let mut allocator = allocator(vec![pool("one", 1, &["10.0.0.0/30"])]);
    let twice = vec![
        pool("two", 1, &["10.0.1.0/30"]),
        pool("two", 2, &["10.0.2.0/30"]),
    ];
    let error = allocator.set_pools(twice).expect_err("the names are equal");
    assert!(error.to_string().contains("rename one of them"), "{error}");
    assert!(allocator.pool("one").is_some() && allocator.pool("two").is_none());
}

#[test]
fn overlapping_blocks_of_one_pool_are_an_error() {
    let blocks = vec![
        block("10.0.0.0/24"),
        block("10.0.1.0/24"),
        block("10.0.0.9-10.0.0.12"),
    ];
    let error = Pool::new("one", Created(1), blocks, FirstLast::Allowed).expect_err("they overlap");
    let text = error.to_string();
    assert!(
        text.starts_with("spec.blocks[2]: 10.0.0.9-10.0.0.12 overlaps spec.blocks[0]"),
        "{text}"
    );
}
