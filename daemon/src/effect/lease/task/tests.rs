//! Two agents' election threads over one store, with real clocks.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use landfall_core::election::ground::LeaseGround;
use landfall_core::election::{BootId, Content, Incarnation, Outcome, Revision, Term};

use super::super::api_leases::stand_in::ApiServer;
use super::super::{ApiLeases, FileLeaseError, FileLeases, LeaseStoreError};
use super::*;

#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error(transparent)]
    Store(#[from] FileLeaseError),
    #[error(transparent)]
    Thread(#[from] std::io::Error),
    #[error(transparent)]
    Other(#[from] LeaseStoreError),
}

#[derive(Clone, Default)]
struct Deadline(Arc<Mutex<Option<Moment>>>);

impl DeadlineSink for Deadline {
    fn push(&mut self, until: Moment) {
        *self.0.lock().expect("no holder panics") = Some(until);
    }

    fn silence(&mut self) {
        *self.0.lock().expect("no holder panics") = None;
    }
}

/// The ground *lease* by itself: the right follows from renewals alone.
struct LeaseRights(Deadline);

impl Rights for LeaseRights {
    type Ground = LeaseGround;

    fn ground(&self) -> LeaseGround {
        let settings = Settings::default();
        LeaseGround::new(settings.lease_duration, settings.margin())
    }

    fn refresh(&mut self, _ground: &mut LeaseGround) {}

    fn follow(&mut self, _ground: &mut LeaseGround, _term: Option<Term>, _table: &LeaseTable) {}

    fn push(&mut self, until: Moment) {
        self.0.push(until);
    }

    fn silence(&mut self) {
        self.0.silence();
    }

    fn record_seen(&mut self, _revision: Option<Revision>, _content: &Content) {}

    fn write_ended(&mut self, _outcome: Outcome) {}

    fn survey(&mut self, _number: u64, _now: Moment) {}

    fn synced(&mut self, _as_of: Moment, _table: &LeaseTable) {}

    fn store_readable(&mut self, _readable: bool) {}

    fn last_heard(&self, _ground: &LeaseGround, _node: &NodeName) -> Option<Moment> {
        None
    }

    fn leave(&mut self) -> bool {
        false
    }

    fn refusal(&self, _me: &NodeName) -> Option<String> {
        None
    }
}

struct Agent {
    task: LeaseTask,
    handle: LeaseHandle,
    deadline: Deadline,
}

/// Starts an agent that confirms everything at once, as an announce effect would.
fn start<S: LeaseStore + 'static>(
    node: &'static str,
    directory: &std::path::Path,
    open: impl FnOnce(StoreEvents) -> Result<S, StartError>,
) -> Agent {
    let me = Identity {
        node: NodeName::new(node),
        incarnation: Incarnation(1),
        boot: BootId(1),
        first_term: Term(1),
    };
    let deadline = Deadline::default();
    let (task, handle) = LeaseTask::start(
        me,
        Settings::default(),
        LeaseRights(deadline.clone()),
        History::default(),
        LeaseMemory::new(&directory.join(node), NodeName::new(node), directory),
        open,
    )
    .expect("it starts");
    let announcer = handle.clone();
    std::thread::spawn(move || {
        let mut state = announcer.state();
        loop {
            let seen = state.borrow_and_update().clone();
            if seen.silencing && announcer.silenced().is_err() {
                return;
            }
            if seen
                .releasing
                .iter()
                .any(|vip| announcer.released(vip.clone()).is_err())
                || seen.stopped
            {
                return;
            }
            while !state.has_changed().unwrap_or(true) {
                std::thread::sleep(Duration::from_micros(200));
            }
        }
    });
    Agent {
        task,
        handle,
        deadline,
    }
}

fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "{what} did not come about"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn holds(agent: &Agent, count: usize) -> bool {
    agent.handle.state.borrow().held.len() == count
}

#[test]
fn two_agents_share_the_vips_and_the_one_that_stops_hands_over_its_half() {
    let temporary = tempfile::tempdir().expect("a directory");
    let directory = temporary.path();
    share_and_hand_over(["n1", "n2"].map(|node| {
        start(node, directory, |events| {
            Ok(FileLeases::open(directory, events)?)
        })
    }));
}

#[test]
fn two_agents_of_a_cluster_share_the_vips_by_leases_in_the_api_server() {
    let temporary = tempfile::tempdir().expect("a directory");
    let server = ApiServer::default();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    share_and_hand_over(["n1", "n2"].map(|node| {
        start(node, temporary.path(), |events| {
            let client = server.client(runtime.handle());
            Ok(ApiLeases::open(
                client,
                "landfall-system",
                runtime.handle(),
                events,
            )?)
        })
    }));
    let holder = |name: &LeaseName| {
        let lease = server.lease(name.as_str()).expect("it was written");
        lease.spec.expect("people are told").holder_identity
    };
    assert!(vips().all(|vip| holder(&vip).is_some()), "each was held");
    for node in ["n1", "n2"] {
        let name = LeaseName::of_node(&NodeName::new(node));
        assert_eq!(holder(&name), None, "{node} has left");
    }
}

fn vips() -> impl Iterator<Item = LeaseName> {
    (0..4).map(|index| LeaseName::of_service("default", &format!("web-{index}")))
}

fn share_and_hand_over(agents: [Agent; 2]) {
    let nodes = BTreeSet::from([NodeName::new("n1"), NodeName::new("n2")]);
    let desired: DesiredVips = vips().map(|vip| (vip, nodes.clone())).collect();
    for agent in &agents {
        agent.handle.desire(desired.clone()).expect("it runs");
    }
    wait_for("an even share", || {
        agents.iter().all(|agent| holds(agent, 2))
    });
    for agent in &agents {
        let deadline = agent
            .deadline
            .0
            .lock()
            .expect("no holder panics")
            .expect("it may answer");
        assert!(deadline > clock::now());
    }
    let [leaver, stayer] = agents;
    leaver.handle.stop().expect("it runs");
    wait_for("the hand-over", || holds(&stayer, 4));
    leaver.task.join().expect("it ends in order");
    assert!(
        leaver
            .deadline
            .0
            .lock()
            .expect("no holder panics")
            .is_none()
    );
    stayer.handle.stop().expect("it runs");
    stayer.task.join().expect("it ends in order");
}
