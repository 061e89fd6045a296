//! Restarts while the store cannot be read: one election, and all around it played by hand.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::cluster::vips;
use crate::election::ground::{Ground, Lapse, PeerLease};
use crate::election::*;
use crate::model::NodeName;

const START: Moment = Moment::from_boot(Duration::from_secs(1000));
const TERM: Term = Term(7);
const BEFORE: Incarnation = Incarnation(1);
const ME: Incarnation = Incarnation(2);

/// Grants of a majority, which come whatever the store does.
#[derive(Debug, Default)]
struct Granted(Option<Term>);

impl Ground for Granted {
    fn resumed(&mut self, term: Term) {
        self.0 = Some(term);
    }

    fn renewed(&mut self, term: Term, _started: Moment) {
        self.0 = Some(term);
    }

    fn silenced(&mut self) {
        self.0 = None;
    }

    fn deadline(&self) -> Option<Moment> {
        self.0.map(|_| START + Duration::from_secs(3600))
    }

    fn lapse(&self, _peer: &PeerLease<'_>, _now: Moment) -> Lapse {
        Lapse::Unknown
    }

    fn is_live(&self, _peer: &PeerLease<'_>, _now: Moment) -> bool {
        true
    }

    fn look_again_at(&self, _peer: &PeerLease<'_>, _now: Moment) -> Option<Moment> {
        None
    }

    fn is_refused(&self) -> bool {
        false
    }
}

fn lease(node: &'static str, incarnation: Incarnation) -> NodeLease {
    NodeLease {
        node: NodeName::new(node),
        incarnation,
        boot: BootId(1),
        term: TERM,
        renewals: 40,
        duration: Duration::from_secs(3),
        fenced_by: None,
        bequests: Arc::default(),
        payload: "word".into(),
    }
}

fn service(node: &'static str, transitions: u64) -> Record {
    Record::Service(ServiceLease {
        holder: Some(holder(node)),
        previous: None,
        cause: Cause::First,
        acquired_unix: 0,
        transitions,
    })
}

fn holder(node: &'static str) -> Holder {
    Holder {
        node: NodeName::new(node),
        term: TERM,
    }
}

fn to(vip: &LeaseName, transition: u64, node: &'static str) -> Arc<Bequests> {
    let bequest = Bequest {
        heir: Some(holder(node)),
        cause: Cause::HandOver,
    };
    Arc::new([(vip.clone(), transition, bequest)].into_iter().collect())
}

/// Of two VIPs the first is this node's, the other its peer's.
fn leases(own: NodeLease) -> Vec<(LeaseName, Revision, Record)> {
    let [mine, theirs] = names();
    vec![
        (
            LeaseName::of_node(&own.node),
            Revision(50),
            Record::Node(own),
        ),
        (
            LeaseName::of_node(&NodeName::new("n1")),
            Revision(60),
            Record::Node(lease("n1", Incarnation(9))),
        ),
        (mine, Revision(1), service("n0", 3)),
        (theirs, Revision(2), service("n1", 5)),
    ]
}

fn names() -> [LeaseName; 2] {
    let mut names = vips(2).into_iter();
    [(); 2].map(|()| names.next().expect("two were made"))
}

/// An election that remembers `own` in the store, and `attempted` as what was to be written last.
fn resumed(own: NodeLease, attempted: NodeLease) -> (Election<Granted>, Vec<Action>) {
    let me = Identity {
        node: NodeName::new("n0"),
        incarnation: ME,
        // Rebooted, at that.
        boot: BootId(2),
        first_term: Term(1000),
    };
    let mut election = Election::on(Granted::default(), me, Settings::default(), START);
    let memory = Memory {
        leases: leases(own),
        attempted: Some(attempted),
        writers: BTreeSet::new(),
    };
    election.recall(memory, START);
    let all = BTreeSet::from([NodeName::new("n0"), NodeName::new("n1")]);
    let desired = names().into_iter().map(|vip| (vip, all.clone())).collect();
    let actions = election.handle(Event::Desired(desired), START);
    (election, actions)
}

/// The store is read, and holds `leases`.
fn synced(
    election: &mut Election<Granted>,
    leases: Vec<(LeaseName, Revision, Record)>,
    now: Moment,
) -> Vec<Action> {
    let observed = leases
        .into_iter()
        .map(|(name, revision, record)| Event::Observed {
            name,
            revision: Some(revision),
            content: Content::Record(record),
        });
    let events: Vec<_> = observed.chain([Event::Synced { as_of: now }]).collect();
    election.handle_all(events, now)
}

fn held(election: &Election<Granted>) -> Vec<LeaseName> {
    election.held().cloned().collect()
}

fn writes(actions: &[Action]) -> Vec<&Write> {
    let mut writes = Vec::new();
    for action in actions {
        if let Action::Cas(write) = action {
            writes.push(write);
        }
    }
    writes
}

fn own_write(actions: &[Action]) -> (Option<Revision>, NodeLease) {
    let found = writes(actions)
        .into_iter()
        .find_map(|write| match &write.record {
            Some(Record::Node(lease)) if lease.node.as_str() == "n0" => {
                Some((write.expected, lease.clone()))
            }
            _ => None,
        });
    found.expect("the own lease is written")
}

#[test]
fn what_was_held_is_held_again_in_the_same_term_and_nothing_is_written() {
    let own = lease("n0", BEFORE);
    let (mut election, actions) = resumed(own.clone(), own.clone());
    let [mine, _] = names();
    let cause = Cause::Continued;
    let hold = Action::Hold {
        vip: mine.clone(),
        cause,
    };
    assert!(actions.contains(&hold), "{actions:?}");
    assert_eq!(election.membership(), Membership::Inside(TERM));
    assert_eq!(held(&election), std::slice::from_ref(&mine));
    assert_eq!(election.live().len(), 2);
    for second in 1..90 {
        let now = START + Duration::from_secs(second);
        assert_eq!(election.handle(Event::Ground, now), []);
    }
    // The peer has renewed meanwhile, and nothing else happened: the term is renewed as it is.
    let now = START + Duration::from_secs(90);
    let actions = synced(&mut election, leases(own.clone()), now);
    let (expected, written) = own_write(&actions);
    assert_eq!(expected, Some(Revision(50)));
    assert_eq!((written.term, written.incarnation), (TERM, ME));
    assert_eq!(&*written.payload, "word");
    assert_eq!(held(&election), [mine]);
    assert!(!actions.contains(&Action::Silence));
}

#[test]
fn what_may_have_been_given_away_is_given_away_and_the_next_write_says_so_too() {
    let [mine, _] = names();
    let attempted = NodeLease {
        bequests: to(&mine, 3, "n1"),
        ..lease("n0", BEFORE)
    };
    let (mut election, _) = resumed(lease("n0", BEFORE), attempted);
    assert_eq!(election.membership(), Membership::Inside(TERM));
    assert_eq!(held(&election), []);
    // The write was not done, as far as the store tells; it may be yet.
    let now = START + Duration::from_secs(90);
    let actions = synced(&mut election, leases(lease("n0", BEFORE)), now);
    let (_, written) = own_write(&actions);
    assert_eq!(written.bequests, to(&mine, 3, "n1"));
    assert_eq!(held(&election), []);
    let request = writes(&actions)[0].request;
    let outcome = Outcome::Written(Revision(51));
    election.handle(Event::Done { request, outcome }, now);
    assert_eq!(held(&election), []);
    let found = election.table().possession(&mine).expect("it has a lease");
    assert!(found.is_of(&NodeName::new("n1"), TERM));
}

#[test]
fn a_copy_older_than_the_gift_does_not_bring_the_vip_back() {
    let [mine, _] = names();
    // Given away as of 3, come back as of 4, and given away again: the copy knows of nothing.
    let attempted = NodeLease {
        bequests: Arc::new(
            to(&mine, 3, "n1")
                .iter()
                .chain(to(&mine, 5, "n1").iter())
                .map(|(vip, transition, bequest)| (vip.clone(), transition, bequest.clone()))
                .collect(),
        ),
        ..lease("n0", BEFORE)
    };
    let (election, _) = resumed(lease("n0", BEFORE), attempted);
    assert_eq!(held(&election), []);
}

#[test]
fn a_term_that_may_have_ended_is_not_resumed_but_peers_are_remembered() {
    let fence = Some(Fence {
        node: NodeName::new("n0"),
        incarnation: BEFORE,
    });
    let ended = [
        NodeLease {
            fenced_by: fence.clone(),
            ..lease("n0", BEFORE)
        },
        NodeLease {
            term: TERM.next(),
            ..lease("n0", BEFORE)
        },
    ];
    for attempted in ended {
        let (election, actions) = resumed(lease("n0", BEFORE), attempted);
        assert_eq!(election.membership(), Membership::Outside);
        assert_eq!((actions, held(&election)), (vec![], vec![]));
        assert!(election.table().node(&NodeName::new("n1")).is_some());
    }
    let fenced = NodeLease {
        fenced_by: fence,
        ..lease("n0", BEFORE)
    };
    let (election, _) = resumed(fenced, lease("n0", BEFORE));
    assert_eq!(election.membership(), Membership::Outside);
}

#[test]
fn a_term_that_the_store_knows_to_be_over_ends_when_the_store_is_read() {
    let now = START + Duration::from_secs(90);
    // Whether the machine was rebooted or not.
    for boot in [BootId(1), BootId(2)] {
        let own = NodeLease {
            boot,
            ..lease("n0", BEFORE)
        };
        let (mut election, _) = resumed(own.clone(), own.clone());
        let fenced = NodeLease {
            fenced_by: Some(Fence {
                node: NodeName::new("n1"),
                incarnation: Incarnation(9),
            }),
            ..own
        };
        let actions = synced(&mut election, leases(fenced), now);
        assert!(actions.contains(&Action::Silence), "{actions:?}");
        assert_eq!(election.membership(), Membership::Outside);
        let actions = election.handle(Event::Silenced, now);
        assert_eq!(own_write(&actions).1.term, TERM.next());
    }
    // Another machine that has the name is none of this node's processes.
    let (mut election, _) = resumed(lease("n0", BEFORE), lease("n0", BEFORE));
    let actions = synced(&mut election, leases(lease("n0", Incarnation(77))), now);
    assert!(actions.contains(&Action::Silence), "{actions:?}");
    assert_eq!(held(&election), []);
}

#[test]
fn a_store_without_any_nodes_lease_is_not_the_one_remembered() {
    let own = lease("n0", BEFORE);
    let (mut election, _) = resumed(own.clone(), own.clone());
    let [mine, _] = names();
    let now = START + Duration::from_secs(1);
    assert_eq!(synced(&mut election, Vec::new(), now), []);
    assert_eq!((election.is_dark(), held(&election)), (true, vec![mine]));
    synced(&mut election, leases(own), now + Duration::from_secs(1));
    assert!(election.is_synced());
}

#[test]
fn a_view_that_is_not_whole_does_not_replace_what_is_remembered() {
    let own = lease("n0", BEFORE);
    let (mut election, _) = resumed(own.clone(), own);
    let [mine, _] = names();
    let as_of = Moment::default();
    let actions = election.handle(Event::Synced { as_of }, START + Duration::from_secs(1));
    assert_eq!(actions, []);
    assert_eq!(held(&election), [mine]);
}
