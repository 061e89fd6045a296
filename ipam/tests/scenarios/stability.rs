//! When addresses stay and when they have to go.

use landfall_ipam::Reason;

use super::support::{allocator, has, id, ip, outcome, pool, selecting, service};

#[test]
fn widening_and_shrinking_around_a_service_moves_nothing() {
    // Both are complaints about Cilium: issues 40358 and 41458 of its repository.
    let mut allocator = allocator(vec![pool("public", 1, &["192.168.1.120-192.168.1.127"])]);
    allocator.upsert_service(service("one", 1));
    allocator.upsert_service(service("two", 2));
    for blocks in [
        &["192.168.1.117-192.168.1.127"][..],
        &["192.168.1.120-192.168.1.121"],
        &["192.168.1.120", "192.168.1.121-192.168.1.122"],
        &["192.168.1.0/24"],
    ] {
        let changes = allocator
            .set_pools(vec![pool("public", 1, blocks)])
            .unwrap();
        assert!(changes.services.is_empty(), "{blocks:?}");
    }
    assert_eq!(has(&allocator, "one"), "192.168.1.120");
}

#[test]
fn shrinking_past_a_service_moves_only_that_one() {
    let mut allocator = allocator(vec![pool("lan", 1, &["10.0.0.0-10.0.0.9"])]);
    for (created, name) in ["a", "b", "c"].into_iter().enumerate() {
        allocator.upsert_service(service(name, created as u64));
    }
    let changes = allocator
        .set_pools(vec![pool("lan", 1, &["10.0.0.1-10.0.0.9"])])
        .unwrap();
    assert_eq!(changes.services.keys().collect::<Vec<_>>(), [&id("a")]);
    assert_eq!(has(&allocator, "a"), "10.0.0.3");
}

#[test]
fn a_disabled_pool_keeps_what_it_gave_and_gives_nothing_new() {
    let mut allocator = allocator(vec![pool("lan", 1, &["10.0.0.0/28"])]);
    allocator.upsert_service(service("old", 1));
    allocator
        .set_pools(vec![pool("lan", 1, &["10.0.0.0/28"]).with_disabled(true)])
        .unwrap();
    allocator.upsert_service(service("new", 2));
    assert_eq!(has(&allocator, "old"), "10.0.0.0");
    let refused = outcome(&allocator, "new");
    assert_eq!(refused.reason(), Reason::NoPool);
    assert!(
        refused.message().contains("set its spec.disabled to false"),
        "{}",
        refused.message()
    );
    allocator
        .set_pools(vec![pool("lan", 1, &["10.0.0.0/28"])])
        .unwrap();
    assert_eq!(has(&allocator, "new"), "10.0.0.1");
}

#[test]
fn the_younger_of_two_overlapping_pools_conflicts_until_the_overlap_is_gone() {
    let mut allocator = allocator(vec![pool("young", 2, &["10.0.0.0/24"])]);
    allocator.upsert_service(service("first", 1));
    let old = pool("old", 1, &["10.0.0.128/25"]);
    let young = pool("young", 2, &["10.0.0.0/24"]);
    let changes = allocator.set_pools(vec![young.clone(), old]).unwrap();
    assert!(changes.services.is_empty(), "what was given stays");
    let conflict = allocator
        .pool_status("young")
        .unwrap()
        .conflict
        .expect("the pools overlap");
    assert_eq!(&*conflict.with, "old");
    let text = conflict.to_string();
    assert!(
        text.contains("10.0.0.0/24 overlaps 10.0.0.128/25 of the older pool"),
        "{text}"
    );
    allocator.upsert_service(service("second", 2));
    assert_eq!(has(&allocator, "second"), "10.0.0.128");
    allocator
        .set_pools(vec![young, pool("old", 1, &["10.0.1.0/24"])])
        .unwrap();
    assert_eq!(allocator.pool_status("young").unwrap().conflict, None);
    assert_eq!(
        has(&allocator, "second"),
        "10.0.0.128",
        "another pool has it now, and it stays"
    );
    assert_eq!(&*outcome(&allocator, "second").addresses()[0].pool, "young");
}

#[test]
fn relabelling_moves_those_no_longer_selected_and_nobody_else() {
    let blue = || pool("blue", 1, &["10.0.0.0/28"]).with_selector(selecting("color", "blue"));
    let red = || pool("red", 2, &["10.0.1.0/28"]).with_selector(selecting("color", "red"));
    let colored = |name: &str, color: &str| {
        let mut request = service(name, 1);
        request.labels.insert("color".to_owned(), color.to_owned());
        request
    };
    let mut allocator = allocator(vec![blue(), red()]);
    allocator.upsert_service(colored("one", "blue"));
    allocator.upsert_service(colored("two", "blue"));
    let changes = allocator.upsert_service(colored("one", "red"));
    assert_eq!(changes.services.len(), 1);
    assert_eq!(
        (has(&allocator, "one"), has(&allocator, "two")),
        ("10.0.1.0".into(), "10.0.0.1".into())
    );
    let relabelled = red().with_selector(selecting("color", "green"));
    allocator.set_pools(vec![blue(), relabelled]).unwrap();
    assert_eq!(
        (has(&allocator, "one"), has(&allocator, "two")),
        (String::new(), "10.0.0.1".into())
    );
}

#[test]
fn an_address_that_becomes_a_nodes_own_is_given_up() {
    let mut allocator = allocator(vec![pool("lan", 1, &["10.0.0.0/28"])]);
    allocator.upsert_service(service("one", 1));
    allocator.set_forbidden([ip("10.0.0.0")].into());
    assert_eq!(has(&allocator, "one"), "10.0.0.1");
    assert_eq!(allocator.pool_status("lan").unwrap().reserved, 1);
    allocator.set_forbidden([].into());
    assert_eq!(has(&allocator, "one"), "10.0.0.1");
    assert_eq!(allocator.pool_status("lan").unwrap().available, 15);
}

#[test]
fn a_status_that_lags_behind_is_not_believed() {
    let mut allocator = allocator(vec![pool("lan", 1, &["10.0.0.0/28"])]);
    allocator.upsert_service(service("one", 1));
    let mut stale = service("one", 1);
    stale.current = vec![ip("10.0.0.7")];
    assert!(allocator.upsert_service(stale).is_empty());
    assert_eq!(has(&allocator, "one"), "10.0.0.0");
}

#[test]
fn a_changed_request_moves_the_service() {
    let mut allocator = allocator(vec![pool("lan", 1, &["10.0.0.0/28"])]);
    allocator.upsert_service(service("one", 1));
    let mut request = service("one", 1);
    request.requested = vec![ip("10.0.0.9"), ip("10.0.0.8"), ip("10.0.0.9")];
    let changes = allocator.upsert_service(request);
    assert!(changes.services[&id("one")].lost.contains(&ip("10.0.0.0")));
    assert_eq!(has(&allocator, "one"), "10.0.0.8,10.0.0.9");
    assert!(
        allocator
            .upsert_service(service("one", 1))
            .services
            .is_empty(),
        "both are legal still"
    );
}
