//! A simulated cluster: nodes with clocks of their own rate, kernels that outlive agents, and a store
//! that is slow, forgets to answer, goes away and tells its news late or never.
//!
//! After every step it checks that no VIP has two nodes with the right to answer.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::Duration;

use crate::election::*;
use crate::model::NodeName;

/// `SplitMix64`: small, and the same everywhere, so that a seed names a history for good.
#[derive(Clone, Debug)]
pub(super) struct Rng(pub(super) u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    pub(super) fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    pub(super) fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_micros(from * 1000 + self.below((to - from) * 1000))
    }
}

/// How bad things are. Chances are per mille.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weather {
    pub(super) slowest_ms: u64,
    pub(super) lost_request: u64,
    pub(super) lost_answer: u64,
    pub(super) lost_news: u64,
    pub(super) freeze_in_action: u64,
}

pub(super) const FAIR: Weather = Weather {
    slowest_ms: 8,
    lost_request: 0,
    lost_answer: 0,
    lost_news: 0,
    freeze_in_action: 0,
};
pub(super) const FOUL: Weather = Weather {
    slowest_ms: 400,
    lost_request: 40,
    lost_answer: 40,
    lost_news: 100,
    freeze_in_action: 3,
};

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
enum Effect {
    Hold(LeaseName),
    Release(LeaseName),
    Empty,
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

pub(super) struct SimNode {
    pub(super) name: NodeName,
    pub(super) election: Option<Election>,
    pub(super) process: u64,
    boot: u64,
    /// Parts per million by which the node's clock runs fast.
    drift_ppm: i64,
    clock_offset: Duration,
    frozen_until: Duration,
    waiting: Vec<Step>,
    timer: u64,
    news_at: Duration,
    effects_at: Duration,
    deadline: Option<Moment>,
    answers: BTreeSet<LeaseName>,
    pub(super) stopped: bool,
    pub(super) holds: Vec<(LeaseName, Cause)>,
    desired: DesiredVips,
}

pub(super) struct Cluster {
    pub(super) now: Duration,
    pub(super) rng: Rng,
    pub(super) nodes: Vec<SimNode>,
    pub(super) store: BTreeMap<LeaseName, (Revision, Record)>,
    revision: u64,
    queue: BinaryHeap<Reverse<Queued>>,
    seq: u64,
    pub(super) weather: Weather,
    pub(super) store_down_until: Duration,
    pub(super) settings: Settings,
    pub(super) writes: u64,
    pub(super) service_writes: u64,
    pub(super) steps: u64,
}

impl Cluster {
    pub(super) fn new(nodes: usize, seed: u64) -> Self {
        let mut rng = Rng(seed);
        let nodes = (0..nodes)
            .map(|index| SimNode {
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
                deadline: None,
                answers: BTreeSet::new(),
                stopped: false,
                holds: Vec::new(),
                desired: DesiredVips::new(),
            })
            .collect();
        Self {
            now: Duration::from_secs(1),
            rng,
            nodes,
            store: BTreeMap::new(),
            revision: 0,
            queue: BinaryHeap::new(),
            seq: 0,
            weather: FAIR,
            store_down_until: Duration::ZERO,
            settings: Settings::default(),
            writes: 0,
            service_writes: 0,
            steps: 0,
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

    /// Starts an agent on a node, as a new process on the same kernel.
    pub(super) fn start(&mut self, node: usize) {
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
            first_term: Term(1),
        };
        sim.election = Some(Election::new(me, self.settings, moment));
        sim.news_at = self.now;
        let desired = sim.desired.clone();
        let delay = self.rng.millis(1, self.weather.slowest_ms);
        self.push(self.now + delay, node, Step::Rescan);
        let delay = self.rng.millis(1, 300);
        self.push(self.now + delay, node, Step::Event(Event::Desired(desired)));
    }

    /// Ends a node's process without a word. Its kernel goes on until its deadline.
    pub(super) fn kill(&mut self, node: usize) {
        let sim = &mut self.nodes[node];
        sim.election = None;
        sim.process += 1;
        sim.waiting.clear();
    }

    /// Switches the machine off: nothing of it answers, and its next start is another boot.
    pub(super) fn power_off(&mut self, node: usize) {
        self.kill(node);
        let sim = &mut self.nodes[node];
        sim.boot += 1;
        sim.deadline = None;
        sim.answers.clear();
    }

    pub(super) fn freeze(&mut self, node: usize, span: Duration) {
        self.nodes[node].frozen_until = self.nodes[node].frozen_until.max(self.now + span);
    }

    pub(super) fn send(&mut self, node: usize, event: Event) {
        self.push(self.now, node, Step::Event(event));
    }

    /// Gives a node the planner's word on every VIP.
    pub(super) fn desire(&mut self, node: usize, desired: DesiredVips, delay: Duration) {
        self.nodes[node].desired = desired.clone();
        self.push(self.now + delay, node, Step::Event(Event::Desired(desired)));
    }

    /// Who has the right to answer for `vip` at this instant.
    pub(super) fn answering(&self, vip: &LeaseName) -> Vec<usize> {
        (0..self.nodes.len())
            .filter(|index| {
                let node = &self.nodes[*index];
                node.answers.contains(vip)
                    && node
                        .deadline
                        .is_some_and(|deadline| self.local(*index) < deadline)
            })
            .collect()
    }

    /// Runs for `span`, calling `watch` after every step.
    pub(super) fn run_watching(&mut self, span: Duration, mut watch: impl FnMut(&Self)) {
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
            self.check();
            watch(self);
        }
        self.now = end;
    }

    pub(super) fn run(&mut self, span: Duration) {
        self.run_watching(span, |_| ());
    }

    fn check(&self) {
        let mut seen: BTreeMap<&LeaseName, usize> = BTreeMap::new();
        for (index, node) in self.nodes.iter().enumerate() {
            if node
                .deadline
                .is_none_or(|deadline| self.local(index) >= deadline)
            {
                continue;
            }
            for vip in &node.answers {
                if let Some(other) = seen.insert(vip, index) {
                    panic!(
                        "n{other} and n{index} both may answer for {vip} at {:?}",
                        self.now
                    );
                }
            }
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
        let Some(election) = &mut self.nodes[node].election else {
            return;
        };
        let actions = election.handle_all(events, moment);
        let wake = election.poll_deadline();
        if self.rng.chance(self.weather.freeze_in_action) {
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

    fn act(&mut self, node: usize, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Cas(write) => {
                    if self.rng.chance(self.weather.lost_request) {
                        self.answer(node, write.request, Outcome::Failed);
                        continue;
                    }
                    let delay = self.rng.millis(0, self.weather.slowest_ms);
                    self.push(self.now + delay, node, Step::Apply(write));
                }
                Action::SetDeadline(until) => self.nodes[node].deadline = Some(until),
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

    fn affect(&mut self, node: usize, process: u64, effect: Effect) {
        if process != self.nodes[node].process {
            return;
        }
        let sim = &mut self.nodes[node];
        match effect {
            Effect::Hold(vip) => {
                sim.answers.insert(vip);
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

    fn answer(&mut self, node: usize, request: RequestId, outcome: Outcome) {
        let delay = self.rng.millis(0, self.weather.slowest_ms);
        self.push(
            self.now + delay,
            node,
            Step::Event(Event::Done { request, outcome }),
        );
    }

    fn apply(&mut self, node: usize, process: u64, write: Write) {
        let reply = process == self.nodes[node].process;
        if self.now < self.store_down_until {
            if reply {
                self.answer(node, write.request, Outcome::Failed);
            }
            return;
        }
        self.writes += 1;
        let found = self.store.get(&write.name);
        let outcome = if found.map(|(revision, _)| *revision) == write.expected {
            self.service_writes += u64::from(write.name.kind() == LeaseKind::Service);
            self.revision += 1;
            let revision = Revision(self.revision);
            let content = match write.record {
                Some(record) => {
                    self.store
                        .insert(write.name.clone(), (revision, record.clone()));
                    (Some(revision), Content::Record(record))
                }
                None => {
                    self.store.remove(&write.name);
                    (None, Content::Absent)
                }
            };
            self.tell(&write.name, content);
            Outcome::Written(revision)
        } else {
            let content = found.map_or(Content::Absent, |(_, record)| {
                Content::Record(record.clone())
            });
            Outcome::Conflict {
                revision: found.map(|(revision, _)| *revision),
                content,
            }
        };
        if reply && !self.rng.chance(self.weather.lost_answer) {
            self.answer(node, write.request, outcome);
        }
    }

    fn tell(&mut self, name: &LeaseName, (revision, content): (Option<Revision>, Content)) {
        for node in 0..self.nodes.len() {
            if self.rng.chance(self.weather.lost_news) {
                continue;
            }
            let at = self.now + self.rng.millis(0, self.weather.slowest_ms * 2);
            let at = at.max(self.nodes[node].news_at);
            self.nodes[node].news_at = at;
            let event = Event::Observed {
                name: name.clone(),
                revision,
                content: content.clone(),
            };
            self.push(at, node, Step::Event(event));
        }
    }

    /// Everything in the store, and what is gone from it, as the safety net tells now and then.
    fn rescan(&mut self, node: usize) -> Vec<Event> {
        if self.now < self.store_down_until || self.now < self.nodes[node].news_at {
            // News under way is older than this scan would be: first things first.
            let delay = self.rng.millis(1, 50);
            self.push(self.now + delay, node, Step::Rescan);
            return Vec::new();
        }
        let delay = self.rng.millis(1500, 2500);
        self.push(self.now + delay, node, Step::Rescan);
        let Some(election) = &self.nodes[node].election else {
            return Vec::new();
        };
        let known = election
            .table()
            .services()
            .filter(|(_, seen)| seen.revision.is_some());
        let known: Vec<_> = known.map(|(name, _)| name.clone()).collect();
        let gone = known
            .into_iter()
            .filter(|name| !self.store.contains_key(name));
        let gone = gone.map(|name| Event::Observed {
            name,
            revision: None,
            content: Content::Absent,
        });
        let there = self
            .store
            .iter()
            .map(|(name, (revision, record))| Event::Observed {
                name: name.clone(),
                revision: Some(*revision),
                content: Content::Record(record.clone()),
            });
        gone.chain(there).chain([Event::Synced]).collect()
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
