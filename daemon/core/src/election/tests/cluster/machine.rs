//! One simulated machine: an agent's process, the kernel that outlives it, and their clock.

use std::collections::BTreeSet;
use std::time::Duration;

use super::store::SERVICE_WRITERS;
use super::{Cluster, Step};
use crate::election::*;
use crate::model::NodeName;
use crate::simulation::Rng;

/// Work of the kernel's answer table.
#[derive(Debug)]
pub(super) enum Effect {
    Hold(LeaseName),
    Release(LeaseName),
    Empty,
}

pub(crate) struct SimNode {
    pub(crate) name: NodeName,
    pub(crate) election: Option<Election>,
    pub(crate) process: u64,
    boot: u64,
    /// Parts per million by which the node's clock runs fast.
    pub(super) drift_ppm: i64,
    pub(super) clock_offset: Duration,
    pub(super) frozen_until: Duration,
    pub(super) waiting: Vec<Step>,
    pub(super) timer: u64,
    pub(super) news_at: Duration,
    effects_at: Duration,
    /// When each of the store's writers on this node is done with what it has.
    pub(super) writers_free: [Duration; SERVICE_WRITERS + 1],
    pub(super) next_writer: usize,
    pub(super) deadline: Option<Moment>,
    pub(crate) answers: BTreeSet<LeaseName>,
    pub(crate) stopped: bool,
    pub(crate) holds: Vec<(LeaseName, Cause)>,
    /// What is on the disk for a process to come, and whether it goes by that.
    memory: Memory,
    pub(crate) resumes: bool,
    desired: DesiredVips,
}

impl SimNode {
    pub(super) fn new(index: usize, rng: &mut Rng) -> Self {
        Self {
            name: NodeName::new(format!("n{index}")),
            election: None,
            process: 0,
            boot: 0,
            drift_ppm: i64::try_from(rng.below(20_001)).unwrap_or(0) - 10_000,
            clock_offset: Duration::from_secs(rng.below(10_000)),
            frozen_until: Duration::ZERO,
            waiting: Vec::new(),
            timer: 0,
            news_at: Duration::ZERO,
            effects_at: Duration::ZERO,
            writers_free: [Duration::ZERO; SERVICE_WRITERS + 1],
            next_writer: 0,
            deadline: None,
            answers: BTreeSet::new(),
            stopped: false,
            holds: Vec::new(),
            memory: Memory {
                leases: Vec::new(),
                attempted: None,
                writers: BTreeSet::new(),
            },
            resumes: false,
            desired: DesiredVips::new(),
        }
    }
}

impl Cluster {
    /// Starts an agent on a node, as a new process on the same kernel.
    pub(crate) fn start(&mut self, node: usize) {
        let moment = self.local(node);
        let sim = &mut self.nodes[node];
        sim.process += 1;
        sim.waiting.clear();
        sim.frozen_until = Duration::ZERO;
        sim.stopped = false;
        let me = Identity {
            node: sim.name.clone(),
            incarnation: Incarnation(u128::from(sim.process) << 64 | node as u128),
            boot: BootId(u128::from(sim.boot) << 64 | node as u128),
            // As seconds since the Unix epoch would: faster than terms are counted.
            first_term: Term(u64::try_from(self.now.as_millis()).unwrap_or(u64::MAX)),
        };
        let mut election = Election::new(me, self.settings, moment);
        if sim.resumes {
            election.recall(sim.memory.clone(), moment);
        }
        sim.election = Some(election);
        sim.news_at = self.now;
        let desired = sim.desired.clone();
        let delay = self.rng.millis(1, self.weather.slowest_ms);
        self.push(self.now + delay, node, Step::Rescan);
        let delay = self.rng.millis(1, 300);
        self.push(self.now + delay, node, Step::Event(Event::Desired(desired)));
    }

    /// Puts what the process knows of the leases on the node's disk.
    pub(super) fn remember(&mut self, node: usize) {
        let sim = &mut self.nodes[node];
        if let Some(election) = sim.election.as_ref().filter(|it| it.is_synced()) {
            sim.memory.leases = election.table().copied().collect();
        }
    }

    /// What is about to be written goes on the disk first, where it is the node's own lease; and before what was
    /// given away is no longer told of, the rest.
    fn remember_attempt(&mut self, node: usize, write: &Write) {
        let Some(Record::Node(lease)) = &write.record else {
            return;
        };
        if lease.node != self.nodes[node].name {
            return;
        }
        let before = self.nodes[node].memory.attempted.as_ref();
        if before.is_some_and(|before| !before.bequests.is_within(&lease.bequests)) {
            self.remember(node);
        }
        let memory = &mut self.nodes[node].memory;
        memory.writers.insert(lease.incarnation);
        memory.attempted = Some(lease.clone());
    }

    /// Ends a node's process without a word. Its kernel goes on until its deadline.
    pub(crate) fn kill(&mut self, node: usize) {
        let sim = &mut self.nodes[node];
        sim.election = None;
        sim.process += 1;
        sim.waiting.clear();
    }

    /// Switches the machine off: nothing of it answers, and its next start is another boot.
    pub(crate) fn power_off(&mut self, node: usize) {
        self.kill(node);
        let sim = &mut self.nodes[node];
        sim.boot += 1;
        sim.deadline = None;
        sim.answers.clear();
    }

    pub(crate) fn freeze(&mut self, node: usize, span: Duration) {
        self.nodes[node].frozen_until = self.nodes[node].frozen_until.max(self.now + span);
    }

    pub(crate) fn send(&mut self, node: usize, event: Event) {
        self.push(self.now, node, Step::Event(event));
    }

    /// Gives a node the planner's word on every VIP.
    pub(crate) fn desire(&mut self, node: usize, desired: DesiredVips, delay: Duration) {
        self.nodes[node].desired = desired.clone();
        self.push(self.now + delay, node, Step::Event(Event::Desired(desired)));
    }

    pub(super) fn act(&mut self, node: usize, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Cas(write) => {
                    self.remember_attempt(node, &write);
                    self.submit(node, write);
                }
                Action::SetDeadline(until) => {
                    self.nodes[node].deadline = Some(until);
                    self.check_all_of(node);
                }
                Action::Hold { vip, cause } => {
                    self.nodes[node].holds.push((vip.clone(), cause));
                    self.effect(node, Effect::Hold(vip));
                }
                Action::Release { vip } => self.effect(node, Effect::Release(vip)),
                Action::Silence => {
                    self.nodes[node].deadline = None;
                    self.effect(node, Effect::Empty);
                }
                Action::Superseded | Action::Stopped => self.nodes[node].stopped = true,
            }
        }
    }

    fn effect(&mut self, node: usize, effect: Effect) {
        let delay = self.rng.millis(0, 5);
        let at = (self.now + delay).max(self.nodes[node].effects_at);
        self.nodes[node].effects_at = at;
        self.push(at, node, Step::Effect(effect));
    }

    pub(super) fn affect(&mut self, node: usize, process: u64, effect: Effect) {
        if process != self.nodes[node].process {
            return;
        }
        let sim = &mut self.nodes[node];
        match effect {
            Effect::Hold(vip) => {
                sim.answers.insert(vip.clone());
                self.check(node, &vip);
            }
            Effect::Release(vip) => {
                sim.answers.remove(&vip);
                self.push(self.now, node, Step::Event(Event::Released(vip)));
            }
            Effect::Empty => {
                sim.answers.clear();
                self.push(self.now, node, Step::Event(Event::Silenced));
            }
        }
    }
}
