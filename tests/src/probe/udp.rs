//! Asks a UDP echo all the time, and keeps when each request went out and its answer came.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::gap::{self, Gap, Window};
use super::task::{StopFlag, Task, readable};
use crate::lab::host::Host;

/// How long answers are waited for after the last request.
const DRAIN: Duration = Duration::from_millis(200);

/// How many sockets are listened to when each request has its own: answers that come later than
/// this many requests count as lost.
const OPEN_SOCKETS: usize = 400;

/// Which source port requests come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourcePort {
    /// The same for all: one flow.
    One,
    /// Another for each request: a new flow each. Ports are given out in turn, so that none is
    /// used again before the data path may have forgotten its flow.
    Fresh,
}

/// A request and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// When it was sent, or would have been had the host not refused to.
    pub sent: Instant,
    /// The first answer.
    pub answer: Option<Answer>,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// When it came.
    pub at: Instant,
    /// The pod that gave it.
    pub pod: String,
    /// The client's address and port as the pod saw them.
    pub client: SocketAddr,
}

/// A running prober.
#[derive(Debug)]
pub struct UdpProber {
    task: Task<UdpRecord>,
    last_pod: Arc<Mutex<Option<String>>>,
}

/// What a prober saw.
#[derive(Debug, Clone)]
pub struct UdpRecord {
    /// From the first request to the call to stop.
    pub window: Window,
    /// All requests in the order in which they went out.
    pub requests: Vec<Request>,
    /// The most by which a request went out later than planned: the instrument's own error.
    pub worst_delay: Duration,
}

/// Requests after an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Since {
    /// How many there were.
    pub requests: usize,
    /// How many of them have no answer.
    pub lost: usize,
}

impl UdpProber {
    /// Starts asking `target` every `interval`.
    ///
    /// # Errors
    /// When no socket can be made.
    pub fn start(
        host: &Host,
        target: SocketAddr,
        interval: Duration,
        port: SourcePort,
    ) -> Result<Self> {
        let first = host
            .run(|| open(target, port))
            .context("the prober's socket")?;
        let last_pod = Arc::default();
        let probing = Probing::new(target, port, first, Arc::clone(&last_pod));
        let task = Task::start(host, "udp", move |stop| probing.run(interval, &stop));
        Ok(Self { task, last_pod })
    }

    /// The pod that answered last, if any has.
    #[must_use]
    pub fn last_pod(&self) -> Option<String> {
        self.last_pod
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Stops asking, waits a moment for the last answers, and gives the record.
    #[must_use]
    pub fn stop(self) -> UdpRecord {
        self.task.stop()
    }
}

impl UdpRecord {
    /// The longest time without an answer, the time after the last one included.
    #[must_use]
    pub fn longest_gap(&self) -> Gap {
        self.longest_gap_in(self.window)
    }

    /// The longest time without an answer within a part of the window.
    #[must_use]
    pub fn longest_gap_in(&self, window: Window) -> Gap {
        let mut times: Vec<Instant> = self.answers().map(|answer| answer.at).collect();
        times.sort();
        gap::longest(times, window)
    }

    /// The longest time between two requests within a part of the window: how long the instrument itself may have been
    /// still.
    #[must_use]
    pub fn longest_rest_in(&self, window: Window) -> Gap {
        gap::longest(self.requests.iter().map(|request| request.sent), window)
    }

    /// The number of requests without an answer.
    #[must_use]
    pub fn lost(&self) -> usize {
        self.requests
            .iter()
            .filter(|request| request.answer.is_none())
            .count()
    }

    /// The requests that went out after `since`, and how many of them have no answer.
    #[must_use]
    pub fn since(&self, since: Instant) -> Since {
        let after = self.requests.iter().filter(|request| request.sent > since);
        let (mut requests, mut lost) = (0, 0);
        for request in after {
            requests += 1;
            lost += usize::from(request.answer.is_none());
        }
        Since { requests, lost }
    }

    /// All answers, in the order of their requests.
    pub fn answers(&self) -> impl Iterator<Item = &Answer> {
        self.requests
            .iter()
            .filter_map(|request| request.answer.as_ref())
    }
}

struct Probing {
    target: SocketAddr,
    port: SourcePort,
    sockets: VecDeque<UdpSocket>,
    requests: Vec<Request>,
    last_pod: Arc<Mutex<Option<String>>>,
}

impl Probing {
    fn new(
        target: SocketAddr,
        port: SourcePort,
        first: UdpSocket,
        last_pod: Arc<Mutex<Option<String>>>,
    ) -> Self {
        Self {
            target,
            port,
            sockets: VecDeque::from([first]),
            requests: Vec::new(),
            last_pod,
        }
    }

    fn run(mut self, interval: Duration, stop: &StopFlag) -> UdpRecord {
        let from = Instant::now();
        let mut worst_delay = Duration::ZERO;
        let mut next = from;
        while !stop.is_raised() {
            let now = Instant::now();
            worst_delay = worst_delay.max(now - next);
            self.ask(now);
            // Late requests are not made up for: a burst would hide a gap.
            next = (next + interval).max(now);
            self.listen(next);
        }
        let to = Instant::now();
        self.listen(to + DRAIN);
        UdpRecord {
            window: Window { from, to },
            requests: self.requests,
            worst_delay,
        }
    }

    fn ask(&mut self, now: Instant) {
        if self.port == SourcePort::Fresh
            && !self.requests.is_empty()
            && let Ok(socket) = open(self.target, self.port)
        {
            self.sockets.push_back(socket);
            if self.sockets.len() > OPEN_SOCKETS {
                self.sockets.pop_front();
            }
        }
        let number = self.requests.len() as u64;
        self.requests.push(Request {
            sent: now,
            answer: None,
        });
        if let Some(socket) = self.sockets.back() {
            // A refusal (an ICMP error about an earlier request, a full queue) is a lost request.
            let _ = socket.send(&number.to_be_bytes());
        }
    }

    fn listen(&mut self, until: Instant) {
        loop {
            let sockets: Vec<&UdpSocket> = self.sockets.iter().collect();
            for index in readable(&sockets, until) {
                if let Some(pod) = receive(&self.sockets[index], &mut self.requests) {
                    let mut last = self.last_pod.lock().unwrap_or_else(PoisonError::into_inner);
                    *last = Some(pod);
                }
            }
            if Instant::now() >= until {
                return;
            }
        }
    }
}

/// Takes everything that has arrived on a socket, and tells who answered last.
fn receive(socket: &UdpSocket, requests: &mut [Request]) -> Option<String> {
    let mut buffer = [0; 512];
    let mut last = None;
    loop {
        let n = match socket.recv(&mut buffer) {
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return last,
            // An ICMP error about an earlier request; it is told once and then forgotten.
            Err(_) => continue,
        };
        let at = Instant::now();
        if let Some((number, pod, client)) = parse(&buffer[..n])
            && let Some(request) = requests.get_mut(number)
        {
            last = Some(pod.clone());
            request.answer.get_or_insert(Answer { at, pod, client });
        }
    }
}

/// Parses `NAME CLIENT\n` and the request's number.
fn parse(bytes: &[u8]) -> Option<(usize, String, SocketAddr)> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let (pod, client) = std::str::from_utf8(&bytes[..end]).ok()?.split_once(' ')?;
    let number = u64::from_be_bytes(bytes[end + 1..].try_into().ok()?);
    Some((
        number.try_into().ok()?,
        pod.to_owned(),
        client.parse().ok()?,
    ))
}

fn open(target: SocketAddr, port: SourcePort) -> io::Result<UdpSocket> {
    let any: IpAddr = match target {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = match port {
        SourcePort::One => UdpSocket::bind((any, 0))?,
        SourcePort::Fresh => UdpSocket::bind((any, next_port()))?,
    };
    socket.set_nonblocking(true)?;
    socket.connect(target)?;
    Ok(socket)
}

/// The next of the ports 10000 to 59999.
fn next_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed) % 50_000;
    u16::try_from(10_000 + number).expect("10000 to 59999 are ports")
}
