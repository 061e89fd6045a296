//! How soon a node's word on itself is in the store: one election by hand, as the store's answers decide.

use std::sync::Arc;
use std::time::Duration;

use crate::election::*;
use crate::model::NodeName;

/// The write of the node's own lease among `actions`, with the payload in it.
fn renewal(actions: &[Action]) -> Option<(RequestId, &str)> {
    actions.iter().find_map(|action| match action {
        Action::Cas(Write {
            request,
            record: Some(Record::Node(lease)),
            ..
        }) => Some((*request, &*lease.payload)),
        _ => None,
    })
}

fn at(millis: u64) -> Moment {
    Moment::from_boot(Duration::from_secs(100) + Duration::from_millis(millis))
}

/// An election alone on an empty store, with its first write under way since `at(1)`.
fn joining() -> (Election, RequestId) {
    let me = Identity {
        node: NodeName::new("n1"),
        incarnation: Incarnation(1),
        boot: BootId(1),
        first_term: Term(1),
    };
    let mut election = Election::new(me, Settings::default(), at(0));
    let mut actions = election.handle(Event::Synced { as_of: at(0) }, at(0));
    if actions.contains(&Action::Silence) {
        actions = election.handle(Event::Silenced, at(1));
    }
    let (request, payload) = renewal(&actions).expect("it joins at once");
    assert_eq!(payload, "");
    (election, request)
}

fn done(request: RequestId, revision: u64) -> Event {
    Event::Done {
        request,
        outcome: Outcome::Written(Revision(revision)),
    }
}

#[test]
fn a_payload_published_while_a_renewal_is_under_way_is_written_as_soon_as_that_ends() {
    let (mut election, request) = joining();
    let actions = election.handle(Event::Payload("news".into()), at(2));
    assert_eq!(renewal(&actions), None, "one write at a time");
    let actions = election.handle(done(request, 1), at(5));
    let (request, payload) = renewal(&actions).expect("the next write follows at once");
    assert_eq!(payload, "news");
    let actions = election.handle(done(request, 2), at(8));
    assert_eq!(
        renewal(&actions),
        None,
        "and then the renewals' pace is back"
    );
    assert!(election.poll_deadline() > Some(at(500)));
}

#[test]
fn a_payload_published_between_renewals_is_written_at_once() {
    let (mut election, request) = joining();
    let actions = election.handle(done(request, 1), at(5));
    assert_eq!(renewal(&actions), None);
    let actions = election.handle(Event::Payload("news".into()), at(300));
    assert_eq!(renewal(&actions).map(|(_, payload)| payload), Some("news"));
}

#[test]
fn a_restarted_agents_first_write_keeps_what_its_predecessor_told() {
    let node = NodeName::new("n1");
    let me = Identity {
        node: node.clone(),
        incarnation: Incarnation(2),
        boot: BootId(1),
        first_term: Term(9),
    };
    let before = NodeLease {
        node: node.clone(),
        incarnation: Incarnation(1),
        boot: BootId(1),
        term: Term(3),
        renewals: 7,
        duration: Duration::from_secs(3),
        fenced_by: None,
        bequests: Arc::default(),
        payload: "old news".into(),
    };
    let mut election = Election::new(me, Settings::default(), at(0));
    election.handle(
        Event::Observed {
            name: LeaseName::of_node(&node),
            revision: Some(Revision(7)),
            content: Content::Record(Record::Node(before)),
        },
        at(0),
    );
    let actions = election.handle(Event::Synced { as_of: at(0) }, at(1));
    let (_, payload) = renewal(&actions).expect("it takes its own lease at once");
    assert_eq!(payload, "old news");
}
