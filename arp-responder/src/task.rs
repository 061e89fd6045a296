//! The task that owns the packet sockets: a thread of its own, so that a flood of ARP cannot hold up the threads that
//! renew leases.
//!
//! Channels:
//! - in: `watch::Receiver<Desired>`, the latest of what to announce; the task ends when its sender is gone;
//! - in: [`Deadline`], read before every frame that claims a VIP;
//! - out: `mpsc::Sender<Event>`, of the depth its owner gave it. When it is full, events wait in the task in their order
//!   while answering goes on; when its receiver is gone, they are dropped;
//! - out: `watch::Receiver<AnswerCounts>`, renewed at most twice a second.
//!
//! When cancelled it answers nothing more, leaves the groups, closes the sockets and ends. It sends no farewell: whoever
//! takes over announces itself.
//!
//! The thread works in the network namespace of the thread that spawned it.

mod filter;
mod groups;
mod link;
mod packet_socket;
mod port;

use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::address::InterfaceIndex;
use crate::clock::{BootInstant, Deadline};
use crate::codec::Frame;
use crate::conflict::ProbeTiming;
use crate::desired::{Desired, Event};
use crate::engine::{Action, Engine};
use crate::responder::AnswerCounts;
use crate::takeover::AnnounceTiming;
use link::LinkWatch;
use port::{Port, Received};

/// How often the counts are published while they change.
const PUBLISH_COUNTS: Duration = Duration::from_millis(500);
/// How often an interface that refuses a socket is tried again, besides after each change of a link.
const RETRY: Duration = Duration::from_secs(1);
/// Late conflicts are told while no more events than this wait for room in the channel.
const MOST_PENDING: usize = 4_096;
/// Timers are late by no more than this when frames come in faster than they are read.
const MOST_LATE: Duration = Duration::from_millis(50);

/// When probes and announcements are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// Of announcements.
    pub announce: AnnounceTiming,
    /// Of probes.
    pub probe: ProbeTiming,
}

/// Why the task could not be started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// No thread, or no event loop for it.
    #[error("cannot start the thread of the ARP responder")]
    Thread(#[source] io::Error),
    /// No netlink socket to hear of changed links.
    #[error("cannot watch the links of the ARP responder")]
    LinkWatch(#[source] io::Error),
}

/// The running task.
#[derive(Debug)]
pub struct ResponderTask {
    thread: thread::JoinHandle<()>,
    ended: oneshot::Receiver<()>,
    answers: watch::Receiver<AnswerCounts>,
}

impl ResponderTask {
    /// Starts the thread. Needs `CAP_NET_RAW` for anything to be announced: without it every interface is reported down.
    pub fn spawn(
        timing: Timing,
        desired: watch::Receiver<Desired>,
        deadline: Deadline,
        events: mpsc::Sender<Event>,
        cancel: CancellationToken,
    ) -> Result<Self, SpawnError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(SpawnError::Thread)?;
        let links = {
            let _entered = runtime.enter();
            LinkWatch::open().map_err(SpawnError::LinkWatch)?
        };
        let (counts, answers) = watch::channel(AnswerCounts::new());
        let (end, ended) = oneshot::channel();
        let body = move || {
            let engine = Engine::new(timing.announce, timing.probe);
            let loops = EventLoop {
                engine,
                links,
                deadline,
                counts,
                ports: BTreeMap::new(),
                pending: VecDeque::new(),
                retry_at: None,
                publish_at: None,
            };
            runtime.block_on(loops.run(desired, events, cancel));
            // Whoever waited may have gone.
            let _ = end.send(());
        };
        let thread = thread::Builder::new()
            .name("landfall-arp".into())
            .spawn(body)
            .map_err(SpawnError::Thread)?;
        Ok(Self {
            thread,
            ended,
            answers,
        })
    }

    /// The answers given by socket so far, per interface and VIP.
    pub fn answers(&self) -> watch::Receiver<AnswerCounts> {
        self.answers.clone()
    }

    /// Waits until the task has ended and all its sockets are closed. Panics when the task did.
    pub async fn ended(self) {
        // An error means that the thread panicked, which joining passes on.
        let _ = self.ended.await;
        if let Err(panic) = self.thread.join() {
            std::panic::resume_unwind(panic);
        }
    }
}

struct EventLoop {
    engine: Engine,
    links: LinkWatch,
    deadline: Deadline,
    counts: watch::Sender<AnswerCounts>,
    ports: BTreeMap<InterfaceIndex, Port>,
    /// Events that the channel had no room for yet.
    pending: VecDeque<Event>,
    retry_at: Option<BootInstant>,
    publish_at: Option<BootInstant>,
}

impl EventLoop {
    async fn run(
        mut self,
        mut desired: watch::Receiver<Desired>,
        events: mpsc::Sender<Event>,
        cancel: CancellationToken,
    ) {
        desired.mark_changed();
        let mut timers_at = BootInstant::now();
        loop {
            // Read the clock first: an answer that came before a probe's time was up is heard before it is judged.
            let now = BootInstant::now();
            let drained = self.receive(now);
            if drained || now.saturating_duration_since(timers_at) > MOST_LATE {
                timers_at = now;
                self.run_timers(now);
            }
            self.send_queued();
            let wake = self.next_wake();
            tokio::select! {
                biased;
                () = cancel.cancelled() => break,
                changed = desired.changed() => match changed {
                    Ok(()) => {
                        let latest = desired.borrow_and_update().clone();
                        self.apply(latest);
                    }
                    Err(_) => break,
                },
                permit = events.reserve(), if !self.pending.is_empty() => {
                    match (permit, self.pending.pop_front()) {
                        (Ok(permit), Some(event)) => permit.send(event),
                        _ => self.pending.clear(),
                    }
                }
                ready = poll_fn(|cx| poll_ready(&self.links, &self.ports, cx)) => {
                    if let Ready::Links = ready {
                        self.links.drain();
                        self.look_at_links();
                    }
                }
                () = sleep_until(wake) => {}
            }
        }
    }

    /// Brings sockets and groups in line before the machines start to use them.
    fn apply(&mut self, desired: Desired) {
        let now = BootInstant::now();
        self.ports
            .retain(|interface, _| desired.interfaces.contains_key(interface));
        for (&interface, wanted) in &desired.interfaces {
            self.ports
                .entry(interface)
                .or_insert_with(|| Port::new(interface))
                .want(wanted);
        }
        self.engine.apply(desired, now);
        self.look_at_links();
        self.publish_at.get_or_insert(now);
    }

    /// Opens what can be opened and closes what cannot be used any more.
    fn look_at_links(&mut self) {
        let now = BootInstant::now();
        let mut failed = false;
        for (&interface, port) in &mut self.ports {
            match port.adjust() {
                Ok(adjusted) => {
                    self.pending
                        .extend(adjusted.unreported.into_iter().map(|(group, error)| {
                            Event::GroupUnreported {
                                interface,
                                group,
                                error,
                            }
                        }));
                    if adjusted.came_up {
                        tracing::info!(%interface, name = port.name(), "interface up");
                        self.pending.push_back(Event::InterfaceUp { interface });
                        self.engine.interface_up(interface, now);
                    }
                }
                Err(error) => {
                    failed = true;
                    close(&mut self.engine, &mut self.pending, port, error);
                }
            }
        }
        self.retry_at = failed.then(|| now + RETRY);
    }

    /// Hears what has come in; false when there is more.
    fn receive(&mut self, now: BootInstant) -> bool {
        let mut drained = true;
        let mut actions = Vec::new();
        for (&interface, port) in &mut self.ports {
            let deadline = self.deadline.get();
            let received = port.receive(|bytes| match Frame::decode(bytes) {
                Ok(frame) => actions.extend(self.engine.heard(interface, &frame, now, deadline)),
                Err(error) => tracing::trace!(%interface, %error, "frame ignored"),
            });
            match received {
                Ok(Received::Everything) => {}
                Ok(Received::ThereIsMore) => drained = false,
                Err(error) => close(&mut self.engine, &mut self.pending, port, error),
            }
        }
        if actions
            .iter()
            .any(|action| matches!(action, Action::Send { .. }))
        {
            self.publish_at.get_or_insert(now + PUBLISH_COUNTS);
        }
        self.perform(actions);
        drained
    }

    fn run_timers(&mut self, now: BootInstant) {
        let actions = self.engine.poll(now, self.deadline.get());
        self.perform(actions);
        if self.retry_at.is_some_and(|at| at <= now) {
            self.look_at_links();
        }
        if self.publish_at.is_some_and(|at| at <= now) {
            self.publish_at = None;
            self.counts.send_replace(self.engine.answers().clone());
        }
    }

    fn perform(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Send {
                    interface,
                    frame,
                    claims,
                } => {
                    if let Some(port) = self.ports.get_mut(&interface) {
                        port.queue(&frame, claims);
                    }
                }
                // It is told again while it lasts; the others are told once and have to be kept.
                Action::Report(Event::LateConflict { interface, ip, mac })
                    if self.pending.len() >= MOST_PENDING =>
                {
                    tracing::debug!(%interface, %ip, %mac, "late conflict not told, too many wait");
                }
                Action::Report(event) => self.pending.push_back(event),
            }
        }
    }

    fn send_queued(&mut self) {
        for port in self.ports.values_mut() {
            if let Err(error) = port.send_queued(&self.deadline) {
                close(&mut self.engine, &mut self.pending, port, error);
            }
        }
    }

    fn next_wake(&self) -> Option<BootInstant> {
        let timers = [self.engine.poll_deadline(), self.retry_at, self.publish_at];
        let ports = self.ports.values().map(Port::send_again_at);
        timers.into_iter().chain(ports).flatten().min()
    }
}

/// Takes a port out of use until [`EventLoop::look_at_links`] finds it usable; told once.
fn close(engine: &mut Engine, pending: &mut VecDeque<Event>, port: &mut Port, error: io::Error) {
    let interface = port.interface();
    engine.interface_down(interface);
    if port.close() {
        tracing::warn!(%interface, name = port.name(), %error, "interface down");
        pending.push_back(Event::InterfaceDown { interface, error });
    }
}

enum Ready {
    Links,
    Ports,
}

fn poll_ready(
    links: &LinkWatch,
    ports: &BTreeMap<InterfaceIndex, Port>,
    cx: &mut Context<'_>,
) -> Poll<Ready> {
    if links.poll_changed(cx).is_ready() {
        return Poll::Ready(Ready::Links);
    }
    // Every port is asked, so that each has registered the waker.
    let ready = ports
        .values()
        .filter(|port| port.poll_ready(cx).is_ready())
        .count();
    if ready > 0 {
        Poll::Ready(Ready::Ports)
    } else {
        Poll::Pending
    }
}

async fn sleep_until(instant: Option<BootInstant>) {
    match instant {
        Some(at) => tokio::time::sleep(at.saturating_duration_since(BootInstant::now())).await,
        None => std::future::pending().await,
    }
}
