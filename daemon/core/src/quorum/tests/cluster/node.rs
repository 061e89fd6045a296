//! One machine: its clock, its kernel, its disk, and the process that runs on it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::agent::Agent;
use super::store::Lease;
use super::{Cluster, Step, name_of};
use crate::election::{Incarnation, Moment, Term};
use crate::model::NodeName;
use crate::quorum::*;
use crate::simulation::{Clock, Rng};

pub(in crate::quorum::tests) struct Node {
    pub(super) name: NodeName,
    pub(super) clock: Clock,
    /// Counts starts of the machine, and of the process.
    pub(super) boot: u64,
    pub(super) process: u64,
    pub(in crate::quorum::tests) quorum: Option<Quorum>,
    pub(in crate::quorum::tests) view: View,
    pub(super) agent: Agent,
    pub(super) timer: u64,
    pub(super) frozen_until: Duration,
    pub(in crate::quorum::tests) store_down_until: Duration,
    /// News of the store wait until then.
    pub(in crate::quorum::tests) deaf_until: Duration,
    pub(super) disk: Option<Durable>,
    pub(super) writes: VecDeque<(u64, Durable)>,
    /// On the disk too: the own lease as last known to be in the store, and as last about to be written.
    pub(super) copy: Option<Lease>,
    pub(super) attempt: Option<Lease>,
    /// Whether a process that starts goes on in the term of the copy, before it has read the store.
    pub(in crate::quorum::tests) resumes: bool,
    pub(super) kernel: Option<(Term, Option<Moment>)>,
    /// Node leases as this process has seen them, with their revisions.
    pub(super) seen: Leases,
    pub(super) seen_revisions: BTreeMap<usize, u64>,
    pub(super) record_revision: Option<u64>,
    pub(in crate::quorum::tests) left: bool,
}

impl Node {
    pub(super) fn new(index: usize, rng: &mut Rng) -> Self {
        Self {
            name: name_of(index),
            clock: Clock::new(rng),
            boot: 0,
            process: 0,
            quorum: None,
            view: View::default(),
            agent: Agent::default(),
            timer: 0,
            frozen_until: Duration::ZERO,
            store_down_until: Duration::ZERO,
            deaf_until: Duration::ZERO,
            disk: None,
            writes: VecDeque::new(),
            copy: None,
            attempt: None,
            resumes: false,
            kernel: None,
            seen: Leases::new(),
            seen_revisions: BTreeMap::new(),
            record_revision: None,
            left: false,
        }
    }

    /// Whether the node was asked to leave.
    pub(in crate::quorum::tests) fn is_leaving(&self) -> bool {
        self.agent.leaving
    }
}

impl Cluster {
    /// Starts a process with what is on the disk.
    pub(in crate::quorum::tests) fn start(&mut self, node: usize) {
        let (now, settings) = (self.local(node), self.settings);
        let incarnation = Incarnation(u128::from(self.rng.number()));
        let it = &mut self.nodes[node];
        it.process += 1;
        let me = Identity {
            node: it.name.clone(),
            incarnation,
        };
        it.quorum = Some(Quorum::new(me, settings, it.disk.clone(), now));
        it.view = View::default();
        it.agent = Agent::default();
        it.seen.clear();
        it.seen_revisions.clear();
        it.record_revision = None;
        it.left = false;
        it.frozen_until = Duration::ZERO;
        self.handle(node, Event::Store { readable: false });
        self.resume(node);
        let (rescan, agent) = (self.rng.millis(2, 60), self.rng.millis(1, 40));
        self.push(rescan, node, Step::Rescan);
        self.push(agent, node, Step::Agent);
    }

    /// Ends the process. What it was writing to its disk may have got there.
    pub(in crate::quorum::tests) fn kill(&mut self, node: usize) {
        let done = self.rng.place(self.nodes[node].writes.len() + 1);
        let it = &mut self.nodes[node];
        it.process += 1;
        it.quorum = None;
        if let Some((_, durable)) = it.writes.drain(..done).next_back() {
            it.disk = Some(durable);
        }
        it.writes.clear();
    }

    /// Ends the machine, and with it the kernel's tables.
    pub(in crate::quorum::tests) fn power_off(&mut self, node: usize) {
        self.kill(node);
        self.nodes[node].boot += 1;
        self.nodes[node].kernel = None;
    }

    /// Stops the process for a while; the kernel goes on, and so does the clock.
    pub(in crate::quorum::tests) fn freeze(&mut self, node: usize, span: Duration) {
        let until = self.now + span;
        let frozen = &mut self.nodes[node].frozen_until;
        *frozen = (*frozen).max(until);
    }

    /// Asks the node to leave for good.
    pub(in crate::quorum::tests) fn leave(&mut self, node: usize) {
        self.nodes[node].agent.leaving = true;
        self.push(Duration::ZERO, node, Step::Event(Event::Leave));
    }
}
