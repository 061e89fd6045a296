//! A simulated cluster: machines with clocks of their own rate, kernels and disks that outlive processes, a network
//! that loses, doubles, delays and cuts, and a store that is slow, goes away and tells its news late.
//!
//! The election is played by `agent`, which keeps a term and fences whoever the view says is over. Checked whenever a
//! term is said to be over, and whenever a kernel's deadline is set; time alone only ends rights.

mod agent;
mod network;
mod node;
mod store;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::time::Duration;

pub(super) use self::node::Node;
use self::store::{Lease, Reply, Request};
use crate::election::{Moment, Term};
use crate::model::NodeName;
use crate::quorum::record::MemberRecord;
use crate::quorum::*;
use crate::simulation::Rng;
pub(super) use crate::simulation::{FAIR, FOUL, Weather};

#[derive(Debug)]
enum Step {
    /// A timer; only the one set last counts.
    Tick(u64),
    Event(Event),
    /// What is left of the actions of one event.
    Act(VecDeque<Action>),
    Agent,
    Request(Request),
    Reply(Reply),
    LeaseNews(usize, Lease),
    RecordNews(u64, MemberRecord),
    Rescan,
    DiskDone,
    /// The process dies, and is started again soon.
    Die,
    Revive,
}

pub(super) struct Cluster {
    /// True time.
    pub(super) now: Duration,
    pub(super) rng: Rng,
    pub(super) nodes: Vec<Node>,
    pub(super) settings: Settings,
    pub(super) weather: Weather,
    /// Who cannot send to whom.
    pub(super) cut: Vec<Vec<bool>>,
    pub(super) record: Option<(u64, MemberRecord)>,
    leases: BTreeMap<usize, Lease>,
    revision: u64,
    /// The last term of each node that was said to be over, or was fenced.
    pub(super) over: Vec<Option<Term>>,
    queue: BinaryHeap<Reverse<(Duration, u64, usize)>>,
    /// Steps by their place in the queue: node, process, step.
    steps_under_way: Vec<Option<(usize, u64, Step)>>,
    free: Vec<usize>,
    seq: u64,
    /// Events handled by any machine.
    pub(super) steps: u64,
    /// Terms that were ended by a peer.
    pub(super) fences: u64,
    /// Records written.
    pub(super) records: u64,
}

impl Cluster {
    pub(super) fn new(nodes: usize, seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let settings = Settings {
            forget_after: Duration::from_secs(4),
            ..Settings::default()
        };
        Self {
            now: Duration::from_secs(100),
            nodes: (0..nodes).map(|index| Node::new(index, &mut rng)).collect(),
            rng,
            settings,
            weather: FAIR,
            cut: vec![vec![false; nodes]; nodes],
            record: None,
            leases: BTreeMap::new(),
            revision: 0,
            over: vec![None; nodes],
            queue: BinaryHeap::new(),
            steps_under_way: Vec::new(),
            free: Vec::new(),
            seq: 0,
            steps: 0,
            fences: 0,
            records: 0,
        }
    }

    pub(super) fn local(&self, node: usize) -> Moment {
        self.nodes[node].clock.after(self.now)
    }

    fn push(&mut self, delay: Duration, node: usize, step: Step) {
        let process = self.nodes[node].process;
        self.push_for(delay, node, process, step);
    }

    fn push_for(&mut self, delay: Duration, node: usize, process: u64, step: Step) {
        self.seq += 1;
        let place = self.free.pop().unwrap_or_else(|| {
            self.steps_under_way.push(None);
            self.steps_under_way.len() - 1
        });
        self.steps_under_way[place] = Some((node, process, step));
        self.queue
            .push(Reverse((self.now + delay, self.seq, place)));
    }

    /// Lets time pass.
    pub(super) fn run(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(Reverse((at, _, _))) = self.queue.peek()
            && *at <= end
        {
            let Some(Reverse((at, _, place))) = self.queue.pop() else {
                break;
            };
            self.now = self.now.max(at);
            self.free.push(place);
            if let Some((node, process, step)) = self.steps_under_way[place].take() {
                self.step(node, process, step);
            }
        }
        self.now = end;
    }

    fn step(&mut self, node: usize, process: u64, step: Step) {
        // The store works for whoever asked, be it gone by now.
        let step = match step {
            Step::Request(request) => return self.serve(node, process, request),
            step => step,
        };
        if matches!(step, Step::Revive)
            && self.nodes[node].process == process
            && self.nodes[node].quorum.is_none()
        {
            return self.start(node);
        }
        let thaw = self.nodes[node].frozen_until;
        if self.nodes[node].process != process || self.nodes[node].quorum.is_none() {
            return;
        }
        if thaw > self.now {
            return self.push(thaw - self.now, node, step);
        }
        match step {
            Step::Tick(timer) => {
                if self.nodes[node].timer == timer {
                    self.handle(node, Event::Tick);
                }
            }
            Step::Event(event) => self.handle(node, event),
            Step::Act(actions) => self.act(node, actions),
            Step::Agent => self.run_agent(node),
            Step::Reply(reply) => self.take_reply(node, reply),
            Step::LeaseNews(of, lease) => self.hear_of_lease(node, of, lease),
            Step::RecordNews(revision, record) => self.hear_of_record(node, revision, record),
            Step::Rescan => self.rescan(node),
            Step::DiskDone => self.disk_done(node),
            Step::Die => {
                self.kill(node);
                let span = self.rng.millis(0, 300);
                self.push(span, node, Step::Revive);
            }
            Step::Request(_) | Step::Revive => {}
        }
    }

    fn handle(&mut self, node: usize, event: Event) {
        let now = self.local(node);
        let Some(quorum) = self.nodes[node].quorum.as_mut() else {
            return;
        };
        self.steps += 1;
        let actions = quorum.handle(event, now);
        let wake = quorum.poll_deadline();
        self.act(node, actions.into());
        if let Some(at) = wake {
            self.nodes[node].timer += 1;
            let timer = self.nodes[node].timer;
            let delay = self.nodes[node].clock.true_span(at.since(now));
            self.push(delay, node, Step::Tick(timer));
        }
    }

    fn act(&mut self, node: usize, mut actions: VecDeque<Action>) {
        while let Some(action) = actions.pop_front() {
            if self.weather.stall > 0 && self.rng.chance(self.weather.stall) {
                // The process is stopped between two actions; what else came waits behind.
                let span = self.rng.millis(1, 1500);
                actions.push_front(action);
                self.freeze(node, span);
                return self.push(span, node, Step::Act(actions));
            }
            match action {
                Action::Send { to, message } => self.send(node, index_of(&to), message),
                Action::SetDeadline { term, until } => self.set_kernel(node, term, until),
                Action::WriteRecord { expected, record } => {
                    self.request(node, Request::Record { expected, record });
                }
                Action::Survey { number } => self.request(node, Request::Survey { number }),
                Action::Store { version, durable } => {
                    self.nodes[node].writes.push_back((version, durable));
                    let span = self.rng.millis(0, self.weather.slowest_disk_ms);
                    if self.weather.dies_storing > 0 && self.rng.chance(self.weather.dies_storing) {
                        self.push(span / 2, node, Step::Die);
                    }
                    self.push(span, node, Step::DiskDone);
                }
                Action::Left => self.nodes[node].left = true,
                Action::ViewChanged => self.look(node),
            }
        }
    }

    fn disk_done(&mut self, node: usize) {
        if let Some((version, durable)) = self.nodes[node].writes.pop_front() {
            self.nodes[node].disk = Some(durable);
            self.handle(node, Event::Stored { version });
        }
    }

    fn set_kernel(&mut self, node: usize, term: Term, until: Option<Moment>) {
        if let Some(until) = until {
            let over = self.over[node] >= Some(term) && until > self.local(node);
            assert!(
                !over,
                "{node}: the right of {term:?} grew although it is over"
            );
        }
        self.nodes[node].kernel = Some((term, until));
    }

    /// Until when in true time, from now, the kernel of `node` may answer within `term` or one before.
    pub(super) fn may_answer(&self, node: usize, term: Term) -> bool {
        let Some((held, Some(until))) = self.nodes[node].kernel else {
            return false;
        };
        held <= term && until > self.local(node)
    }

    fn check_over(&mut self, node: usize, term: Term, by: usize) {
        assert!(
            !self.may_answer(node, term),
            "{by} holds {term:?} of {node} to be over at {:?}, but its kernel answers",
            self.now
        );
        self.over[node] = self.over[node].max(Some(term));
    }

    /// Whether the kernel of `node` may answer.
    pub(super) fn has_deadline(&self, node: usize) -> bool {
        let held = self.nodes[node].kernel.and_then(|(_, until)| until);
        held > Some(self.local(node))
    }

    /// Whether it may, and a process is there.
    pub(super) fn is_entitled(&self, node: usize) -> bool {
        self.nodes[node].quorum.is_some() && self.has_deadline(node)
    }
}

/// The place of a node by its name.
fn index_of(name: &NodeName) -> usize {
    usize::from(name.as_str().as_bytes()[1] - b'0')
}

/// The name of a node by its place.
pub(super) fn name_of(index: usize) -> NodeName {
    NodeName::new(format!("n{index}"))
}
