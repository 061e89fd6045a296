use std::collections::BTreeMap;

use landfall_core::model::NodeName;
use landfall_core::model::{AssignedAddress, Assignment, Change, ObjectName, ObjectRef, SourceId};
use landfall_core::plan::{PlanSettings, Planner};
use landfall_ipam::{Block, Created, FirstLast, Pool};

use super::*;
use crate::source::kubernetes_status::LiveStatus;

fn key(kind: &str, name: &str) -> LiveKey {
    LiveKey {
        kind: kind.into(),
        namespace: "".into(),
        name: name.into(),
    }
}

fn live(keys: &[LiveKey]) -> LiveStatuses {
    let all = keys
        .iter()
        .map(|key| (key.clone(), Arc::new(LiveStatus::default())));
    Arc::new(all.collect())
}

/// A plan with the pools `old` and `new`, which overlaps it, and a Service with an address of `old`.
fn plan(reason: &str) -> Plan {
    let mut planner = Planner::new(PlanSettings {
        node: NodeName::new("n1"),
        endpoints: Default::default(),
        sources: [SourceId::Kubernetes].into(),
    });
    for (created, name) in [(1, "old"), (2, "new")] {
        let block = Block::from_cidr("192.0.2.0/28").expect("a CIDR");
        let pool = Pool::new(name, Created(created), vec![block], FirstLast::Allowed);
        planner.fold(Change::Pool(name.to_owned(), Some(pool.expect("a pool"))));
    }
    let mut plan = planner.plan().clone();
    let entry = Assignment {
        created: 1,
        addresses: vec![AssignedAddress {
            address: "192.0.2.1".parse().expect("an address"),
            pool: "old".into(),
        }],
        external_ips: Vec::new(),
        reason: reason.into(),
        message: "".into(),
    };
    let services = BTreeMap::from([(ObjectName::new("default", "web"), Arc::new(entry))]);
    plan.addresses.services = Arc::new(services);
    plan
}

fn complaint(kind: &str, name: &str, severity: Severity) -> ObjectError {
    ObjectError {
        origin: "a test".to_owned(),
        object: ObjectRef {
            kind: kind.to_owned(),
            name: name.to_owned(),
        },
        field: "spec.interfaces[0]".to_owned(),
        problem: "`(` is no regular expression".to_owned(),
        remedy: "close the bracket".to_owned(),
        severity,
    }
}

/// The conditions of one object, each as type, status and message.
fn said<'a>(wishes: &'a Wishes, key: &LiveKey) -> Vec<(&'a str, &'a str, &'a str)> {
    let conditions = wishes[key].conditions.iter();
    conditions
        .map(|it| (&*it.kind, it.status, &*it.message))
        .collect()
}

#[test]
fn pools_tell_their_counts_and_conflicts_in_the_words_of_their_printer_columns() {
    let keys = [
        key("LoadBalancerIPPool", "old"),
        key("CiliumLoadBalancerIPPool", "new"),
    ];
    let wishes = wishes(&plan("satisfied"), &[], &live(&keys));
    assert_eq!(
        said(&wishes, &keys[0]),
        [
            ("Accepted", "True", ""),
            ("PoolConflict", "False", ""),
            ("IPsTotal", "Unknown", "16"),
            ("IPsAvailable", "Unknown", "15"),
            ("IPsUsed", "Unknown", "1"),
        ]
    );
    let twin = said(&wishes, &keys[1]);
    assert_eq!(twin[0], ("landfall.dev/Accepted", "True", ""));
    assert_eq!((twin[1].0, twin[1].1), ("cilium.io/PoolConflict", "True"));
    assert!(twin[1].2.contains("of the older pool old"), "{twin:?}");
    assert_eq!(twin[4], ("cilium.io/IPsUsed", "Unknown", "0"));
}

#[test]
fn a_wrong_object_says_which_field_and_what_to_write_instead() {
    let keys = [
        key("L2AnnouncementPolicy", "p"),
        key("L2AnnouncementPolicy", "q"),
    ];
    let wrong = complaint("L2AnnouncementPolicy", "p", Severity::Error);
    let doubtful = complaint("L2AnnouncementPolicy", "q", Severity::Warning);
    let wishes = wishes(&plan("satisfied"), &[&wrong, &doubtful], &live(&keys));
    let sentence = "spec.interfaces[0]: `(` is no regular expression; close the bracket";
    assert_eq!(said(&wishes, &keys[0]), [("Accepted", "False", sentence)]);
    assert_eq!(said(&wishes, &keys[1]), [("Accepted", "True", sentence)]);
}

#[test]
fn of_twins_with_one_name_the_one_that_is_complained_of_has_no_counts() {
    let keys = [
        key("LoadBalancerIPPool", "old"),
        key("CiliumLoadBalancerIPPool", "old"),
    ];
    let second = complaint("CiliumLoadBalancerIPPool", "old", Severity::Error);
    let wishes = wishes(&plan("satisfied"), &[&second], &live(&keys));
    assert_eq!(said(&wishes, &keys[0]).len(), 5);
    assert_eq!(said(&wishes, &keys[1]).len(), 1);
}

#[test]
fn nothing_is_counted_while_a_service_waits_for_the_allocator() {
    let keys = [key("LoadBalancerIPPool", "old")];
    assert!(wishes(&plan(REASON_PENDING), &[], &live(&keys)).is_empty());
}
