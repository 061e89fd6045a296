//! What agents read back, and what people are shown.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use landfall_core::election::{
    BootId, Cause, Fence, Holder, Incarnation, NodeLease, ServiceLease, Term,
};
use landfall_core::model::NodeName;
use landfall_core::quorum::record::{Epoch, MemberRecord};

use super::*;

fn node(name: &str) -> NodeLease {
    NodeLease {
        node: NodeName::new(Arc::<str>::from(name)),
        incarnation: Incarnation(7),
        boot: BootId(8),
        term: Term(9),
        renewals: 10,
        duration: Duration::from_millis(2_500),
        fenced_by: None,
        bequests: Arc::default(),
        payload: "{\"drain\":true}".into(),
    }
}

fn service() -> ServiceLease {
    ServiceLease {
        holder: Some(Holder {
            node: NodeName::new("n1"),
            term: Term(9),
        }),
        previous: None,
        cause: Cause::Takeover,
        acquired_unix: 1_700_000_000,
        transitions: 3,
    }
}

fn members() -> Record {
    Record::Members(MemberRecord {
        epoch: Epoch(4),
        members: BTreeSet::from(["n1", "n2", "n3"].map(NodeName::new)),
        previous: None,
    })
}

/// The object as the server would give it back.
fn stored(name: &LeaseName, record: &Record) -> Lease {
    let mut lease = write(name, record, None, Timestamp::UNIX_EPOCH);
    lease.metadata.resource_version = Some("42".into());
    lease.metadata.uid = Some("u".into());
    lease
}

#[test]
fn records_are_read_as_they_were_written() {
    let vip = LeaseName::of_service("default", "web");
    let own = node("n1.lan");
    for (name, record) in [
        (LeaseName::of_node(&own.node), Record::Node(own)),
        (vip, Record::Service(service())),
        (LeaseName::members(), members()),
    ] {
        let found = read(stored(&name, &record)).expect("a number");
        let found = found.expect("one of ours");
        assert_eq!(found.content, Content::Record(record));
        assert_eq!((found.name, found.version.revision), (name, 42));
    }
}

#[test]
fn people_are_told_who_holds_what() {
    let spec = |record: &Record| for_people(record, Timestamp::UNIX_EPOCH);
    let mut lease = node("n1");
    let shown = spec(&Record::Node(lease.clone()));
    assert_eq!(shown.holder_identity.as_deref(), Some("n1"));
    assert_eq!(shown.lease_duration_seconds, Some(3));
    assert_eq!(shown.renew_time, Some(MicroTime(Timestamp::UNIX_EPOCH)));
    lease.fenced_by = Some(Fence {
        node: NodeName::new("n2"),
        incarnation: Incarnation(1),
    });
    assert_eq!(spec(&Record::Node(lease)).holder_identity, None);
    let shown = spec(&Record::Service(service()));
    assert_eq!(shown.holder_identity.as_deref(), Some("n1"));
    assert_eq!(shown.lease_transitions, Some(3));
    let acquired = shown.acquire_time.expect("a moment").0;
    assert_eq!(acquired.as_second(), 1_700_000_000);
    let between = ServiceLease {
        holder: None,
        transitions: u64::MAX,
        acquired_unix: u64::MAX,
        ..service()
    };
    let shown = spec(&Record::Service(between));
    assert_eq!((shown.holder_identity, shown.acquire_time), (None, None));
    assert_eq!(shown.lease_transitions, Some(i32::MAX));
}

#[test]
fn what_is_no_record_or_that_of_another_lease_is_torn() {
    let (one, other) = (node("n1"), node("n2"));
    let name = LeaseName::of_node(&one.node);
    let vip = LeaseName::of_service("default", "web");
    let wrong = [
        stored(&name, &Record::Node(other)),
        stored(&vip, &Record::Node(one.clone())),
        stored(&name, &Record::Service(service())),
        stored(&vip, &members()),
    ];
    for lease in wrong {
        let found = read(lease).expect("a number").expect("one of ours");
        assert_eq!(found.content, Content::Torn, "{}", found.name);
    }
    for text in [None, Some(""), Some("{}"), Some("{\"kind\":\"removed\"}")] {
        let mut lease = stored(&name, &Record::Node(one.clone()));
        let annotations = text.map(|text| [(RECORD.to_owned(), text.to_owned())].into());
        lease.metadata.annotations = annotations;
        let found = read(lease).expect("a number").expect("one of ours");
        assert_eq!(found.content, Content::Torn, "{text:?}");
    }
}

#[test]
fn a_version_that_is_no_number_is_an_error_that_says_what_is_needed() {
    let vip = LeaseName::of_service("default", "web");
    let mut lease = stored(&vip, &Record::Service(service()));
    lease.metadata.resource_version = Some("v42".into());
    let error = read(lease).expect_err("not a number").to_string();
    assert!(error.contains("v42") && error.contains("etcd"), "{error}");
}

#[test]
fn the_longest_names_are_legal_and_differ() {
    let long = |end: &str| format!("{}{end}", "x".repeat(63 - end.len()));
    let node = |end: &str| {
        let label = "n".repeat(63);
        let last = format!("{}{end}", "n".repeat(61 - end.len()));
        NodeName::new(format!("{label}.{label}.{label}.{last}"))
    };
    let names = [
        LeaseName::of_service(&long("1"), &long("1")),
        LeaseName::of_service(&long("1"), &long("2")),
        LeaseName::of_service(&long("2"), &long("1")),
        LeaseName::of_node(&node("1")),
        LeaseName::of_node(&node("2")),
    ];
    assert_eq!(node("1").as_str().len(), 253);
    let all: BTreeSet<_> = names.iter().collect();
    assert_eq!(all.len(), names.len());
    for name in &names {
        // RFC 1123 subdomains, as the API server asks of a Lease's name.
        assert!(name.as_str().len() <= 253, "{name}");
        let legal = |label: &str| {
            let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            (1..=63).contains(&label.len())
                && label.chars().all(inner)
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        assert!(name.as_str().split('.').all(legal), "{name}");
        assert_eq!(LeaseName::parse(name.as_str()).as_ref(), Some(name));
    }
}
