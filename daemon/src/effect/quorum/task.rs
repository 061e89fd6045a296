//! The quorum's thread: feeds the machine and carries out what it says.
//!
//! A thread of the operating system, real-time where that is permitted, with nothing on it but heartbeats: the election's
//! passes over thousands of VIPs, the disk and the store are other threads' work. In: datagrams; one bounded queue
//! ([`QuorumHandle`]) with a wake-up by eventfd; interfaces of this node and of its peers by `watch`. Out: datagrams; the
//! kernel's deadline through the [`Gate`]; the latest [`View`] for the election's thread; writes of the members' record and
//! the rest as [`Notice`]s, by a callback that must not
//! block, and tells whether the notice was taken.
//!
//! Ends when cancelled; the kernel falls silent at its deadline. An orderly stop asks to leave first
//! ([`QuorumHandle::tell`] with [`Event::Leave`]).

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use landfall_core::model::{Link, NodeName};
use landfall_core::node::Notice;
use landfall_core::quorum::{Action, Event, Quorum, View};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::disk::Disk;
use super::gate::Gate;
use super::key::Key;
use super::socket::{Road, Sockets, roads};
use super::wire::{self, WireError};
use crate::effect::lease::clock;
use crate::effect::membership::Peers;

/// Events that wait; whoever tells more waits. The election tells a few a second.
const QUEUE: usize = 1024;
/// Datagrams taken before the machine's own clock is looked at again.
const AT_ONCE: usize = 256;
/// How often a foreign or forged datagram is told of at most.
const COMPLAIN: Duration = Duration::from_secs(30);

/// Counts of what came in and went out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Datagrams sent, one for each road.
    pub sent: u64,
    /// Datagrams that could not be sent.
    pub unsent: u64,
    /// Authentic messages received.
    pub received: u64,
    /// Datagrams with a wrong tag, or of another form.
    pub refused: u64,
}

/// Talks to the thread. Cheap to clone.
#[derive(Clone, Debug)]
pub struct QuorumHandle {
    events: SyncSender<Event>,
    wake: Arc<OwnedFd>,
    shared: Arc<Mutex<Shared>>,
    gate: Arc<Gate>,
}

#[derive(Debug)]
struct Shared {
    view: View,
    traffic: Traffic,
}

impl QuorumHandle {
    /// Tells the machine. Nothing is told to a thread that has ended.
    pub fn tell(&self, event: Event) {
        if self.events.send(event).is_ok() {
            self.nudge();
        }
    }

    /// What the machine says at present.
    #[must_use]
    pub fn view(&self) -> View {
        lock(&self.shared).view.clone()
    }

    /// What came in and went out.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        lock(&self.shared).traffic
    }

    /// The door to the kernel's deadline.
    #[must_use]
    pub fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    fn nudge(&self) {
        // A counter that is full wakes as well.
        let _ = rustix::io::write(self.wake.as_fd(), &1_u64.to_ne_bytes());
    }
}

fn lock(shared: &Mutex<Shared>) -> std::sync::MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the thread is given.
pub struct Inputs {
    /// The machine, with what it had on disk.
    pub machine: Quorum,
    /// Where it stores what it must not forget.
    pub disk: Disk,
    /// The key of heartbeats; nothing where this node is to be alone.
    pub key: Option<Key>,
    /// The UDP port.
    pub port: u16,
    /// The door to the kernel.
    pub gate: Arc<Gate>,
    /// This node's interfaces.
    pub links: watch::Receiver<Arc<Vec<Link>>>,
    /// The peers' interfaces.
    pub peers: watch::Receiver<Peers>,
}

/// Why the thread cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The heartbeats' port.
    #[error(
        "UDP port {port} for heartbeats cannot be had; set l2.heartbeat_port, the same on all nodes"
    )]
    Port {
        /// The port.
        port: u16,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A thread or its wake-up.
    #[error("a thread for heartbeats cannot be started")]
    Thread(#[source] io::Error),
}

/// Starts the thread.
///
/// # Errors
/// The port is taken, or a thread cannot be had.
pub fn spawn(
    inputs: Inputs,
    notify: impl FnMut(Notice) -> bool + Send + 'static,
    cancel: CancellationToken,
) -> Result<(JoinHandle<()>, QuorumHandle), StartError> {
    let sockets = match &inputs.key {
        None => None,
        Some(_) => Some(Sockets::open(inputs.port).map_err(|source| {
            let port = inputs.port;
            StartError::Port { port, source }
        })?),
    };
    let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
        .map_err(|error| StartError::Thread(error.into()))?;
    let (events, waiting) = sync_channel(QUEUE);
    let handle = QuorumHandle {
        events,
        wake: Arc::new(wake),
        shared: Arc::new(Mutex::new(Shared {
            view: inputs.machine.view(clock::now()),
            traffic: Traffic::default(),
        })),
        gate: inputs.gate.clone(),
    };
    let stored = handle.clone();
    let (store, _) = inputs
        .disk
        .writer(move |version| stored.tell(Event::Stored { version }))
        .map_err(StartError::Thread)?;
    let work = Work {
        machine: inputs.machine,
        key: inputs.key,
        sockets,
        links: inputs.links,
        peers: inputs.peers,
        roads: BTreeMap::new(),
        store,
        handle: handle.clone(),
        traffic: Traffic::default(),
        complained: None,
        notify,
    };
    let thread = Builder::new()
        .name("landfall-quorum".into())
        .spawn(move || {
            go_real_time();
            work.run(&waiting, &cancel);
        })
        .map_err(StartError::Thread)?;
    Ok((thread, handle))
}

/// Asks for the lowest real-time priority (sched(7)): above every ordinary task, below the kernel's own. Without
/// CAP_SYS_NICE the thread stays an ordinary one.
fn go_real_time() {
    let lowest = libc::sched_param { sched_priority: 1 };
    // SAFETY: plain system call on the calling thread; the parameter outlives it.
    let refused = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const lowest) } != 0;
    if refused {
        let error = io::Error::last_os_error();
        tracing::info!(%error, "heartbeats run without real-time priority");
    }
}

struct Work<N> {
    machine: Quorum,
    key: Option<Key>,
    sockets: Option<Sockets>,
    links: watch::Receiver<Arc<Vec<Link>>>,
    peers: watch::Receiver<Peers>,
    roads: BTreeMap<NodeName, Vec<Road>>,
    store: SyncSender<(u64, landfall_core::quorum::Durable)>,
    handle: QuorumHandle,
    traffic: Traffic,
    complained: Option<Instant>,
    notify: N,
}

impl<N: FnMut(Notice) -> bool> Work<N> {
    fn run(mut self, waiting: &Receiver<Event>, cancel: &CancellationToken) {
        self.handle(Event::Tick);
        while !cancel.is_cancelled() {
            let readable = self.wait();
            if self.links.has_changed().unwrap_or(false)
                || self.peers.has_changed().unwrap_or(false)
            {
                self.find_roads();
            }
            let mut events: Vec<Event> = waiting.try_iter().collect();
            if readable.contains(&true) {
                events.extend(self.receive(&readable));
            }
            // Any event does what a tick does.
            if events.is_empty() {
                events.push(Event::Tick);
            }
            for event in events {
                self.handle(event);
            }
            self.publish();
        }
    }

    /// Waits for a datagram, a nudge, or the machine's time. Tells of each socket whether there are datagrams.
    fn wait(&self) -> Vec<bool> {
        let longest = Duration::from_millis(100);
        let until = self.machine.poll_deadline();
        let wait = until.map_or(longest, |at| at.since(clock::now()).min(longest));
        let timeout = Timespec {
            tv_sec: 0,
            tv_nsec: i64::from(wait.subsec_nanos()),
        };
        let mut polled: Vec<PollFd<'_>> = vec![PollFd::new(&*self.handle.wake, PollFlags::IN)];
        for socket in self.sockets.iter().flat_map(Sockets::descriptors) {
            polled.push(PollFd::from_borrowed_fd(socket, PollFlags::IN));
        }
        // An interrupted wait is as good as one that is over.
        let _ = poll(&mut polled, Some(&timeout));
        if !polled[0].revents().is_empty() {
            let _ = rustix::io::read(self.handle.wake.as_fd(), &mut [0; 8]);
        }
        polled[1..]
            .iter()
            .map(|socket| !socket.revents().is_empty())
            .collect()
    }

    fn find_roads(&mut self) {
        let own = self.links.borrow_and_update().clone();
        let peers = self.peers.borrow_and_update().clone();
        self.roads = peers
            .iter()
            .flat_map(|peers| peers.iter())
            .map(|(node, theirs)| (node.clone(), roads(&own, theirs)))
            .collect();
    }

    fn receive(&mut self, readable: &[bool]) -> Vec<Event> {
        let (Some(sockets), Some(key)) = (&mut self.sockets, &self.key) else {
            return Vec::new();
        };
        let (mut events, mut refusal) = (Vec::new(), None);
        let traffic = &mut self.traffic;
        sockets.receive(readable, AT_ONCE, |datagram| {
            match wire::decode(datagram, key) {
                Ok(message) => {
                    traffic.received += 1;
                    events.push(Event::Received(message));
                }
                Err(error) => {
                    traffic.refused += 1;
                    refusal = Some(error);
                }
            }
        });
        if let Some(error) = refusal {
            self.complain(error);
        }
        events
    }

    fn complain(&mut self, error: WireError) {
        if self.complained.is_none_or(|at| at.elapsed() > COMPLAIN) {
            self.complained = Some(Instant::now());
            tracing::warn!(%error, refused = self.traffic.refused, "a heartbeat was refused; is l2.key_file the same on all nodes?");
        }
    }

    fn handle(&mut self, event: Event) {
        let actions = self.machine.handle(event, clock::now());
        // The view before the notice of it.
        if actions.contains(&Action::ViewChanged) {
            self.publish();
        }
        for action in actions {
            self.act(action);
        }
    }

    /// Lets the others see what the machine says now. Once a turn is often enough, where nothing in it is news.
    fn publish(&self) {
        let mut shared = lock(&self.handle.shared);
        shared.view = self.machine.view(clock::now());
        shared.traffic = self.traffic;
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Send { to, message } => {
                let (Some(sockets), Some(key)) = (&self.sockets, &self.key) else {
                    return;
                };
                let datagram = wire::encode(&message, key);
                for road in self.roads.get(&to).into_iter().flatten() {
                    match sockets.send(*road, &datagram) {
                        Ok(()) => self.traffic.sent += 1,
                        Err(_) => self.traffic.unsent += 1,
                    }
                }
            }
            Action::SetDeadline { term, until } => self.handle.gate.push(term, until),
            Action::WriteRecord { expected, record } => {
                if !(self.notify)(Notice::WriteRecord { expected, record }) {
                    // Nobody takes it: as good as failed. A full queue of our own is emptied in this very turn.
                    let _ = self.handle.events.try_send(Event::WriteFailed);
                }
            }
            // Asked for again where it is not taken.
            Action::Survey { number } => _ = (self.notify)(Notice::Survey(number)),
            // The queue is longer than what the machine stores before it is told that the first is on disk; should the
            // disk hang that long, the machine stays at what is stored.
            Action::Store { version, durable } => _ = self.store.try_send((version, durable)),
            // Whoever is too busy to take these looks at the view before it next decides anything.
            Action::Left => _ = (self.notify)(Notice::Left),
            Action::ViewChanged => _ = (self.notify)(Notice::ViewChanged),
        }
    }
}
