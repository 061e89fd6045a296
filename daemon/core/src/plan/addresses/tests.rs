use landfall_ipam::{Block, Created, FirstLast};

use super::*;
use crate::model::{Change, Observation};
use crate::plan::fixtures::{Cluster, addresses, ip, link, name, node, pool, service};

fn older(service_name: &str, created: u64) -> Service {
    Service {
        created,
        ..service(service_name)
    }
}

#[test]
fn services_get_addresses_of_the_pool_and_act_on_them_once_they_are_written() {
    let mut cluster = Cluster::new();
    cluster.add_pool(pool("lan", "10.10.200.0/29"));
    for service_name in ["svc1", "svc2", "svc3"] {
        cluster.add_service(service(service_name));
    }
    let plan = cluster.planner.plan().clone();
    assert!(plan.addresses.proposal.is_some());
    assert_eq!(addresses(&plan, "svc1"), [""; 0]);
    assert_eq!(
        *plan.addresses.services[&name("svc1")].reason,
        *REASON_PENDING
    );
    assert!(plan.table.frontends.is_empty() && plan.announcements.vips.is_empty());
    let plan = cluster.plan();
    assert_eq!(addresses(&plan, "svc1"), ["10.10.200.1"]);
    assert_eq!(addresses(&plan, "svc3"), ["10.10.200.3"]);
    assert_eq!(plan.table.frontends.len(), 3);
    assert_eq!(cluster.writes, 1);
}

#[test]
fn nothing_is_allocated_before_every_source_has_synced_and_the_record_is_known() {
    let mut cluster = Cluster::unsynced();
    cluster.add_pool(pool("lan", "10.10.200.0/29"));
    cluster.add_service(service("svc1"));
    cluster.fold(Change::Synced(crate::model::SourceId::Manifests));
    assert!(!cluster.planner.plan().complete);
    assert_eq!(cluster.planner.plan().addresses.proposal, None);
    cluster.fold(Change::Synced(crate::model::SourceId::Links));
    assert!(cluster.planner.plan().complete);
    assert!(cluster.planner.plan().addresses.proposal.is_some());
}

#[test]
fn an_agent_that_becomes_the_allocator_imports_what_the_record_says() {
    let mut first = Cluster::new();
    first.add_pool(pool("lan", "10.10.200.0/29"));
    first.add_service(service("svc1"));
    first.add_service(service("svc2"));
    first.plan();
    first.fold(Change::Service(name("svc1"), None));
    first.plan();
    let record = first.planner.plan().addresses.services.clone();
    let stored = AssignmentRecord {
        services: (*record).clone(),
        leases: BTreeMap::new(),
    };
    let text = serde_json::to_string(&stored).expect("plain data");
    let stored: AssignmentRecord = serde_json::from_str(&text).expect("its own form");

    let mut next = Cluster::new();
    next.planner
        .observe(Observation::Assignments(ObservedAssignments {
            revision: None,
            record: Arc::new(stored),
            recalled: false,
            lost: false,
        }));
    next.add_pool(pool("lan", "10.10.200.0/29"));
    // First seen in another order by this daemon: the record's ages and addresses count.
    next.add_service(older("svc2", 900));
    next.add_service(older("svc0", 1));
    let plan = next.plan();
    assert_eq!(addresses(&plan, "svc2"), ["10.10.200.2"]);
    assert_eq!(plan.addresses.services[&name("svc2")].created, 100);
    assert_eq!(addresses(&plan, "svc0"), ["10.10.200.1"]);
}

#[test]
fn one_who_does_not_allocate_follows_the_record_and_proposes_nothing() {
    let mut leader = Cluster::new();
    leader.add_pool(pool("lan", "10.10.200.0/29"));
    leader.add_service(service("svc1"));
    let proposal = leader
        .planner
        .plan()
        .addresses
        .proposal
        .clone()
        .expect("an allocation");
    let mut follower = Cluster::new();
    follower.planner.observe(Observation::Allocating(false));
    follower.add_service(service("svc1"));
    assert_eq!(addresses(&follower.plan(), "svc1"), [""; 0]);
    follower
        .planner
        .observe(Observation::Assignments(ObservedAssignments {
            revision: Some(Revision(1)),
            record: Arc::clone(&proposal.record),
            recalled: false,
            lost: false,
        }));
    assert_eq!(addresses(&follower.plan(), "svc1"), ["10.10.200.1"]);
    assert_eq!(follower.plan().table.frontends.len(), 1);
}

#[test]
fn a_record_written_by_another_allocator_is_imported_and_nobody_moves() {
    let mut cluster = Cluster::new();
    cluster.add_pool(pool("lan", "10.10.200.0/29"));
    cluster.add_service(service("svc1"));
    // The write is lost to one that gave svc1 another address, and a Service this node has yet to see its first.
    let services = BTreeMap::from([(name("svc1"), Arc::new(assigned("10.10.200.5")))]);
    assert!(cluster.planner.plan().addresses.proposal.is_some());
    cluster
        .planner
        .observe(Observation::Assignments(ObservedAssignments {
            revision: Some(Revision(7)),
            record: Arc::new(AssignmentRecord {
                services,
                leases: BTreeMap::new(),
            }),
            recalled: false,
            lost: false,
        }));
    let plan = cluster.plan();
    assert_eq!(addresses(&plan, "svc1"), ["10.10.200.5"]);
    assert_eq!(cluster.writes, 0);
}

#[test]
fn a_second_proposal_waits_for_the_first_and_then_stands_on_it() {
    let mut cluster = Cluster::new();
    cluster.add_pool(pool("lan", "10.10.200.0/29"));
    cluster.add_service(service("svc1"));
    let first = cluster
        .planner
        .plan()
        .addresses
        .proposal
        .clone()
        .expect("svc1");
    cluster.add_service(service("svc2"));
    let second = cluster
        .planner
        .plan()
        .addresses
        .proposal
        .clone()
        .expect("svc2");
    assert_eq!((first.expected, second.expected), (None, None));
    cluster.write(&first);
    let third = cluster
        .planner
        .plan()
        .addresses
        .proposal
        .clone()
        .expect("svc2");
    assert_eq!(third.expected, Some(Revision(1)));
    assert_eq!(third.record, second.record);
    cluster.write(&third);
    assert_eq!(addresses(&cluster.plan(), "svc2"), ["10.10.200.2"]);
}

#[test]
fn a_node_s_own_address_is_never_given_and_is_taken_from_whoever_has_it() {
    let mut cluster = Cluster::new();
    cluster.add_pool(pool("lan", "10.10.200.8/29"));
    let wish = Service {
        requested_ips: vec![ip("10.10.200.11")],
        ..service("svc1")
    };
    cluster.add_service(wish);
    cluster.add_service(service("svc2"));
    let plan = cluster.plan();
    assert_eq!(addresses(&plan, "svc1"), [""; 0]);
    assert_eq!(
        &*plan.addresses.services[&name("svc1")].reason,
        "reserved_address"
    );
    assert_eq!(addresses(&plan, "svc2"), ["10.10.200.9"]);
    cluster.fold(Change::Node(
        crate::model::NodeName::new("n9"),
        Some(node("n9", "10.10.200.9")),
    ));
    let planned = cluster.planner.plan();
    assert!(
        planned.table.frontends.is_empty(),
        "gone at once, before the record says so"
    );
    assert_eq!(addresses(&cluster.plan(), "svc2"), ["10.10.200.10"]);
}

#[test]
fn an_address_on_another_interface_of_this_node_is_its_own_too() {
    let mut cluster = Cluster::new();
    cluster.add_pool(pool("lan", "10.10.200.0/29"));
    cluster.add_service(service("svc1"));
    assert_eq!(addresses(&cluster.plan(), "svc1"), ["10.10.200.1"]);
    cluster.fold(Change::Links(vec![
        link(2, "ens3", "10.10.200.11"),
        link(3, "ens4", "10.10.200.1"),
    ]));
    assert_eq!(addresses(&cluster.plan(), "svc1"), ["10.10.200.2"]);
}

#[test]
fn a_service_that_is_no_longer_load_balanced_gives_its_address_back() {
    let mut cluster = Cluster::new();
    let block = Block::parse(None, Some("10.10.200.4"), None).expect("one address");
    let single = Pool::new("one", Created(1), vec![block], FirstLast::Reserved);
    cluster.add_pool(single.expect("a pool"));
    cluster.add_service(older("svc1", 1));
    cluster.add_service(older("svc2", 2));
    let plan = cluster.plan();
    assert_eq!(addresses(&plan, "svc1"), ["10.10.200.4"]);
    assert_eq!(
        &*plan.addresses.services[&name("svc2")].reason,
        "out_of_ips"
    );
    cluster.add_service(Service {
        service_type: ServiceType::ClusterIp,
        ..older("svc1", 1)
    });
    let plan = cluster.plan();
    assert_eq!(addresses(&plan, "svc2"), ["10.10.200.4"]);
    assert!(!plan.addresses.services.contains_key(&name("svc1")));
}

#[test]
fn the_lease_of_a_shared_address_keeps_its_owner_while_anybody_has_it() {
    let sharing = |service_name: &str, created, port| {
        let mut service = older(service_name, created);
        service.sharing_key = Some("key".to_owned());
        service.ports[0].port = crate::plan::fixtures::port(port);
        service
    };
    let mut cluster = Cluster::new();
    cluster.add_pool(pool("lan", "10.10.200.0/29"));
    cluster.add_service(sharing("a", 1, 80));
    cluster.add_service(sharing("b", 2, 81));
    let plan = cluster.plan();
    assert_eq!(addresses(&plan, "a"), addresses(&plan, "b"));
    let leases = |plan: &crate::plan::Plan| {
        plan.announcements
            .vips
            .keys()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    assert_eq!(leases(&plan), ["landfall-l2-default.a"]);
    cluster.fold(Change::Service(name("a"), None));
    let plan = cluster.plan();
    assert_eq!(addresses(&plan, "b"), ["10.10.200.1"]);
    assert_eq!(leases(&plan), ["landfall-l2-default.a"]);
    cluster.fold(Change::Service(name("b"), None));
    cluster.add_service(sharing("c", 3, 82));
    let plan = cluster.plan();
    assert_eq!(leases(&plan), ["landfall-l2-default.c"]);
}

#[test]
fn the_record_s_form_on_disk_is_what_it_was() {
    let record = AssignmentRecord {
        services: BTreeMap::from([(
            name("svc1"),
            Arc::new(Assignment {
                created: 100,
                addresses: vec![AssignedAddress {
                    address: ip("10.10.200.1"),
                    pool: "lan".into(),
                }],
                external_ips: vec![ip("192.0.2.1")],
                reason: "satisfied".into(),
                message: "".into(),
            }),
        )]),
        leases: BTreeMap::from([(ip("10.10.200.1"), name("svc0"))]),
    };
    let text = serde_json::to_string(&record).expect("plain data");
    assert_eq!(
        text,
        r#"{"services":[{"namespace":"default","name":"svc1","created":100,"addresses":[{"address":"10.10.200.1","pool":"lan"}],"external_ips":["192.0.2.1"],"reason":"satisfied"}],"leases":[{"address":"10.10.200.1","namespace":"default","name":"svc0"}]}"#
    );
    assert_eq!(
        serde_json::from_str::<AssignmentRecord>(&text).expect("its own form"),
        record
    );
}

/// The store is read, and has no record that could be used.
fn lose(cluster: &mut Cluster, record: AssignmentRecord) {
    cluster
        .planner
        .observe(Observation::Assignments(ObservedAssignments {
            revision: None,
            record: Arc::new(record),
            recalled: false,
            lost: true,
        }));
}

#[test]
fn a_lost_record_is_made_anew_of_what_services_have_by_their_status() {
    let mut cluster = Cluster::new();
    cluster.add_pool(pool("lan", "10.10.200.0/29"));
    cluster.planner.observe(Observation::Allocating(false));
    let mut told = service("svc2");
    told.assigned = vec![ip("10.10.200.4")];
    cluster.add_service(told);
    cluster.add_service(older("svc1", 1));
    assert_eq!(addresses(&cluster.plan(), "svc2"), [""; 0]);
    lose(&mut cluster, AssignmentRecord::default());
    // Nobody allocates yet: what clients use stays in force, and nobody gets anything new.
    let plan = cluster.plan();
    assert_eq!(addresses(&plan, "svc2"), ["10.10.200.4"]);
    assert_eq!(addresses(&plan, "svc1"), [""; 0]);
    assert_eq!(plan.table.frontends.len(), 1);
    cluster.planner.observe(Observation::Allocating(true));
    let plan = cluster.plan();
    assert_eq!(addresses(&plan, "svc2"), ["10.10.200.4"]);
    assert_eq!(addresses(&plan, "svc1"), ["10.10.200.1"]);
    assert_eq!(&*plan.addresses.services[&name("svc2")].reason, "satisfied");
}

#[test]
fn a_lost_record_that_is_still_known_is_written_again_as_it_was() {
    let mut cluster = Cluster::new();
    cluster.add_pool(pool("lan", "10.10.200.0/29"));
    cluster.add_service(service("svc1"));
    let before = cluster.plan();
    let record = AssignmentRecord {
        services: (*before.addresses.services).clone(),
        leases: BTreeMap::new(),
    };
    lose(&mut cluster, record.clone());
    let proposal = cluster.planner.plan().addresses.proposal.clone();
    let proposal = proposal.expect("the record is to be written again");
    assert_eq!((proposal.expected, &*proposal.record), (None, &record));
    assert_eq!(addresses(cluster.planner.plan(), "svc1"), ["10.10.200.1"]);
}

#[test]
fn an_old_memory_of_a_lost_record_gives_way_to_what_the_status_says() {
    let old = AssignmentRecord {
        services: BTreeMap::from([(name("svc1"), Arc::new(assigned("10.10.200.1")))]),
        leases: BTreeMap::new(),
    };
    let mut cluster = Cluster::new();
    cluster.add_pool(pool("lan", "10.10.200.0/29"));
    // Since then svc1 has moved, and svc2 has what it had.
    for (service_name, address) in [("svc1", "10.10.200.2"), ("svc2", "10.10.200.1")] {
        let mut told = service(service_name);
        told.assigned = vec![ip(address)];
        cluster.add_service(told);
    }
    lose(&mut cluster, old);
    let plan = cluster.plan();
    assert_eq!(addresses(&plan, "svc1"), ["10.10.200.2"]);
    assert_eq!(addresses(&plan, "svc2"), ["10.10.200.1"]);
}

#[test]
fn a_status_that_lags_behind_the_record_adds_no_address() {
    let mut cluster = Cluster::new();
    cluster.add_pool(pool("lan", "10.10.200.0/29"));
    cluster.add_service(service("svc1"));
    cluster.plan();
    cluster.planner.observe(Observation::Allocating(false));
    let mut late = service("svc1");
    late.assigned = vec![ip("10.10.200.5")];
    cluster.add_service(late);
    cluster.planner.plan();
    cluster.planner.observe(Observation::Allocating(true));
    assert_eq!(addresses(&cluster.plan(), "svc1"), ["10.10.200.1"]);
}

/// What a Service has that has this address of the pool `lan`.
fn assigned(address: &str) -> Assignment {
    Assignment {
        created: 100,
        addresses: vec![AssignedAddress {
            address: ip(address),
            pool: "lan".into(),
        }],
        external_ips: Vec::new(),
        reason: "satisfied".into(),
        message: "".into(),
    }
}

#[test]
fn a_service_that_the_record_has_no_room_for_is_told_so_until_there_is() {
    let mut cluster = Cluster::new();
    cluster.add_pool(pool("lan", "10.10.200.0/29"));
    cluster.add_service(service("svc1"));
    let reason =
        |plan: &crate::plan::Plan| plan.addresses.services[&name("svc1")].reason.to_string();
    let left_out = |services: &[&str]| {
        let services = services.iter().map(|service| name(service));
        Observation::LeftOut(Arc::new(services.collect()))
    };
    cluster.planner.observe(left_out(&["svc1"]));
    let plan = cluster.planner.plan().clone();
    assert_eq!(reason(&plan), REASON_RECORD_FULL);
    assert_eq!(crate::plan::status::counts(&plan).left_out, 1);
    cluster.planner.observe(left_out(&[]));
    assert_eq!(reason(cluster.planner.plan()), REASON_PENDING);
    // What is in the record goes before.
    cluster.planner.observe(left_out(&["svc1"]));
    assert_eq!(reason(&cluster.plan()), "satisfied");
}
