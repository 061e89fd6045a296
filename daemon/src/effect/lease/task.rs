//! The election's thread.
//!
//! A thread of the operating system, not a task: what moves the kernel's deadline on must not wait behind
//! anything on the async threads. It reads `CLOCK_BOOTTIME`, makes the turns of the [`ElectionSide`] and carries
//! out its actions in order: writes go to the store, which never blocks; falling silent goes straight into the
//! kernel by [`DeadlineSink`].
//!
//! Channels: in, one bounded queue (`QUEUE`) of store events, planner's words and confirmations; out, a
//! `watch` of [`LeaseState`]. The announce effect makes its answer table equal to [`LeaseState::held`], then
//! confirms by [`LeaseHandle::released`] each VIP of [`LeaseState::releasing`], and by
//! [`LeaseHandle::silenced`] when [`LeaseState::silencing`] is set; until [`LeaseState::ready`] is set it
//! leaves a table found from an earlier process alone, unless told to silence.
//!
//! The thread ends after [`LeaseHandle::stop`] once everything is handed over, when a newer agent of this
//! node took over, or when every handle is gone; in the last case the kernel falls silent at its deadline.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use landfall_core::election::{
    Action, Cause, DesiredVips, Event, Identity, LeaseName, LeaseTable, Membership, Moment, Record,
    Settings,
};
use landfall_core::model::NodeName;
use landfall_core::node::{self, Answers, ElectionSide, Notice, Request, Rights};
use tokio::sync::{oneshot, watch};

use super::clock;
use super::memory::{Journal, LeaseMemory};
use super::store::{Closed, Input, LeaseStore, StoreEvent, StoreEvents};
use crate::effect::history::{Change, History};
use crate::telemetry::chain;

/// Room for a burst of observations; senders wait beyond that.
const QUEUE: usize = 4096;
/// Events decided on together.
const BATCH: usize = 1024;

/// How long the thread sleeps at most: what is to be looked at again has no timer of its own.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// How often all leases are remembered anew at most.
const COPY_EVERY: Duration = Duration::from_millis(500);

/// Where the deadline goes: the kernel program's map, or the socket responder. Called on the election's
/// thread; must not block.
pub trait DeadlineSink: Send {
    /// The kernel may answer until `until` (`CLOCK_BOOTTIME`).
    fn push(&mut self, until: Moment);
    /// The kernel may not answer from now on. In force when this returns.
    fn silence(&mut self);
}

/// What the announce effect and `landfall status` need to know. Its large parts are shared, so that it is cheap
/// to clone and to publish, however many VIPs there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaseState {
    /// The store's content has arrived.
    pub synced: bool,
    /// The store cannot be read yet, and what this node remembers of it stands in for its content.
    pub remembered: bool,
    /// The planner's word and the store's content have arrived, or what is remembered of it: `held` is the whole truth.
    pub ready: bool,
    /// The VIPs to answer for, and why they came here.
    pub held: Arc<BTreeMap<LeaseName, Cause>>,
    /// VIPs whose removal from the answer table has yet to be confirmed.
    pub releasing: Arc<BTreeSet<LeaseName>>,
    /// The answer table is to be emptied, and that confirmed.
    pub silencing: bool,
    /// Where the node stands with its own lease.
    pub membership: Membership,
    /// The holder of every lease that has one, whether that lives or not.
    pub holders: Arc<BTreeMap<LeaseName, NodeName>>,
    /// Nodes whose leases are good.
    pub live: Arc<BTreeSet<NodeName>>,
    /// What each node tells of itself in its lease, the last known where that lease is not there at present.
    pub payloads: Arc<BTreeMap<NodeName, Arc<str>>>,
    /// Why the store is of no use at present, if it is not.
    pub trouble: Option<String>,
    /// The thread has ended in order.
    pub stopped: bool,
}

/// Talks to the election's thread. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LeaseHandle {
    input: SyncSender<Input>,
    state: watch::Receiver<LeaseState>,
}

impl LeaseHandle {
    /// What is held, as it changes.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<LeaseState> {
        self.state.clone()
    }

    /// The planner's word on who may announce what.
    ///
    /// # Errors
    /// As all calls here: when the thread has ended.
    pub fn desire(&self, vips: DesiredVips) -> Result<(), Closed> {
        self.send(Event::Desired(vips))
    }

    /// What this node tells its peers in its lease.
    ///
    /// # Errors
    /// When the thread has ended.
    pub fn publish(&self, payload: &str) -> Result<(), Closed> {
        self.send(Event::Payload(payload.into()))
    }

    /// The kernel no longer answers for `vip`.
    ///
    /// # Errors
    /// When the thread has ended.
    pub fn released(&self, vip: LeaseName) -> Result<(), Closed> {
        self.send(Event::Released(vip))
    }

    /// The answer table is empty.
    ///
    /// # Errors
    /// When the thread has ended.
    pub fn silenced(&self) -> Result<(), Closed> {
        self.send(Event::Silenced)
    }

    /// Whether the node can prove that its answers work.
    ///
    /// # Errors
    /// When the thread has ended.
    pub fn fit(&self, fit: bool) -> Result<(), Closed> {
        self.send(Event::Fit(fit))
    }

    /// Hands over what others can announce, or takes part again.
    ///
    /// # Errors
    /// When the thread has ended.
    pub fn drain(&self, drain: bool) -> Result<(), Closed> {
        self.send(Event::Drain(drain))
    }

    /// Hands everything over and leaves; [`LeaseState::stopped`] tells when.
    ///
    /// # Errors
    /// When the thread has ended.
    pub fn stop(&self) -> Result<(), Closed> {
        self.send(Event::Stop)
    }

    /// Every lease as seen here, for `landfall lease list`.
    ///
    /// # Errors
    /// When the thread has ended.
    pub async fn leases(&self) -> Result<LeaseTable, Closed> {
        let (answer, table) = oneshot::channel();
        self.input.send(Input::List(answer)).map_err(|_| Closed)?;
        table.await.map_err(|_| Closed)
    }

    /// What the node's right rests on is there, or has changed.
    pub fn ground_changed(&self) {
        // An election that has ended needs no ground.
        let _ = self.send(Event::Ground);
    }

    /// What the quorum's thread wants of this one. Does not block; tells whether it was taken.
    pub fn notice(&self, notice: Notice) -> bool {
        self.input.try_send(Input::Quorum(notice)).is_ok()
    }

    fn send(&self, event: Event) -> Result<(), Closed> {
        self.input.send(Input::Election(event)).map_err(|_| Closed)
    }
}

/// The thread, to be joined after [`LeaseHandle::stop`].
#[derive(Debug)]
pub struct LeaseTask {
    thread: JoinHandle<()>,
}

impl LeaseTask {
    /// Starts the thread. `open` opens the store with the road its events go back on; until that has told of its content,
    /// `memory` stands in for it where that takes long.
    ///
    /// # Errors
    /// Whatever `open` says, or that the thread could not be started.
    pub fn start<S, E>(
        me: Identity,
        settings: Settings,
        rights: impl Rights<Ground: Send> + Send + 'static,
        history: History,
        memory: LeaseMemory,
        open: impl FnOnce(StoreEvents) -> Result<S, E>,
    ) -> Result<(Self, LeaseHandle), E>
    where
        S: LeaseStore + 'static,
        E: From<std::io::Error>,
    {
        let (input, inputs) = sync_channel(QUEUE);
        let remembered = memory.load();
        let events = StoreEvents(input.clone());
        let store = open(events.clone())?;
        let store = Journal::start(memory, store, events)?;
        let node = me.node.clone();
        let side = ElectionSide::new(me, settings, rights, remembered, clock::now());
        let (publish, state) = watch::channel(LeaseState::default());
        let work = move || {
            Work {
                node,
                side,
                history,
                store,
                refused: false,
                foreign: false,
                copied: Copied::default(),
                changed: false,
                payload_changes: 0,
                possession_changes: 0,
            }
            .run(&inputs, &publish)
        };
        let thread = Builder::new().name("lease-election".into()).spawn(work)?;
        Ok((Self { thread }, LeaseHandle { input, state }))
    }

    /// Waits for the thread to end. Blocks.
    ///
    /// # Errors
    /// What the thread panicked with.
    pub fn join(self) -> std::thread::Result<()> {
        self.thread.join()
    }
}

/// The leases as last remembered.
#[derive(Clone, Copy, Debug, Default)]
struct Copied {
    /// [`LeaseTable::changes`] at the time.
    changes: u64,
    at: Moment,
}

struct Work<S, R: Rights> {
    node: NodeName,
    side: ElectionSide<R>,
    history: History,
    store: Journal<S>,
    /// It has been told why this node may not run beside the others.
    refused: bool,
    /// It has been told that the store is not the one remembered.
    foreign: bool,
    copied: Copied,
    /// The state is not as it was published.
    changed: bool,
    /// The payloads published are those of this count.
    payload_changes: u64,
    /// The holders published are those of this count.
    possession_changes: u64,
}

impl<S: LeaseStore + 'static, R: Rights> Work<S, R> {
    fn run(mut self, inputs: &Receiver<Input>, publish: &watch::Sender<LeaseState>) {
        let mut state = publish.borrow().clone();
        while !state.stopped {
            let wait = self.side.poll_deadline().map(|at| at.since(clock::now()));
            // Nothing due: look again after a while, as a suspended machine's timers stand still.
            let wait = wait.unwrap_or(LOOK_AGAIN).min(LOOK_AGAIN);
            let first = match inputs.recv_timeout(wait) {
                Ok(input) => Some(input),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let now = clock::now();
            for input in first.into_iter().chain(inputs.try_iter().take(BATCH)) {
                self.take_in(input, &mut state);
            }
            let unix = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_secs());
            self.side.set_wall_clock(unix);
            for action in self.side.decide(now) {
                self.act(action);
            }
            self.side.follow(now);
            self.judge_store(&mut state);
            self.copy_leases(now);
            self.read_side(now, &mut state);
            if std::mem::take(&mut self.changed) {
                publish.send_replace(state.clone());
            }
        }
    }

    /// Tells of a store that is not the one remembered.
    fn judge_store(&mut self, state: &mut LeaseState) {
        let foreign = self.side.is_foreign();
        if std::mem::replace(&mut self.foreign, foreign) == foreign {
            return;
        }
        let problem = "the lease store has no node's lease, and this node remembers some; mount it, or where it was emptied on purpose remove leases.json from state.dir and restart";
        if foreign {
            tracing::error!("{problem}");
        }
        state.trouble = foreign.then(|| problem.to_owned());
        self.changed = true;
    }

    /// Remembers the leases where they have changed.
    fn copy_leases(&mut self, now: Moment) {
        let table = self.side.election().table();
        let due = self.copied.changes != table.changes() && now >= self.copied.at + COPY_EVERY;
        if due && self.side.is_synced() && self.store.remember(table.copied().collect()) {
            self.copied = Copied {
                changes: table.changes(),
                at: now,
            };
        }
    }

    fn take_in(&mut self, input: Input, state: &mut LeaseState) {
        let input = match input {
            Input::Store(StoreEvent::Election(event)) => node::Input::Store(event),
            Input::Store(StoreEvent::Trouble(error)) => {
                let text = chain(&error);
                if state.trouble.as_ref() != Some(&text) {
                    tracing::warn!(error = %text, "lease store in trouble");
                }
                state.trouble = Some(text);
                self.changed = true;
                self.side.troubled(clock::now());
                return;
            }
            Input::Store(StoreEvent::Recovered) => {
                tracing::info!("lease store works again");
                state.trouble = None;
                self.changed = true;
                return;
            }
            Input::Quorum(notice) => node::Input::Quorum(notice),
            Input::Election(event) => node::Input::Agent(event),
            // Whoever asked may have gone.
            Input::List(answer) => {
                let _ = answer.send(self.side.election().table().clone());
                return;
            }
        };
        match self.side.take_in(input, clock::now()) {
            Some(Request::Submit(write)) => self.store.store().submit(write),
            Some(Request::Look) => self.store.store().look(),
            None => {}
        }
    }

    /// Takes over what the turn has come to.
    fn read_side(&mut self, now: Moment, state: &mut LeaseState) {
        let (side, election) = (&self.side, self.side.election());
        let (synced, remembered) = (side.is_synced(), side.is_dark());
        if remembered && !state.remembered {
            tracing::warn!(
                "the lease store cannot be read; going by what this node remembers, and changing nothing until it can"
            );
        }
        let flags = (synced, remembered, side.is_ready(), election.membership());
        let before = (
            state.synced,
            state.remembered,
            state.ready,
            state.membership,
        );
        if before != flags {
            (state.synced, state.remembered) = (synced, remembered);
            (state.ready, state.membership) = (flags.2, flags.3);
            self.changed = true;
        }
        let Answers {
            held,
            releasing,
            silencing,
        } = side.answers();
        if !Arc::ptr_eq(&state.held, held)
            || !Arc::ptr_eq(&state.releasing, releasing)
            || state.silencing != *silencing
        {
            (state.held, state.releasing) = (Arc::clone(held), Arc::clone(releasing));
            state.silencing = *silencing;
            self.changed = true;
        }
        if !Arc::ptr_eq(&state.live, election.live()) {
            state.live = Arc::clone(election.live());
            self.changed = true;
        }
        let table = election.table();
        if self.payload_changes != table.payload_changes() {
            self.payload_changes = table.payload_changes();
            let leases = table.nodes().filter_map(|(_, seen)| seen.record.as_ref());
            let payloads = leases.map(|lease| (lease.node.clone(), Arc::clone(&lease.payload)));
            state.payloads = Arc::new(payloads.collect());
            self.changed = true;
        }
        if self.possession_changes != table.possession_changes() {
            self.possession_changes = table.possession_changes();
            let held = table.possessions().filter_map(|(name, found)| {
                let holder = found.holder.as_ref()?;
                Some((name.clone(), holder.node.clone()))
            });
            state.holders = Arc::new(held.collect());
            self.changed = true;
        }
        if let (Some(reason), false) = (side.refusal(), self.refused) {
            tracing::error!(reason, "this node announces nothing any more");
            self.refused = true;
            state.trouble = Some(reason.to_owned());
            self.changed = true;
        }
        if side.is_over(now) {
            state.stopped = true;
            self.changed = true;
        }
    }

    /// Notes that a VIP came to this node. Gives how long nobody may have answered for it: after a takeover, the time since
    /// the node that had it was last heard.
    fn remember(&self, vip: &LeaseName, cause: Cause) -> Option<Duration> {
        let (election, now) = (self.side.election(), clock::now());
        let found = election.table().possession(vip);
        let from = found.and_then(|found| found.previous.clone());
        let heard = from
            .as_ref()
            .filter(|_| cause == Cause::Takeover)
            .and_then(|from| self.side.last_heard(from));
        let silence = heard.map(|heard| now.since(heard));
        if vip.carries_addresses() {
            self.history.add(Change {
                at: SystemTime::now(),
                lease: vip.clone(),
                from,
                to: Some(self.node.clone()),
                cause,
                silence,
            });
        }
        silence
    }

    fn act(&mut self, action: Action) {
        self.side.carry_out(&action);
        match action {
            Action::Cas(write) => {
                if let Some(Record::Node(lease)) = &write.record
                    && let Some(fence) = &lease.fenced_by
                    && fence.node != lease.node
                {
                    let bequests = lease.bequests.len();
                    tracing::warn!(node = %lease.node, bequests, "fencing a node whose right to answer has lapsed");
                }
                let table = self.side.election().table();
                self.store.submit(write, || table.copied().collect());
            }
            Action::Hold { vip, cause } => {
                let silence = self.remember(&vip, cause);
                tracing::info!(%vip, %cause, ?silence, "announcing");
            }
            Action::Release { vip } => tracing::info!(%vip, "no longer announcing"),
            Action::Superseded => {
                tracing::error!("a newer agent of this node has taken over its lease");
            }
            Action::SetDeadline(_) | Action::Silence | Action::Stopped => {}
        }
    }
}

#[cfg(test)]
mod tests;
