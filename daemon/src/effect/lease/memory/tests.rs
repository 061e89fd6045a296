//! What is on disk before a write reaches the store.

use std::sync::Mutex;
use std::time::Duration;

use landfall_core::election::{
    Bequest, Bequests, BootId, Cause, Holder, RequestId, ServiceLease, Term,
};

use super::super::store::Input;
use super::*;

/// A store that looks at the disk when it is written to.
#[derive(Debug)]
struct Looking {
    memory: LeaseMemory,
    seen: Arc<Mutex<Vec<Option<Memory>>>>,
}

impl LeaseStore for Looking {
    fn submit(&self, _write: Write) {
        let found = self.memory.load();
        self.seen.lock().expect("no holder panics").push(found);
    }

    fn look(&self) {}
}

struct Rig {
    journal: Journal<Looking>,
    seen: Arc<Mutex<Vec<Option<Memory>>>>,
    inputs: Receiver<Input>,
    memory: LeaseMemory,
}

fn rig(state: &Path) -> Rig {
    let memory = LeaseMemory::new(state, NodeName::new("n0"), Path::new("/leases"));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let store = Looking {
        memory: memory.clone(),
        seen: Arc::clone(&seen),
    };
    let (sender, inputs) = sync_channel(16);
    let journal = Journal::start(memory.clone(), store, StoreEvents(sender)).expect("a thread");
    Rig {
        journal,
        seen,
        inputs,
        memory,
    }
}

impl Rig {
    /// Submits a write, and gives what was on disk when it reached the store.
    fn write(&mut self, lease: NodeLease) -> Option<Memory> {
        let write = Write {
            request: RequestId(1),
            name: LeaseName::of_node(&lease.node),
            expected: None,
            record: Some(Record::Node(lease.clone())),
        };
        let before = self.seen.lock().expect("no holder panics").len();
        self.journal.submit(write, || leases(lease));
        loop {
            let mut seen = self.seen.lock().expect("no holder panics");
            if seen.len() > before {
                return seen.pop().flatten();
            }
            drop(seen);
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn own(term: u64, given: &[u64]) -> NodeLease {
    let bequest = Bequest {
        heir: None,
        cause: Cause::HandOver,
    };
    let given = given.iter().map(|at| (vip(), *at, bequest.clone()));
    NodeLease {
        node: NodeName::new("n0"),
        incarnation: Incarnation(5),
        boot: BootId(1),
        term: Term(term),
        renewals: 1,
        duration: Duration::from_secs(3),
        fenced_by: None,
        bequests: Arc::new(given.collect::<Bequests>()),
        payload: "".into(),
    }
}

fn vip() -> LeaseName {
    LeaseName::of_service("default", "web")
}

fn leases(own: NodeLease) -> Copy {
    let service = Record::Service(ServiceLease {
        holder: Some(Holder {
            node: own.node.clone(),
            term: own.term,
        }),
        previous: None,
        cause: Cause::First,
        acquired_unix: 0,
        transitions: 3,
    });
    let name = LeaseName::of_node(&own.node);
    vec![
        (name, Revision(4), Record::Node(own)),
        (vip(), Revision(1), service),
    ]
}

#[test]
fn a_write_that_gives_away_or_ends_something_is_on_disk_before_it_is_made() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut rig = rig(dir.path());
    let first = rig.write(own(1, &[])).expect("remembered");
    assert_eq!(first.leases, leases(own(1, &[])));
    assert_eq!(first.attempted, Some(own(1, &[])));
    assert_eq!(first.writers, [Incarnation(5)].into());
    let gift = rig.write(own(1, &[3])).expect("remembered");
    assert_eq!(gift.attempted, Some(own(1, &[3])));
    // The leases are those of before: only a write that tells less needs them anew.
    assert_eq!(gift.leases, leases(own(1, &[])));
    let pruned = rig.write(own(1, &[])).expect("remembered");
    assert_eq!(pruned.leases, leases(own(1, &[])));
    let next = rig.write(own(2, &[])).expect("remembered");
    assert_eq!(next.attempted, Some(own(2, &[])));
    // A renewal costs no write.
    let renewal = NodeLease {
        renewals: 7,
        ..own(2, &[])
    };
    assert_eq!(
        rig.write(renewal).expect("remembered").attempted,
        Some(own(2, &[]))
    );
}

#[test]
fn what_cannot_be_remembered_is_not_written() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("file");
    std::fs::write(&file, "").expect("written");
    // Neither made nor removed, as there is a file where the directory should be.
    let mut rig = rig(&file.join("state"));
    let lease = own(1, &[]);
    let write = Write {
        request: RequestId(8),
        name: LeaseName::of_node(&lease.node),
        expected: None,
        record: Some(Record::Node(lease.clone())),
    };
    rig.journal.submit(write, || leases(lease));
    let told = [(); 2].map(|()| rig.inputs.recv().expect("told"));
    assert!(
        matches!(
            &told[0],
            Input::Store(StoreEvent::Trouble(LeaseStoreError::Memory { .. }))
        ),
        "{told:?}"
    );
    let failed = StoreEvent::done(RequestId(8), Outcome::Failed);
    assert_eq!(
        format!("{:?}", told[1]),
        format!("{:?}", Input::Store(failed))
    );
    assert!(rig.seen.lock().expect("no holder panics").is_empty());
}

#[test]
fn what_is_torn_or_another_nodes_counts_as_none() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut rig = rig(dir.path());
    rig.write(own(1, &[]));
    assert!(rig.memory.load().is_some());
    for (node, store) in [("n1", "/leases"), ("n0", "/elsewhere")] {
        let other = LeaseMemory::new(dir.path(), NodeName::new(node), Path::new(store));
        assert!(other.load().is_none());
    }
    let attempt = rig.memory.attempt.path();
    std::fs::write(&attempt, "landfall-state 1 00").expect("torn");
    let found = rig.memory.load().expect("the leases are whole");
    assert_eq!(found.attempted, None, "so that no term is resumed");
    std::fs::write(rig.memory.copy.path(), "landfall-state 9 00\n{}").expect("written");
    assert!(rig.memory.load().is_none());
}
