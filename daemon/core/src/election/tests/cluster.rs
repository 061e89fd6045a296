//! A simulated cluster: nodes with clocks of their own rate, kernels that outlive agents, and a store
//! that is slow, forgets to answer, goes away and tells its news late or never.
//!
//! Whenever a node's right to answer grows it checks that no VIP has two nodes with that right; time
//! alone only ends rights.

mod machine;
mod store;
mod weather;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::Duration;

use self::machine::Effect;
pub(super) use self::machine::SimNode;
pub(super) use self::store::Harm;
pub(super) use self::weather::{FAIR, FOUL, SLOW_DISK, Weather};
use crate::election::*;
use crate::simulation::Rng;

#[derive(Debug)]
enum Step {
    /// A timer; only the one set last counts.
    Tick(u64),
    /// The end of a freeze.
    Thaw,
    Event(Event),
    Act(Vec<Action>),
    Apply(Write),
    Rescan,
    Effect(Effect),
}

#[derive(Debug)]
struct Queued {
    at: Duration,
    seq: u64,
    node: usize,
    /// The process the step is meant for; a later one never sees it.
    process: u64,
    step: Step,
}

impl PartialEq for Queued {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.seq) == (other.at, other.seq)
    }
}
impl Eq for Queued {}
impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Queued {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.seq).cmp(&(other.at, other.seq))
    }
}

/// Every so many steps somebody copies the leases to its disk; so copies are of any age.
const COPY_EVERY: u64 = 37;

pub(super) struct Cluster {
    pub(super) now: Duration,
    pub(super) rng: Rng,
    pub(super) nodes: Vec<SimNode>,
    pub(super) store: BTreeMap<LeaseName, (Revision, Content)>,
    /// The store as somebody sees it who has seen every write and forgets nothing.
    witness: LeaseTable,
    revision: u64,
    queue: BinaryHeap<Reverse<Queued>>,
    seq: u64,
    pub(super) weather: Weather,
    pub(super) store_down_until: Duration,
    pub(super) settings: Settings,
    /// Every write of a service lease fails.
    pub(super) no_records: bool,
    pub(super) writes: u64,
    pub(super) service_writes: u64,
    pub(super) steps: u64,
    /// Leases that somebody meddled with.
    pub(super) harms: u64,
    /// Bequests written, and those taken out again.
    pub(super) bequests: u64,
    pub(super) pruned: u64,
}

impl Cluster {
    pub(super) fn new(nodes: usize, seed: u64) -> Self {
        let mut rng = Rng::of_state(seed);
        let nodes = (0..nodes)
            .map(|index| SimNode::new(index, &mut rng))
            .collect();
        Self {
            now: Duration::from_secs(1),
            rng,
            nodes,
            store: BTreeMap::new(),
            witness: LeaseTable::default(),
            revision: 0,
            queue: BinaryHeap::new(),
            seq: 0,
            weather: FAIR,
            store_down_until: Duration::ZERO,
            settings: Settings::default(),
            no_records: false,
            writes: 0,
            service_writes: 0,
            steps: 0,
            harms: 0,
            bequests: 0,
            pruned: 0,
        }
    }

    pub(super) fn local(&self, node: usize) -> Moment {
        let node = &self.nodes[node];
        let nanos = i128::try_from(self.now.as_nanos()).unwrap_or(0);
        let nanos = nanos + nanos * i128::from(node.drift_ppm) / 1_000_000;
        Moment::from_boot(
            node.clock_offset + Duration::from_nanos(u64::try_from(nanos).unwrap_or(0)),
        )
    }

    fn push(&mut self, at: Duration, node: usize, step: Step) {
        self.seq += 1;
        let process = self.nodes[node].process;
        self.queue.push(Reverse(Queued {
            at,
            seq: self.seq,
            node,
            process,
            step,
        }));
    }

    /// Who has the right to answer for `vip` at this instant.
    pub(super) fn answering(&self, vip: &LeaseName) -> Vec<usize> {
        (0..self.nodes.len())
            .filter(|index| self.nodes[*index].answers.contains(vip) && self.may_answer(*index))
            .collect()
    }

    /// Runs for `span`.
    pub(super) fn run(&mut self, span: Duration) {
        let end = self.now + span;
        while self
            .queue
            .peek()
            .is_some_and(|Reverse(queued)| queued.at <= end)
        {
            let Some(Reverse(queued)) = self.queue.pop() else {
                break;
            };
            self.now = self.now.max(queued.at);
            self.steps += 1;
            self.step(queued);
        }
        self.now = end;
    }

    fn may_answer(&self, node: usize) -> bool {
        self.nodes[node]
            .deadline
            .is_some_and(|deadline| self.local(node) < deadline)
    }

    /// Checks that nobody else may answer for what `node` may answer for.
    fn check_all_of(&self, node: usize) {
        for vip in &self.nodes[node].answers {
            self.check(node, vip);
        }
    }

    fn check(&self, node: usize, vip: &LeaseName) {
        if !self.may_answer(node) {
            return;
        }
        for (other, peer) in self.nodes.iter().enumerate() {
            assert!(
                other == node || !peer.answers.contains(vip) || !self.may_answer(other),
                "n{node} and n{other} both may answer for {vip} at {:?}",
                self.now
            );
        }
    }

    fn step(&mut self, queued: Queued) {
        let Queued {
            node,
            process,
            step,
            ..
        } = queued;
        match step {
            // Writes and kernel work go on without the process that asked for them.
            Step::Apply(write) => return self.apply(node, process, write),
            Step::Effect(effect) => return self.affect(node, process, effect),
            _ if process != self.nodes[node].process => return,
            Step::Tick(timer) if timer != self.nodes[node].timer => return,
            _ => {}
        }
        if self.now < self.nodes[node].frozen_until {
            if self.nodes[node].waiting.is_empty() {
                let until = self.nodes[node].frozen_until;
                self.push(until, node, Step::Thaw);
            }
            self.nodes[node].waiting.push(step);
            return;
        }
        let mut steps: Vec<_> = std::mem::take(&mut self.nodes[node].waiting);
        steps.push(step);
        let mut events = Vec::new();
        for step in steps {
            match step {
                Step::Act(actions) => self.act(node, actions),
                Step::Event(event) => events.push(event),
                Step::Rescan => events.extend(self.rescan(node)),
                _ => events.push(Event::Tick),
            }
        }
        self.feed(node, events);
    }

    fn feed(&mut self, node: usize, events: Vec<Event>) {
        let moment = self.local(node);
        if self.steps.is_multiple_of(COPY_EVERY) {
            self.remember(node);
        }
        let Some(election) = &mut self.nodes[node].election else {
            return;
        };
        let actions = election.handle_all(events, moment);
        let wake = election.poll_deadline();
        if self.rng.per_mille(self.weather.freeze_in_action) {
            // Stopped between reading the clock and acting on it.
            let span = self.rng.millis(10, 6000);
            self.freeze(node, span);
            let until = self.nodes[node].frozen_until;
            self.push(until, node, Step::Act(actions));
        } else {
            self.act(node, actions);
        }
        if let Some(wake) = wake {
            let span = wake.since(moment).mul_f64(1.02) + Duration::from_micros(100);
            self.nodes[node].timer += 1;
            let timer = self.nodes[node].timer;
            self.push(self.now + span, node, Step::Tick(timer));
        }
    }
}

/// The lease names of `count` VIPs.
pub(super) fn vips(count: usize) -> Vec<LeaseName> {
    (0..count)
        .map(|index| LeaseName::of_service("default", &format!("web-{index}")))
        .collect()
}

/// Every VIP can be announced by every node.
pub(super) fn everywhere(vips: &[LeaseName], cluster: &Cluster) -> DesiredVips {
    let nodes: BTreeSet<_> = cluster.nodes.iter().map(|node| node.name.clone()).collect();
    vips.iter()
        .map(|vip| (vip.clone(), nodes.clone()))
        .collect()
}
