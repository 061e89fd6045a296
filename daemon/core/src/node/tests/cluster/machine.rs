//! One machine: its clock, its kernel, its disk, and the process that runs on it.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use super::disk::{Journal, LeaseFiles};
use super::{Cluster, Step, name_of};
use crate::election::{BootId, DesiredVips, Event, Identity, Incarnation, LeaseName, Moment};
use crate::election::{Revision, Term};
use crate::node::{Answers, Door, ElectionSide, Input, QuorumLink, QuorumPort};
use crate::quorum::{self, Durable, Quorum, View};
use crate::simulation::{Clock, Rng};

/// What can be stopped by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Thread {
    Quorum,
    Election,
    Announce,
}

/// What the threads of a process share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) quorum: RefCell<Quorum>,
    /// When the quorum's thread published its view last.
    pub(super) published_at: Cell<Moment>,
    /// The view published before, while the quorum's thread is stopped in the middle of its turn.
    pub(super) published: RefCell<Option<View>>,
    pub(super) to_quorum: RefCell<VecDeque<quorum::Event>>,
    pub(super) door: Cell<Door>,
    /// The kernel's deadline.
    pub(super) deadline: Rc<Cell<Option<Moment>>>,
}

impl Shared {
    pub(super) fn push_deadline(&self, term: Term, until: Option<Moment>) {
        let mut door = self.door.get();
        if door.push(term, until) {
            self.deadline.set(until);
        }
        self.door.set(door);
    }
}

#[derive(Debug)]
pub(super) struct Port(pub(super) Rc<Shared>);

impl QuorumPort for Port {
    fn is_running(&self) -> bool {
        true
    }

    fn tell(&mut self, event: quorum::Event) {
        self.0.to_quorum.borrow_mut().push_back(event);
    }

    fn view(&self) -> View {
        let published = self.0.published.borrow();
        let view = || self.0.quorum.borrow().view(self.0.published_at.get());
        published.clone().unwrap_or_else(view)
    }

    fn open(&mut self, term: Term) {
        let mut door = self.0.door.get();
        door.open(term);
        self.0.door.set(door);
    }

    fn shut(&mut self) {
        self.0.door.set(Door::default());
        self.0.deadline.set(None);
    }
}

pub(crate) struct Process {
    pub(super) shared: Rc<Shared>,
    pub(super) side: ElectionSide<QuorumLink<Port>>,
    pub(super) journal: Journal,
    pub(super) inbox: VecDeque<Input>,
    /// A turn is about to be made because of the inbox.
    pub(super) woken: bool,
    /// A turn was begun and is not over.
    pub(super) in_turn: bool,
    /// What the announce effect is to bring about, as published.
    pub(super) published: (bool, Answers),
    pub(super) announcing: bool,
    pub(super) announce_again: bool,
    /// What the watch has told of each lease.
    pub(super) told: BTreeMap<LeaseName, Option<Revision>>,
    /// When the last of what the watch tells arrives.
    pub(super) watch_at: Duration,
}

pub(crate) struct Machine {
    pub(super) clock: Clock,
    /// How long the clock has stood still.
    stood: Duration,
    boot: u64,
    /// Counts processes.
    pub(super) number: u64,
    pub(crate) process: Option<Process>,
    pub(super) quorum_timer: u64,
    pub(super) turn_timer: u64,
    /// When each thread goes on.
    pub(super) stopped_until: [Duration; 3],
    /// When the machine as a whole goes on.
    pub(crate) paused_until: Duration,
    /// When the machine went on whose clock had stood still.
    resumed: Option<Duration>,
    pub(crate) store_down_until: Duration,
    /// The watch hangs until then.
    pub(crate) deaf_until: Duration,
    pub(super) disk: Option<Durable>,
    pub(super) files: LeaseFiles,
    pub(super) writes: VecDeque<(u64, Durable)>,
    pub(super) deadline: Rc<Cell<Option<Moment>>>,
    deadline_read: Option<Moment>,
    /// Until when the kernel answers, in true time.
    pub(super) answers_until: Duration,
    /// The kernel's table of VIPs, as bits.
    pub(super) table: u32,
    pub(crate) desired: DesiredVips,
    /// The node has been told to stop.
    pub(crate) leaving: bool,
}

impl Machine {
    pub(super) fn new(index: usize, rng: &mut Rng) -> Self {
        Self {
            clock: Clock::new(rng).ahead_by(Duration::from_millis(index as u64)),
            stood: Duration::ZERO,
            boot: 0,
            number: 0,
            process: None,
            quorum_timer: 0,
            turn_timer: 0,
            stopped_until: [Duration::ZERO; 3],
            paused_until: Duration::ZERO,
            resumed: None,
            store_down_until: Duration::ZERO,
            deaf_until: Duration::ZERO,
            disk: None,
            files: LeaseFiles::default(),
            writes: VecDeque::new(),
            deadline: Rc::default(),
            deadline_read: None,
            answers_until: Duration::ZERO,
            table: 0,
            desired: DesiredVips::new(),
            leaving: false,
        }
    }

    /// What its clock shows.
    pub(super) fn local(&self, now: Duration) -> Moment {
        self.clock.after(now - self.stood)
    }

    /// Reads the kernel's deadline, in true time.
    pub(super) fn read_kernel(&mut self) {
        if self.deadline_read == self.deadline.get() {
            return;
        }
        self.deadline_read = self.deadline.get();
        self.answers_until = self.deadline_read.map_or(Duration::ZERO, |until| {
            self.stood + self.clock.ran_at(until)
        });
    }

    /// The clock stands still for `span`, from `now` on.
    fn stand_still(&mut self, span: Duration, now: Duration) {
        self.stood += span;
        self.deadline_read = None;
        self.resumed = Some(now + span);
    }

    /// What it answers until then may be owed to the clock that stood still: for as long as its right may last by the
    /// clock. Nobody can tell from within that a clock stood still.
    pub(super) fn excused_until(&self, settings: &quorum::Settings) -> Duration {
        let view = |process: &Process| process.shared.quorum.borrow().view(Moment::default());
        let by_lease = self.process.as_ref().is_none_or(|it| view(it).by_lease);
        let longest = if by_lease {
            settings.lease_duration
        } else {
            settings.span
        };
        self.resumed
            .map_or(Duration::ZERO, |at| at + longest.mul_f64(1.02))
    }
}

impl Cluster {
    /// Starts a process with what is on the disk.
    pub(crate) fn start(&mut self, node: usize) {
        let now = self.local(node);
        let incarnation = Incarnation(u128::from(self.rng.number()));
        let machine = &mut self.machines[node];
        machine.number += 1;
        machine.leaving = false;
        machine.stopped_until = [Duration::ZERO; 3];
        let me = quorum::Identity {
            node: name_of(node),
            incarnation,
        };
        let quorum = Quorum::new(me, self.quorum_settings, machine.disk.clone(), now);
        let shared = Rc::new(Shared {
            quorum: RefCell::new(quorum),
            published_at: Cell::new(now),
            published: RefCell::default(),
            to_quorum: RefCell::default(),
            door: Cell::default(),
            deadline: Rc::clone(&machine.deadline),
        });
        let me = Identity {
            node: name_of(node),
            incarnation,
            boot: BootId(u128::from(machine.boot) << 64 | node as u128),
            // As seconds since the Unix epoch would: faster than terms are counted.
            first_term: Term(u64::try_from(self.now.as_millis()).unwrap_or(u64::MAX)),
        };
        let remembered = machine.files.memory();
        let link = QuorumLink::new(Port(Rc::clone(&shared)), true);
        machine.process = Some(Process {
            shared,
            side: ElectionSide::new(me, self.settings, link, remembered, now),
            journal: Journal::default(),
            inbox: VecDeque::new(),
            woken: false,
            in_turn: false,
            published: (false, Answers::default()),
            announcing: false,
            announce_again: false,
            told: BTreeMap::new(),
            watch_at: self.now,
        });
        let desired = machine.desired.clone();
        self.quorum_turn(node, quorum::Event::Tick);
        let (scan, plan) = (self.rng.millis(1, 60), self.rng.millis(1, 300));
        self.push(scan, node, Step::Scan { again: true });
        let input = Input::Agent(Event::Desired(desired));
        self.push(plan, node, Step::Input(input));
        self.wake_election(node);
    }

    /// Ends the process. What it was writing to its disk may have got there.
    pub(crate) fn kill(&mut self, node: usize) {
        self.end_journal(node);
        let done = self.rng.place(self.machines[node].writes.len() + 1);
        let machine = &mut self.machines[node];
        machine.number += 1;
        machine.process = None;
        if let Some((_, durable)) = machine.writes.drain(..done).next_back() {
            machine.disk = Some(durable);
        }
        machine.writes.clear();
    }

    /// Ends the process, and starts another after a while.
    pub(crate) fn restart(&mut self, node: usize) {
        self.kill(node);
        let span = self.rng.millis(0, 1500);
        self.push(span, node, Step::Revive);
    }

    /// Ends the machine, and with it the kernel's tables.
    pub(crate) fn power_off(&mut self, node: usize) {
        self.kill(node);
        let machine = &mut self.machines[node];
        machine.boot += 1;
        machine.deadline.set(None);
        machine.table = 0;
        machine.paused_until = Duration::ZERO;
        machine.read_kernel();
    }

    /// Stops a thread for a while; the kernel goes on, and so does the clock.
    pub(crate) fn stop_thread(&mut self, node: usize, thread: Thread, span: Duration) {
        let until = &mut self.machines[node].stopped_until[thread as usize];
        *until = (*until).max(self.now + span);
    }

    /// Stops the process for a while.
    pub(crate) fn freeze(&mut self, node: usize, span: Duration) {
        for thread in [Thread::Quorum, Thread::Election, Thread::Announce] {
            self.stop_thread(node, thread, span);
        }
    }

    /// The whole machine stands still, its kernel too; and its clock, unless `told` of the time when it goes on.
    pub(crate) fn pause(&mut self, node: usize, span: Duration, told: bool) {
        let machine = &mut self.machines[node];
        if machine.paused_until > self.now {
            return;
        }
        machine.paused_until = self.now + span;
        if told {
            return;
        }
        machine.stand_still(span, self.now);
        machine.read_kernel();
    }

    /// Gives a node the planner's word on every VIP, after a while.
    pub(crate) fn desire(&mut self, node: usize, desired: DesiredVips, delay: Duration) {
        self.machines[node].desired = desired.clone();
        let input = Input::Agent(Event::Desired(desired));
        self.push(delay, node, Step::Input(input));
    }

    /// Tells the node's election something.
    pub(crate) fn tell(&mut self, node: usize, event: Event) {
        self.machines[node].leaving |= event == Event::Stop;
        self.push(Duration::ZERO, node, Step::Input(Input::Agent(event)));
    }
}
