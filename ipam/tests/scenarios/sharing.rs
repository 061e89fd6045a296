//! Services that share addresses.

use landfall_ipam::{CrossNamespace, Family, FamilyRequest, Reason, ServiceId, TrafficPolicy};

use super::support::{allocator, has, id, ip, outcome, pool, service, sharer, tcp};

#[test]
fn services_with_one_key_share_and_a_clash_of_ports_gets_an_address_of_its_own() {
    let mut allocator = allocator(vec![pool("lan", 1, &["10.0.0.0/28"])]);
    for (name, port) in [("web", 80), ("tls", 443), ("web-too", 80), ("tls-too", 443)] {
        allocator.upsert_service(sharer(name, 1, port));
    }
    assert_eq!(has(&allocator, "web"), "10.0.0.0");
    assert_eq!(has(&allocator, "tls"), "10.0.0.0");
    assert_eq!(has(&allocator, "web-too"), "10.0.0.1");
    assert_eq!(has(&allocator, "tls-too"), "10.0.0.1");
    assert_eq!(allocator.pool_status("lan").unwrap().used, 2);
    assert_eq!(allocator.holders(ip("10.0.0.0")).count(), 2);
}

#[test]
fn a_sharer_takes_over_the_whole_set() {
    // A complaint about Cilium: issue 41947 of its repository.
    let mut allocator = allocator(vec![pool("lan", 1, &["10.244.0.105", "10.244.0.227"])]);
    let mut fixture = sharer("fixture", 1, 1);
    fixture.requested = vec![ip("10.244.0.105"), ip("10.244.0.227")];
    fixture.cross_namespace = CrossNamespace::Any;
    let mut traefik = sharer("traefik", 2, 80);
    traefik.id = ServiceId::new("traefik", "traefik");
    traefik.cross_namespace = CrossNamespace::Any;
    allocator.upsert_service(fixture);
    let changes = allocator.upsert_service(traefik.clone());
    let gained = &changes.services[&traefik.id].gained;
    assert_eq!(*gained, [ip("10.244.0.105"), ip("10.244.0.227")].into());
}

#[test]
fn dual_stack_sharers_never_mix_two_sets() {
    let pools = vec![
        pool("four", 1, &["10.0.0.0/28"]),
        pool("six", 2, &["2001:db8::/124"]),
    ];
    let mut allocator = allocator(pools);
    let dual = |name: &str, created, port| {
        let mut request = sharer(name, created, port);
        request.families = FamilyRequest::RequireDualStack(Family::V4);
        request
    };
    allocator.upsert_service(dual("a", 1, 80));
    allocator.upsert_service(dual("b", 2, 80));
    allocator.upsert_service(dual("c", 3, 443));
    assert_eq!(has(&allocator, "a"), "10.0.0.0,2001:db8::");
    assert_eq!(has(&allocator, "b"), "10.0.0.1,2001:db8::1");
    assert_eq!(has(&allocator, "c"), "10.0.0.0,2001:db8::");
    // Of the first set only IPv4 is taken: whoever wants both takes the second set whole.
    let mut four = sharer("four", 4, 8080);
    four.families = FamilyRequest::SingleStack(Family::V4);
    allocator.upsert_service(four);
    assert_eq!(has(&allocator, "four"), "10.0.0.0");
    allocator.upsert_service(dual("d", 5, 8080));
    assert_eq!(has(&allocator, "d"), "10.0.0.1,2001:db8::1");
}

#[test]
fn a_set_that_covers_one_family_is_extended() {
    let pools = vec![
        pool("four", 1, &["10.0.0.0/28"]),
        pool("six", 2, &["2001:db8::/124"]),
    ];
    let mut allocator = allocator(pools);
    allocator.upsert_service(sharer("four", 1, 80));
    let mut dual = sharer("dual", 2, 443);
    dual.families = FamilyRequest::PreferDualStack(Family::V4);
    allocator.upsert_service(dual);
    assert_eq!(has(&allocator, "dual"), "10.0.0.0,2001:db8::");
}

#[test]
fn whoever_stops_being_compatible_has_to_go() {
    let mut allocator = allocator(vec![pool("lan", 1, &["10.0.0.0/28"])]);
    allocator.upsert_service(sharer("old", 1, 80));
    allocator.upsert_service(sharer("young", 2, 443));
    let mut local = sharer("old", 1, 80);
    local.traffic_policy = TrafficPolicy::Local {
        endpoints: "app=web".to_owned(),
    };
    let changes = allocator.upsert_service(local);
    assert_eq!(changes.services.keys().collect::<Vec<_>>(), [&id("old")]);
    assert_eq!(has(&allocator, "old"), "10.0.0.1");
    assert_eq!(has(&allocator, "young"), "10.0.0.0");
}

#[test]
fn one_who_waits_joins_as_soon_as_a_sharer_makes_room() {
    // A complaint about MetalLB: issue 2403 of its repository.
    let mut allocator = allocator(vec![pool("lan", 1, &["1.2.3.4"])]);
    let mut first = sharer("first", 1, 53);
    first.requested = vec![ip("1.2.3.4")];
    let mut second = sharer("second", 2, 53);
    second.requested = vec![ip("1.2.3.4")];
    let third = sharer("third", 3, 53);
    for request in [first.clone(), second, third] {
        allocator.upsert_service(request);
    }
    let refused = outcome(&allocator, "second");
    assert_eq!(
        refused.reason(),
        Reason::AlreadyAllocatedIncompatibleService
    );
    assert!(
        refused.message().contains("both serve 53/TCP"),
        "{}",
        refused.message()
    );
    assert_eq!(outcome(&allocator, "third").reason(), Reason::OutOfIps);
    first.ports = [tcp(54)].into();
    allocator.upsert_service(first);
    assert_eq!(has(&allocator, "second"), "1.2.3.4");
    assert_eq!(outcome(&allocator, "third").reason(), Reason::OutOfIps);
    allocator.remove_service(&id("second"));
    assert_eq!(has(&allocator, "third"), "1.2.3.4");
}

#[test]
fn a_restart_keeps_several_sets_of_one_key() {
    // A complaint about Cilium: pull request 46262 of its repository.
    let lan = || vec![pool("lan", 1, &["10.0.0.0/28"])];
    let mut requests = Vec::new();
    for (name, port, address) in [
        ("d", 80, "10.0.0.5"),
        ("c", 80, "10.0.0.9"),
        ("b", 443, "10.0.0.9"),
        ("a", 443, "10.0.0.5"),
    ] {
        let mut request = sharer(name, 1, port);
        request.current = vec![ip(address)];
        requests.push(request);
    }
    let mut allocator = landfall_ipam::Allocator::new();
    allocator.set_pools(lan()).unwrap();
    for request in requests {
        allocator.import(request);
    }
    let changes = allocator.start();
    assert!(
        changes
            .services
            .values()
            .all(|c| c.lost.is_empty() && c.gained.is_empty())
    );
}

#[test]
fn without_a_key_nothing_is_shared() {
    let mut allocator = allocator(vec![pool("lan", 1, &["10.0.0.0/28"])]);
    allocator.upsert_service(sharer("with", 1, 80));
    let mut without = service("without", 2);
    without.ports = [tcp(443)].into();
    without.requested = vec![ip("10.0.0.0")];
    allocator.upsert_service(without);
    let refused = outcome(&allocator, "without");
    assert_eq!(refused.reason(), Reason::AlreadyAllocated);
    assert!(
        refused
            .message()
            .contains("belongs to service default/with"),
        "{}",
        refused.message()
    );
}
