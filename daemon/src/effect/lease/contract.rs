//! What every store has to keep to, as tests that both run: files and the API server.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use landfall_core::election::{
    Cause, Content, Event, Holder, LeaseName, Outcome, Record, RequestId, Revision, ServiceLease,
    Term, Write,
};
use landfall_core::model::NodeName;

use super::clock;
use super::store::{Input, LeaseStore, StoreEvent};

/// A place for leases that several agents share.
pub(super) trait Place {
    /// One agent's store there, and what it tells.
    fn open(&self) -> Agent;
}

/// An agent's end of a store.
pub(super) struct Agent {
    pub(super) store: Box<dyn LeaseStore>,
    pub(super) told: Receiver<Input>,
    /// What was told while the end of a write was waited for: a watch may be faster than the answer.
    pub(super) aside: RefCell<VecDeque<StoreEvent>>,
    /// Keeps alive what the store runs on; dropped after it.
    pub(super) under: Box<dyn std::any::Any + Send>,
}

impl Agent {
    /// The next event.
    pub(super) fn next(&self) -> StoreEvent {
        let aside = self.aside.borrow_mut().pop_front();
        aside.unwrap_or_else(|| self.receive())
    }

    fn receive(&self) -> StoreEvent {
        let patience = Duration::from_secs(20);
        match self.told.recv_timeout(patience).expect("something is told") {
            Input::Store(event) => event,
            other => panic!("{other:?} is no news of a store"),
        }
    }

    /// The next event that `wanted` makes something of, and all before it.
    pub(super) fn wait<T>(&self, mut wanted: impl FnMut(&StoreEvent) -> Option<T>) -> T {
        let began = Instant::now();
        loop {
            assert!(began.elapsed() < Duration::from_secs(20), "it was not told");
            if let Some(found) = wanted(&self.next()) {
                return found;
            }
        }
    }

    /// Does one write, and gives its end.
    pub(super) fn swap(&self, write: Write) -> Outcome {
        let asked = write.request;
        self.store.submit(write);
        loop {
            match self.receive() {
                StoreEvent::Election(Event::Done { request, outcome }) if request == asked => {
                    return outcome;
                }
                other => self.aside.borrow_mut().push_back(other),
            }
        }
    }

    /// Waits until this is observed of `name`.
    pub(super) fn sees(&self, name: &LeaseName, expected: &Content) {
        self.wait(|event| match event {
            StoreEvent::Election(Event::Observed {
                name: seen,
                content,
                ..
            }) => (seen == name && content == expected).then_some(()),
            _ => None,
        });
    }

    /// Waits until all is told that was there after now.
    pub(super) fn sync(&self) {
        let now = clock::now();
        self.store.look();
        self.wait(|event| match event {
            StoreEvent::Election(Event::Synced { as_of }) => (*as_of >= now).then_some(()),
            _ => None,
        });
    }
}

pub(super) fn vip() -> LeaseName {
    LeaseName::of_service("default", "web")
}

pub(super) fn record(node: &str, transitions: u64) -> Record {
    Record::Service(ServiceLease {
        holder: Some(Holder {
            node: NodeName::new(node),
            term: Term(1),
        }),
        previous: None,
        cause: Cause::First,
        acquired_unix: 1_700_000_000,
        transitions,
    })
}

/// A write of that record to the lease of [`vip`].
pub(super) fn write(expected: Option<Revision>, node: &str, transitions: u64) -> Write {
    Write {
        request: RequestId(transitions),
        name: vip(),
        expected,
        record: Some(record(node, transitions)),
    }
}

fn revision(outcome: Outcome) -> Revision {
    match outcome {
        Outcome::Written(revision) => revision,
        other => panic!("{other:?} is no success"),
    }
}

/// Of two who race for every revision one wins each time, and the other is told who.
pub(super) fn one_of_two_racers_wins_each_revision(place: &impl Place) {
    const ROUNDS: u64 = 200;
    let race = |node: &'static str, agent: Agent| {
        std::thread::spawn(move || {
            let (mut won, mut expected) = (Vec::new(), None);
            for turn in 1..=ROUNDS {
                match agent.swap(write(expected, node, turn)) {
                    Outcome::Written(revision) => {
                        won.push(revision);
                        expected = Some(revision);
                    }
                    Outcome::Conflict { revision, .. } => expected = revision,
                    Outcome::Failed => panic!("nothing fails here"),
                }
            }
            won
        })
    };
    let racers = ["n1", "n2"].map(|node| race(node, place.open()));
    let [one, other] = racers.map(|racer| racer.join().expect("it ends"));
    assert!(!one.is_empty() && !other.is_empty(), "they did race");
    let mut all: Vec<Revision> = one.iter().chain(&other).copied().collect();
    let wins = all.len();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), wins, "no revision was won twice");
}

/// A conflict tells what is there.
pub(super) fn a_write_that_comes_too_late_is_told_what_is_there(place: &impl Place) {
    let agent = place.open();
    let first = revision(agent.swap(write(None, "n1", 1)));
    let second = revision(agent.swap(write(Some(first), "n2", 2)));
    assert!(first < second);
    for late in [None, Some(first)] {
        let found = agent.swap(write(late, "n3", 3));
        let expected = Outcome::Conflict {
            revision: Some(second),
            content: Content::Record(record("n2", 2)),
        };
        assert_eq!(found, expected, "expecting {late:?}");
    }
}

/// Who removed and made anew is not undone by who came from before.
pub(super) fn a_removed_lease_can_be_made_anew_but_not_by_a_writer_from_before(place: &impl Place) {
    let (agent, other) = (place.open(), place.open());
    let first = revision(agent.swap(write(None, "n1", 1)));
    other.sees(&vip(), &Content::Record(record("n1", 1)));
    let removal = Write {
        record: None,
        ..write(Some(first), "n1", 2)
    };
    assert!(matches!(agent.swap(removal), Outcome::Written(_)));
    other.sees(&vip(), &Content::Absent);
    let absent = Outcome::Conflict {
        revision: None,
        content: Content::Absent,
    };
    assert_eq!(agent.swap(write(Some(first), "n2", 3)), absent);
    assert_eq!(other.swap(write(Some(first), "n2", 4)), absent);
    let anew = revision(other.swap(write(None, "n2", 5)));
    assert!(anew > first);
    agent.sees(&vip(), &Content::Record(record("n2", 5)));
    assert!(matches!(
        agent.swap(write(Some(first), "n1", 6)),
        Outcome::Conflict { revision: Some(found), .. } if found == anew
    ));
}

/// What was there comes before the first word that all is told, and what came since before that of a look.
pub(super) fn all_that_is_there_is_told_before_synced(place: &impl Place) {
    let writer = place.open();
    let names: Vec<LeaseName> = (0..30)
        .map(|index| LeaseName::of_service("default", &format!("web-{index}")))
        .collect();
    let make = |name: &LeaseName, index| {
        let write = Write {
            name: name.clone(),
            ..write(None, "n1", index)
        };
        revision(writer.swap(write));
    };
    let (before, after) = names.split_at(20);
    for (name, index) in before.iter().zip(0..) {
        make(name, index);
    }
    let reader = place.open();
    let mut seen = std::collections::BTreeSet::new();
    let mut take = |event: &StoreEvent, asked| match event {
        StoreEvent::Election(Event::Observed { name, .. }) => {
            seen.insert(name.clone());
            None
        }
        StoreEvent::Election(Event::Synced { as_of }) => (*as_of >= asked).then_some(seen.len()),
        _ => None,
    };
    let told = reader.wait(|event| take(event, Default::default()));
    assert_eq!(told, before.len());
    for (name, index) in after.iter().zip(20..) {
        make(name, index);
    }
    let asked = clock::now();
    reader.store.look();
    assert_eq!(reader.wait(|event| take(event, asked)), names.len());
}

/// The last word of many is the last, and none goes back.
pub(super) fn observations_of_a_lease_never_go_back(place: &impl Place) {
    let (writer, reader) = (place.open(), place.open());
    let mut expected = None;
    for turn in 1..=100 {
        expected = Some(revision(writer.swap(write(expected, "n1", turn))));
    }
    let mut last = None;
    reader.wait(|event| {
        let StoreEvent::Election(Event::Observed { revision, .. }) = event else {
            return None;
        };
        assert!(*revision > last, "{revision:?} after {last:?}");
        last = *revision;
        (last == expected).then_some(())
    });
}

/// Runs every promise of a store as a test, at a new place each.
macro_rules! keeps_the_contract {
    ($place:expr; $($promise:ident),+ $(,)?) => {
        $(
            #[test]
            fn $promise() {
                $crate::effect::lease::contract::$promise(&$place);
            }
        )+
    };
    ($place:expr) => {
        $crate::effect::lease::contract::keeps_the_contract!(
            $place;
            one_of_two_racers_wins_each_revision,
            a_write_that_comes_too_late_is_told_what_is_there,
            a_removed_lease_can_be_made_anew_but_not_by_a_writer_from_before,
            all_that_is_there_is_told_before_synced,
            observations_of_a_lease_never_go_back,
        );
    };
}
pub(super) use keeps_the_contract;
