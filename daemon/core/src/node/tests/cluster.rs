//! A simulated cluster of whole nodes: machines with clocks of their own rate, kernels and disks that outlive processes, in
//! each process the election's thread, the quorum's, the announce effect and the journal, a network that loses, doubles, delays and
//! cuts, and a store that is slow, goes away (for all, or for one) and tells its news late.
//!
//! After every step it is checked that no VIP has two kernels that may answer for it, by true time; and with every write
//! that each holding of a VIP has one holder.

mod disk;
mod machine;
mod network;
mod store;
mod turns;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::time::Duration;

pub(crate) use self::machine::{Machine, Thread};
use crate::election::{
    self, Content, DesiredVips, Holder, LeaseName, Moment, Revision, Settings, Write,
};
use crate::model::NodeName;
use crate::node::{Answers, Input};
use crate::quorum;
pub(crate) use crate::simulation::FAIR;
use crate::simulation::{Rng, Weather};

#[derive(Debug)]
enum Step {
    /// The quorum's timer; only the one set last counts.
    QuorumTick(u64),
    Quorum(quorum::Event),
    /// The election has told the quorum something.
    QuorumWake,
    /// What is left of the actions of one event.
    QuorumAct(VecDeque<quorum::Action>),
    /// All that was on its way to the disk is there.
    Stored,
    /// What was to be remembered of the leases is on the disk.
    Remembered,
    /// A turn of the election's thread; only the timer set last counts.
    Turn(u64),
    /// The rest of a turn that began at this moment.
    Decide(Moment),
    Act(VecDeque<election::Action>),
    /// Something for the election's thread.
    Input(Input),
    /// The announce effect looks at what it should do, and does it.
    Announce,
    Apply(Answers),
    /// The watch looks at all there is.
    Scan {
        again: bool,
    },
    Scanned(Moment),
    /// The watch is told that a lease changed.
    News(LeaseName),
    /// A write reaches the store.
    Write(Write),
    Die,
    Revive,
}

impl Step {
    /// The thread that does it; nothing where it is no thread of the node's.
    fn thread(&self) -> Option<Thread> {
        Some(match self {
            Self::QuorumTick(_)
            | Self::Quorum(_)
            | Self::QuorumWake
            | Self::QuorumAct(_)
            | Self::Stored => Thread::Quorum,
            Self::Turn(_) | Self::Decide(_) | Self::Act(_) => Thread::Election,
            Self::Announce | Self::Apply(_) => Thread::Announce,
            Self::Input(_)
            | Self::Scan { .. }
            | Self::Scanned(_)
            | Self::News(_)
            | Self::Write(_)
            | Self::Remembered
            | Self::Die
            | Self::Revive => return None,
        })
    }
}

/// Threads stall where elsewhere a process does, and die less often for it.
pub(crate) const FOUL: Weather = Weather {
    stall: 10,
    dies_storing: 400,
    ..crate::simulation::FOUL
};

pub(crate) struct Cluster {
    /// True time.
    pub(crate) now: Duration,
    pub(crate) rng: Rng,
    pub(crate) machines: Vec<Machine>,
    pub(crate) settings: Settings,
    pub(crate) quorum_settings: quorum::Settings,
    pub(crate) weather: Weather,
    pub(crate) vips: Vec<LeaseName>,
    /// Who cannot send to whom.
    pub(crate) cut: Vec<Vec<bool>>,
    store: BTreeMap<LeaseName, (Revision, Content)>,
    revision: u64,
    /// Who held each VIP as of each transition, by all that was ever written.
    holders: BTreeMap<(LeaseName, u64), Option<Holder>>,
    /// Service leases removed by hand, and not seen to be there again.
    deleted: BTreeSet<LeaseName>,
    queue: BinaryHeap<Reverse<(Duration, u64, usize)>>,
    /// Steps by their place in the queue: node, process, step.
    under_way: Vec<Option<(usize, u64, Step)>>,
    free: Vec<usize>,
    seq: u64,
    pub(crate) counts: Counts,
    /// Nodes remember the leases on their disks.
    pub(crate) remembers: bool,
    /// How long the store takes to do a write, besides the way there and back.
    pub(crate) slow_writes: Duration,
    /// Print what happens.
    pub(crate) loud: bool,
}

/// What has happened.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) steps: u64,
    /// Terms ended by a peer.
    pub(crate) fences: u64,
    /// Records of members written.
    pub(crate) records: u64,
    /// Bequests written.
    pub(crate) bequests: u64,
    /// Steps at which two kernels might answer as one of the machines had stood still a moment ago.
    pub(crate) excused: u64,
    /// Elections that went by what they remembered.
    pub(crate) recalled: u64,
    /// Times that all went by it, and answered for what they had before.
    pub(crate) restarts_in_the_dark: u64,
    /// How long it took at most until every VIP was answered: once things were well, once one of a quorum had died, and
    /// once fewer than half had failed in all ways.
    pub(crate) slowest_recovery: Duration,
    pub(crate) slowest_takeover: Duration,
    pub(crate) slowest_majority: Duration,
}

impl Counts {
    /// Adds what has happened elsewhere.
    pub(crate) fn add(&mut self, other: &Self) {
        self.steps += other.steps;
        self.fences += other.fences;
        self.records += other.records;
        self.bequests += other.bequests;
        self.excused += other.excused;
        self.recalled += other.recalled;
        self.restarts_in_the_dark += other.restarts_in_the_dark;
        self.slowest_recovery = self.slowest_recovery.max(other.slowest_recovery);
        self.slowest_takeover = self.slowest_takeover.max(other.slowest_takeover);
        self.slowest_majority = self.slowest_majority.max(other.slowest_majority);
    }
}

impl Cluster {
    pub(crate) fn new(nodes: usize, vips: usize, seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let quorum_settings = quorum::Settings {
            forget_after: Duration::from_secs(4),
            ..quorum::Settings::default()
        };
        let vips = (0..vips)
            .map(|index| LeaseName::of_service("default", &format!("web-{index}")))
            .chain([LeaseName::allocator()]);
        Self {
            now: Duration::from_secs(100),
            machines: (0..nodes)
                .map(|index| Machine::new(index, &mut rng))
                .collect(),
            rng,
            settings: Settings::default(),
            quorum_settings,
            weather: FAIR,
            vips: vips.collect(),
            cut: vec![vec![false; nodes]; nodes],
            store: BTreeMap::new(),
            revision: 0,
            holders: BTreeMap::new(),
            deleted: BTreeSet::new(),
            queue: BinaryHeap::new(),
            under_way: Vec::new(),
            free: Vec::new(),
            seq: 0,
            counts: Counts::default(),
            remembers: false,
            slow_writes: Duration::ZERO,
            loud: false,
        }
    }

    /// Prints what happens to a node, where that is wanted.
    pub(crate) fn say(&self, node: usize, what: impl FnOnce() -> String) {
        if self.loud {
            println!("{:?} n{node}: {}", self.now, what());
        }
    }

    fn local(&self, node: usize) -> Moment {
        self.machines[node].local(self.now)
    }

    fn push(&mut self, delay: Duration, node: usize, step: Step) {
        let process = self.machines[node].number;
        self.push_for(self.now + delay, node, process, step);
    }

    fn push_for(&mut self, at: Duration, node: usize, process: u64, step: Step) {
        self.seq += 1;
        let place = self.free.pop().unwrap_or_else(|| {
            self.under_way.push(None);
            self.under_way.len() - 1
        });
        self.under_way[place] = Some((node, process, step));
        self.queue.push(Reverse((at, self.seq, place)));
    }

    /// Lets time pass.
    pub(crate) fn run(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(Reverse((at, _, place))) = self.queue.peek().copied()
            && at <= end
        {
            self.queue.pop();
            self.now = self.now.max(at);
            self.free.push(place);
            if let Some((node, process, step)) = self.under_way[place].take() {
                self.step(node, process, step);
            }
        }
        self.now = end;
    }

    fn step(&mut self, node: usize, process: u64, step: Step) {
        // The store works for whoever asked, be it gone by now.
        let step = match step {
            Step::Write(write) => return self.serve(node, process, write),
            step => step,
        };
        let machine = &self.machines[node];
        if machine.number != process {
            return;
        }
        let stopped = step.thread().map_or(Duration::ZERO, |thread| {
            machine.stopped_until[thread as usize]
        });
        let until = stopped.max(machine.paused_until);
        if until > self.now {
            return self.push(until - self.now, node, step);
        }
        if machine.process.is_none() {
            if matches!(step, Step::Revive) {
                self.start(node);
            }
            return;
        }
        self.counts.steps += 1;
        match step {
            Step::QuorumTick(timer) => {
                if self.machines[node].quorum_timer == timer {
                    self.quorum_turn(node, quorum::Event::Tick);
                }
            }
            Step::Quorum(event) => self.quorum_turn(node, event),
            Step::QuorumWake => self.quorum_wake(node),
            Step::QuorumAct(actions) => self.quorum_act(node, actions),
            Step::Stored => self.stored(node),
            Step::Remembered => self.remembered(node),
            Step::Turn(timer) => {
                if self.machines[node].turn_timer == timer {
                    self.turn(node);
                }
            }
            Step::Decide(now) => self.decide(node, now),
            Step::Act(actions) => self.act(node, actions),
            Step::Input(input) => self.input(node, input),
            Step::Announce => self.announce(node),
            Step::Apply(answers) => self.apply(node, &answers),
            Step::Scan { again } => self.scan(node, again),
            Step::Scanned(as_of) => self.scanned(node, as_of),
            Step::News(name) => self.news(node, name),
            // Without its memory it would be a danger then, as is known.
            Step::Die if self.is_harmed() => {}
            Step::Die => {
                self.kill(node);
                let span = self.rng.millis(0, 300);
                self.push(span, node, Step::Revive);
            }
            Step::Write(_) | Step::Revive => {}
        }
        self.check(node);
    }

    /// Which VIPs the kernel of `node` answers for at this instant, as bits.
    fn answering(&self, node: usize) -> u32 {
        let machine = &self.machines[node];
        if machine.answers_until > self.now && machine.paused_until <= self.now {
            machine.table
        } else {
            0
        }
    }

    /// The nodes whose kernels answer for a VIP.
    pub(crate) fn answerers(&self, vip: usize) -> Vec<usize> {
        let bit = 1 << vip;
        let nodes = 0..self.machines.len();
        nodes
            .filter(|node| self.answering(*node) & bit != 0)
            .collect()
    }

    /// Whether the kernel of `node` may answer, and a process is there.
    pub(crate) fn is_entitled(&self, node: usize) -> bool {
        let machine = &self.machines[node];
        machine.process.is_some() && machine.answers_until > self.now
    }

    /// Checks that nobody else answers for what `node` answers for. Time alone only ends rights.
    fn check(&mut self, node: usize) {
        self.machines[node].read_kernel();
        let own = self.answering(node);
        if own == 0 {
            return;
        }
        for other in 0..self.machines.len() {
            let both = own & self.answering(other);
            if other == node || both == 0 {
                continue;
            }
            let excuse = |node: usize| self.machines[node].excused_until(&self.quorum_settings);
            let excused = excuse(node).max(excuse(other));
            assert!(
                excused > self.now,
                "n{node} and n{other} both answer for {} at {:?}",
                self.vips[usize::try_from(both.trailing_zeros()).unwrap_or(0)],
                self.now
            );
            self.counts.excused += 1;
        }
    }

    /// Every VIP can be announced by every node.
    pub(crate) fn everywhere(&self) -> DesiredVips {
        let nodes: BTreeSet<_> = (0..self.machines.len()).map(name_of).collect();
        let all = self.vips.iter().map(|vip| (vip.clone(), nodes.clone()));
        all.collect()
    }
}

/// The place of a node by its name.
pub(crate) fn index_of(name: &NodeName) -> usize {
    usize::from(name.as_str().as_bytes()[1] - b'0')
}

/// The name of a node by its place.
pub(crate) fn name_of(index: usize) -> NodeName {
    NodeName::new(format!("n{index}"))
}
