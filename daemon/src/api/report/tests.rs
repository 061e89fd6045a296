use std::sync::Arc;

use landfall_core::election::{
    BootId, Cause, Content, Incarnation, NodeLease, Record, Revision, Term,
};
use landfall_core::model::{ObjectName, Port, Protocol};
use landfall_core::plan::service_table::FrontendKey;

use super::*;

fn port(number: u16) -> Port {
    Port::new(number).expect("not 0")
}

#[test]
fn draining_backends_are_listed_as_terminating_after_the_active_ones() {
    let backend = |last: u8| service_table::Backend {
        address: IpAddr::from([10, 244, 0, last]),
        port: port(8080),
        node: Some(NodeName::new("node1")),
    };
    let frontend = service_table::Frontend {
        service: ObjectName::new("default", "svc1"),
        port_name: "web".into(),
        kind: FrontendKind::LoadBalancer,
        backends: vec![backend(9)],
        draining: vec![backend(2)],
        source_ranges: Vec::new(),
        affinity: None,
        local_only: true,
    };
    let key = FrontendKey {
        address: IpAddr::from([10, 10, 200, 1]),
        port: port(80),
        protocol: Protocol::Tcp,
    };
    let table = ServiceTable {
        frontends: [(key, Arc::new(frontend))].into(),
    };
    let listed = frontends(&table);
    assert_eq!(listed.len(), 1);
    assert_eq!(
        (listed[0].id, listed[0].traffic_policy.as_str()),
        (1, "Local")
    );
    let states: Vec<_> = listed[0]
        .backends
        .iter()
        .map(|b| (b.address.to_string(), b.state.as_str()))
        .collect();
    assert_eq!(
        states,
        [
            ("10.244.0.9".to_owned(), "active"),
            ("10.244.0.2".to_owned(), "terminating")
        ]
    );
}

#[test]
fn a_service_lease_is_valid_while_its_holders_node_lease_is() {
    let at = |seconds| Moment::from_boot(Duration::from_secs(seconds));
    let node2 = NodeName::new("node2");
    let mut table = LeaseTable::default();
    let node = Record::Node(NodeLease {
        node: node2.clone(),
        incarnation: Incarnation(1),
        boot: BootId(1),
        term: Term(5),
        renewals: 1,
        duration: Duration::from_secs(3),
        fenced_by: None,
        bequests: Arc::default(),
        payload: Arc::from(""),
    });
    let name = LeaseName::of_node(&node2);
    table.observe(&name, Some(Revision(1)), Content::Record(node), at(100));
    let service = Record::Service(ServiceLease {
        holder: Some(Holder {
            node: node2,
            term: Term(5),
        }),
        previous: None,
        cause: Cause::First,
        acquired_unix: 1_000,
        transitions: 1,
    });
    let name = LeaseName::of_service("default", "svc1");
    table.observe(&name, Some(Revision(1)), Content::Record(service), at(100));

    let me = NodeName::new("node1");
    let addresses = [(name, vec![IpAddr::from([10, 10, 200, 1])])].into();
    let judged = |now| -> Vec<bool> {
        leases(&table, &me, at(now), &addresses)
            .iter()
            .map(|lease| lease.valid)
            .collect()
    };
    assert_eq!(judged(102), [true, true]);
    assert_eq!(judged(104), [false, false]);
    let listed = leases(&table, &me, at(102), &addresses);
    assert_eq!(listed[1].name, "landfall-l2-default.svc1");
    assert_eq!(listed[1].holder.as_deref(), Some("node2"));
    assert!(!listed[1].ours);
    assert_eq!(listed[1].addresses.len(), 1);
}

#[test]
fn a_conflict_is_a_complaint_and_no_announcement() {
    use landfall_core::model::{AnnouncedVip, MacAddress};

    let held = AnnouncedVip {
        ip: IpAddr::from([10, 10, 200, 1]),
        lease: LeaseName::of_service("default", "svc1"),
        index: LinkIndex(2),
        interface: "ens3".to_owned(),
        responder: "kernel",
        state: VipState::Announcing,
        since: UNIX_EPOCH,
    };
    let taken = AnnouncedVip {
        ip: IpAddr::from([10, 10, 200, 2]),
        state: VipState::Conflict(MacAddress([2, 0, 0, 0, 0, 9])),
        ..held.clone()
    };
    let report = AnnounceReport {
        vips: vec![held, taken],
        ..AnnounceReport::default()
    };
    let answers = [((LinkIndex(2), IpAddr::from([10, 10, 200, 1])), 7)].into();
    let told = announcements(&report, &NodeName::new("node1"), &BTreeMap::new(), &answers);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].answers, Some(7));
    let complaints = announce_complaints(&report);
    assert_eq!(complaints.len(), 1);
    assert_eq!(complaints[0].object, "address 10.10.200.2");
    assert!(
        complaints[0]
            .problem
            .starts_with("02:00:00:00:00:09 has it on ens3")
    );
}
