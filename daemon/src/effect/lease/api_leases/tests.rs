//! The store against a stand-in for the API server, on good days and bad.

use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use landfall_core::election::{
    BootId, Content, Event, Incarnation, LeaseName, NodeLease, Outcome, Record, RequestId,
    Revision, Term, Write,
};
use landfall_core::model::NodeName;
use tokio::runtime::Runtime;

use super::stand_in::ApiServer;
use super::*;
use crate::effect::lease::contract::{Agent, Place, keeps_the_contract, record, vip, write};
use crate::effect::lease::store::LeaseStoreError;

mod bad_days;
mod load;
mod objects;

impl Place for ApiServer {
    fn open(&self) -> Agent {
        let (sender, told) = sync_channel(4096);
        let runtime = Runtime::new().expect("a runtime");
        let handle = runtime.handle();
        let events = StoreEvents(sender);
        let store = ApiLeases::open(self.client(handle), "landfall-system", handle, events);
        Agent {
            store: Box::new(store.expect("a thread")),
            told,
            aside: std::cell::RefCell::default(),
            under: Box::new(runtime),
        }
    }
}

keeps_the_contract!(ApiServer::default());

/// An agent that has read all there is, and watches.
fn agent(server: &ApiServer) -> Agent {
    let before = server.open_watches();
    let agent = server.open();
    agent.wait(|event| matches!(event, StoreEvent::Election(Event::Synced { .. })).then_some(()));
    let began = Instant::now();
    while server.open_watches() == before {
        assert!(began.elapsed() < Duration::from_secs(20), "it watches");
        std::thread::sleep(Duration::from_millis(1));
    }
    agent
}

fn node_lease(node: &'static str, renewals: u64) -> NodeLease {
    NodeLease {
        node: NodeName::new(node),
        incarnation: Incarnation(1),
        boot: BootId(1),
        term: Term(1),
        renewals,
        duration: Duration::from_secs(3),
        fenced_by: None,
        bequests: Default::default(),
        payload: "{}".into(),
    }
}

fn renewal(expected: Option<Revision>, renewals: u64) -> Write {
    let lease = node_lease("n1", renewals);
    Write {
        request: RequestId(1_000_000 + renewals),
        name: LeaseName::of_node(&lease.node),
        expected,
        record: Some(Record::Node(lease)),
    }
}

fn written(outcome: Outcome) -> Revision {
    match outcome {
        Outcome::Written(revision) => revision,
        other => panic!("{other:?} is no success"),
    }
}

/// The next trouble, as people are told of it.
fn trouble(agent: &Agent) -> String {
    agent.wait(|event| match event {
        StoreEvent::Trouble(LeaseStoreError::Api(error)) => Some(error.to_string()),
        _ => None,
    })
}

fn recovered(agent: &Agent) {
    agent.wait(|event| matches!(event, StoreEvent::Recovered).then_some(()));
}

/// Waits until all that was there at some moment from now on is known, without asking for a look.
fn synced_by_itself(agent: &Agent) {
    let now = clock::now();
    agent.wait(|event| match event {
        StoreEvent::Election(Event::Synced { as_of }) => (*as_of >= now).then_some(()),
        _ => None,
    });
}
