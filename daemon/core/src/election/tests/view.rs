//! Who may end another's term: one election by hand, with a view of the store that grows old.

use std::sync::Arc;
use std::time::Duration;

use crate::election::*;
use crate::model::NodeName;

fn at(second: u64) -> Moment {
    Moment::from_boot(Duration::from_secs(1000 + second))
}

fn lease_of_peer(renewals: u64) -> Event {
    let node = NodeName::new("n2");
    Event::Observed {
        name: LeaseName::of_node(&node),
        revision: Some(Revision(renewals)),
        content: Content::Record(Record::Node(NodeLease {
            node,
            incarnation: Incarnation(2),
            boot: BootId(2),
            term: Term(1),
            renewals,
            duration: Duration::from_secs(3),
            fenced_by: None,
            bequests: Arc::default(),
            payload: "".into(),
        })),
    }
}

/// Writes what the election asks for, and tells whether that was a fence.
fn carry_out(
    election: &mut Election,
    mut actions: Vec<Action>,
    revision: &mut u64,
    now: Moment,
) -> bool {
    let mut fenced = false;
    while let Some(action) = actions.pop() {
        match action {
            Action::Silence => actions.extend(election.handle(Event::Silenced, now)),
            Action::Cas(Write {
                request,
                record: Some(Record::Node(lease)),
                ..
            }) => {
                fenced |= lease.fenced_by.is_some();
                *revision += 1;
                let outcome = Outcome::Written(Revision(*revision));
                actions.extend(election.handle(Event::Done { request, outcome }, now));
            }
            _ => {}
        }
    }
    fenced
}

#[test]
fn only_a_node_whose_view_of_the_store_is_fresh_ends_anothers_term() {
    let me = Identity {
        node: NodeName::new("n1"),
        incarnation: Incarnation(1),
        boot: BootId(1),
        first_term: Term(1),
    };
    let settings = Settings::default();
    let mut election = Election::new(me, settings, at(0));
    let mut revision = 100;
    election.handle(Event::Desired(DesiredVips::new()), at(0));
    election.handle(lease_of_peer(1), at(0));
    let last = settings.view_good_for().as_secs();
    let mut fenced = false;
    for second in 0..last + 10 {
        let mut events = vec![Event::Tick];
        if second == 0 {
            events.push(Event::Synced { as_of: at(0) });
        }
        if second < last {
            events.push(lease_of_peer(second + 2));
        }
        let actions = election.handle_all(events, at(second));
        fenced |= carry_out(&mut election, actions, &mut revision, at(second));
    }
    assert!(!fenced, "it has lapsed, but the view is old");
    let now = at(last + 10);
    let actions = election.handle(Event::Synced { as_of: now }, now);
    assert!(
        carry_out(&mut election, actions, &mut revision, now),
        "now it is fresh"
    );
}
