//! Refusals: the code, the field and the remedy.

use landfall_ipam::{
    Allocator, Created, Family, FamilyRequest, FirstLast, Pool, Reason, ServiceRequest,
};

use super::support::{allocator, block, id, ip, outcome, pool, selecting, service};

/// A world in which every request of the table below goes wrong.
fn world() -> Allocator {
    let edge = Pool::new(
        "edge",
        Created(3),
        vec![block("10.0.3.0/29")],
        FirstLast::Reserved,
    );
    let mut allocator = allocator(vec![
        pool("lan", 1, &["10.0.1.0-10.0.1.1"]),
        pool("blue", 2, &["10.0.2.0/24"]).with_selector(selecting("color", "blue")),
        edge.unwrap().with_selector(selecting("color", "edge")),
        pool("drained", 4, &["10.0.4.0/24"]).with_disabled(true),
        pool("late", 5, &["10.0.1.1-10.0.1.9"]),
    ]);
    allocator.set_forbidden([ip("10.0.1.1")].into());
    allocator.upsert_service(service("holder", 1));
    allocator
}

fn asking(address: &str) -> ServiceRequest {
    let mut request = service("asker", 2);
    request.requested = vec![ip(address)];
    request
}

fn naming(pool: &str) -> ServiceRequest {
    let mut request = service("asker", 2);
    request.pool = Some(pool.to_owned());
    request
}

fn of_family(mut request: ServiceRequest, family: Family) -> ServiceRequest {
    request.families = FamilyRequest::SingleStack(family);
    request
}

#[test]
fn every_refusal_names_field_and_remedy() {
    let keyed = |mut request: ServiceRequest| {
        request.sharing_key = Some("key".to_owned());
        request
    };
    let table = [
        (
            asking("10.0.1.1"),
            Reason::ReservedAddress,
            "landfall.dev/ips",
            "request another one",
        ),
        (
            asking("10.9.9.9"),
            Reason::NoPool,
            "landfall.dev/ips",
            "add it to a pool's spec.blocks",
        ),
        (
            asking("2001:db8::1"),
            Reason::NoPool,
            "landfall.dev/ips",
            "add IPv6 to spec.ipFamilies",
        ),
        (
            asking("10.0.3.7"),
            Reason::NoPool,
            "landfall.dev/ips",
            "allowFirstLastIPs",
        ),
        (
            asking("10.0.4.7"),
            Reason::NoPool,
            "landfall.dev/ips",
            "spec.disabled to false",
        ),
        (
            asking("10.0.1.5"),
            Reason::NoPool,
            "landfall.dev/ips",
            "overlaps the older pool \"lan\"",
        ),
        (
            asking("10.0.2.5"),
            Reason::PoolSelectorMismatch,
            "spec.serviceSelector",
            "labels",
        ),
        (
            asking("10.0.1.0"),
            Reason::AlreadyAllocated,
            "landfall.dev/ips",
            "sharing-key",
        ),
        (
            keyed(asking("10.0.1.0")),
            Reason::AlreadyAllocatedIncompatibleService,
            "landfall.dev/ips",
            "give both the same",
        ),
        (
            service("asker", 2),
            Reason::OutOfIps,
            "spec.blocks",
            "widen a pool",
        ),
        (
            of_family(service("asker", 2), Family::V6),
            Reason::NoPool,
            "spec.blocks",
            "create a LoadBalancerIPPool",
        ),
        (
            naming("missing"),
            Reason::NoPool,
            "landfall.dev/pool",
            "create it",
        ),
        (
            naming("blue"),
            Reason::PoolSelectorMismatch,
            "landfall.dev/pool",
            "labels",
        ),
        (
            naming("drained"),
            Reason::NoPool,
            "landfall.dev/pool",
            "spec.disabled to false",
        ),
        (naming("lan"), Reason::OutOfIps, "spec.blocks", "widen it"),
        (
            of_family(naming("lan"), Family::V6),
            Reason::NoPool,
            "landfall.dev/pool",
            "add an IPv6 block",
        ),
    ];
    for (request, reason, field, remedy) in table {
        let mut allocator = world();
        allocator.upsert_service(request.clone());
        let refused = outcome(&allocator, "asker");
        let text = refused.message();
        assert_eq!(refused.reason(), reason, "{text}");
        assert!(text.starts_with(&format!("{field}: ")), "{text}");
        assert!(text.contains(remedy), "{text}");
        assert!(allocator.waiting().any(|waiting| *waiting == id("asker")));
    }
}

#[test]
fn a_service_no_pool_selects_is_told_so() {
    let blue = pool("blue", 2, &["10.0.2.0/24"]).with_selector(selecting("color", "blue"));
    let mut allocator = allocator(vec![blue]);
    allocator.upsert_service(service("asker", 2));
    let refused = outcome(&allocator, "asker");
    assert_eq!(refused.reason(), Reason::NoPool);
    assert!(
        refused.message().starts_with("spec.serviceSelector: "),
        "{}",
        refused.message()
    );
}

#[test]
fn a_service_whose_named_pool_appears_is_served() {
    // Asking for a pool that does not exist, or is not for the service, is still waiting.
    let mut allocator = allocator(Vec::new());
    allocator.upsert_service({
        let mut request = naming("later");
        request.labels.insert("color".to_owned(), "blue".to_owned());
        request
    });
    let later = || pool("later", 1, &["10.0.0.0/30"]);
    allocator
        .set_pools(vec![later().with_selector(selecting("color", "red"))])
        .unwrap();
    assert_eq!(
        outcome(&allocator, "asker").reason(),
        Reason::PoolSelectorMismatch
    );
    allocator
        .set_pools(vec![later().with_selector(selecting("color", "blue"))])
        .unwrap();
    assert!(outcome(&allocator, "asker").is_satisfied());
}

#[test]
fn codes_are_those_of_cilium_and_one_more() {
    let codes = [
        (Reason::Satisfied, "satisfied"),
        (Reason::NoPool, "no_pool"),
        (Reason::PoolSelectorMismatch, "pool_selector_mismatch"),
        (Reason::AlreadyAllocated, "already_allocated"),
        (
            Reason::AlreadyAllocatedIncompatibleService,
            "already_allocated_incompatible_service",
        ),
        (Reason::OutOfIps, "out_of_ips"),
        (Reason::ReservedAddress, "reserved_address"),
    ];
    for (reason, code) in codes {
        assert_eq!(reason.to_string(), code);
    }
}
