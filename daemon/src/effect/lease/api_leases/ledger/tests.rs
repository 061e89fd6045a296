//! Every order in which two roads can bring news of one lease.

use super::*;
use crate::effect::lease::api_leases::error::Verb;

fn name() -> LeaseName {
    LeaseName::of_service("default", "web")
}

fn version(revision: u64) -> Version {
    let uid = "a".into();
    Version { revision, uid }
}

fn found(revision: u64) -> Found {
    Found {
        name: name(),
        version: version(revision),
        content: Content::Torn,
    }
}

/// The revision observed, or nothing of a lease that is gone.
fn seen(event: Option<StoreEvent>) -> Option<Option<u64>> {
    match event? {
        StoreEvent::Election(Event::Observed { revision, .. }) => Some(revision.map(|it| it.0)),
        other => panic!("{other:?} is no observation"),
    }
}

fn as_of(event: Option<StoreEvent>) -> Option<Moment> {
    match event? {
        StoreEvent::Election(Event::Synced { as_of }) => Some(as_of),
        other => panic!("{other:?} is no word of being synced"),
    }
}

fn at(seconds: u64) -> Moment {
    Moment::from_boot(Duration::from_secs(seconds))
}

#[test]
fn the_end_of_a_lease_that_was_made_anew_meanwhile_is_not_told() {
    let mut ledger = Ledger::default();
    assert_eq!(seen(ledger.changed(found(5))), Some(Some(5)));
    ledger.written(&name(), version(10));
    assert_eq!(seen(ledger.ended(name(), 7)), None);
    assert_eq!(seen(ledger.missed(name(), 9)), None);
    assert_eq!(seen(ledger.changed(found(10))), Some(Some(10)));
    assert_eq!(seen(ledger.ended(name(), 11)), Some(None));
}

#[test]
fn what_a_list_has_told_already_a_late_watch_does_not_take_back() {
    let mut ledger = Ledger::default();
    ledger.changed(found(5));
    // Deleted at 6, made anew at 8, listed at 9; the watch comes to all that afterwards.
    assert_eq!(seen(ledger.listed(found(8))), Some(Some(8)));
    ledger.pass(9);
    assert_eq!(seen(ledger.ended(name(), 6)), None);
    assert_eq!(seen(ledger.changed(found(8))), None);
}

#[test]
fn what_this_node_wrote_is_told_by_the_watch_all_the_same_and_what_was_before_is_not() {
    let mut ledger = Ledger::default();
    ledger.written(&name(), version(10));
    assert_eq!(seen(ledger.changed(found(9))), None);
    assert_eq!(seen(ledger.changed(found(10))), Some(Some(10)));
    assert_eq!(seen(ledger.listed(found(10))), None, "known and told");
}

#[test]
fn a_version_is_given_for_the_latest_revision_only() {
    let mut ledger = Ledger::default();
    ledger.changed(found(5));
    assert_eq!(ledger.version(&name(), Revision(5)), Some(version(5)));
    ledger.written(&name(), version(6));
    assert_eq!(ledger.version(&name(), Revision(5)), None);
    assert_eq!(ledger.version(&name(), Revision(6)), Some(version(6)));
}

#[test]
fn the_view_is_as_fresh_as_the_beginning_of_a_write_that_the_watch_has_passed() {
    let mut ledger = Ledger::default();
    ledger.pass(10);
    assert_eq!(as_of(ledger.mark(12, 10, at(1))), None);
    assert_eq!(as_of(ledger.pass(11)), None);
    assert_eq!(as_of(ledger.pass(12)), Some(at(1)));
    // The watch was faster than the answer to the write.
    ledger.pass(20);
    assert_eq!(as_of(ledger.mark(19, 18, at(2))), Some(at(2)));
    // Several at once count as the last of them.
    ledger.mark(21, 20, at(3));
    ledger.mark(22, 20, at(4));
    ledger.mark(30, 20, at(5));
    assert_eq!(as_of(ledger.pass(25)), Some(at(4)));
}

#[test]
fn a_watch_is_stuck_where_it_was_open_for_long_and_has_not_told_of_a_write() {
    let mut ledger = Ledger::default();
    assert!(!ledger.is_stuck(at(0), at(100)), "nothing to tell of");
    ledger.mark(5, 4, at(10));
    assert!(!ledger.is_stuck(at(0), at(12)));
    assert!(ledger.is_stuck(at(0), at(13)));
    assert!(!ledger.is_stuck(at(12), at(13)), "just opened");
    ledger.pass(5);
    assert!(!ledger.is_stuck(at(0), at(100)));
}

#[test]
fn one_trouble_is_told_once_and_its_end_when_both_roads_are_well() {
    let away = |verb| ApiLeaseError::late(verb);
    let mut ledger = Ledger::default();
    assert!(ledger.well(Doing::Writing).is_none(), "it was never ill");
    let first = ledger.trouble(Doing::Writing, away(Verb::Update));
    assert!(matches!(first, Some(StoreEvent::Trouble(_))));
    let again = ledger.trouble(Doing::Writing, away(Verb::Create));
    assert!(again.is_none());
    let other = ledger.trouble(Doing::Reading, away(Verb::Watch));
    assert!(other.is_none());
    assert!(ledger.well(Doing::Writing).is_none());
    assert!(matches!(
        ledger.well(Doing::Reading),
        Some(StoreEvent::Recovered)
    ));
}

#[test]
fn a_write_below_what_the_server_has_named_shows_that_the_store_went_back() {
    let mut ledger = Ledger::default();
    ledger.changed(found(50));
    ledger.pass(60);
    assert_eq!(as_of(ledger.mark(41, 60, at(1))), None, "not a fresh view");
    assert!(ledger.has_gone_back());
    assert_eq!(ledger.begin_list(), 60);
    assert!(!ledger.has_gone_back(), "the list will tell");
    ledger.restart(42);
    assert_eq!((ledger.passed(), ledger.names()), (0, Vec::new()));
    assert_eq!(seen(ledger.listed(found(40))), Some(Some(40)));
}
