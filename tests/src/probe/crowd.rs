//! Asks many UDP echoes in turn, at a bounded rate, and keeps when each answered: the failover of
//! hundreds of addresses seen at once.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::gap::{self, Gap, Window};
use super::task::{StopFlag, Task, readable};
use crate::lab::host::Host;

/// How long the prober listens before it looks for what to send next: requests go out in bunches of
/// as many as fall due in this time.
const TICK: Duration = Duration::from_millis(1);

/// How long answers are waited for after the last request.
const DRAIN: Duration = Duration::from_millis(200);

/// How many source ports the targets share. One client that asks hundreds of services at the same endpoints from one port
/// would ask for what no other client does: the data path has 4,536 ports to tell such flows apart by, for each endpoint.
const PORTS: usize = 32;

/// What a socket may queue, in octets: a thread that is kept from running must lose no answer.
const QUEUE: libc::c_int = 4 << 20;

/// A running prober.
#[derive(Debug)]
pub struct CrowdProber(Task<CrowdRecord>);

/// What a prober saw.
#[derive(Debug, Clone)]
pub struct CrowdRecord {
    /// From the first request to the call to stop.
    pub window: Window,
    /// When each target answered, in the targets' order and in order of time.
    pub answers: Vec<Vec<Instant>>,
    /// How many requests went out.
    pub sent: usize,
    /// The most by which a request went out later than planned: the instrument's own error.
    pub worst_delay: Duration,
}

impl CrowdProber {
    /// Starts asking each of `targets` (IPv4) once every `interval`, each from a source port that it keeps: one flow a
    /// target, which has to find another endpoint when its own dies.
    ///
    /// # Errors
    /// When no socket can be made.
    pub fn start(host: &Host, targets: &[SocketAddr], interval: Duration) -> Result<Self> {
        let sockets: io::Result<Vec<UdpSocket>> = host.run(|| (0..PORTS).map(|_| open()).collect());
        let sockets = sockets.context("the prober's sockets")?;
        let targets = targets.to_vec();
        Ok(Self(Task::start(host, "crowd", move |stop| {
            Probing {
                sockets,
                answers: vec![Vec::new(); targets.len()],
                targets,
            }
            .run(interval, &stop)
        })))
    }

    /// Stops asking, waits a moment for the last answers, and gives the record.
    #[must_use]
    pub fn stop(self) -> CrowdRecord {
        self.0.stop()
    }
}

impl CrowdRecord {
    /// The longest time without an answer from one target, for each of them.
    #[must_use]
    pub fn longest_gaps(&self) -> Vec<Gap> {
        let gap = |answers: &Vec<Instant>| gap::longest(answers.iter().copied(), self.window);
        self.answers.iter().map(gap).collect()
    }

    /// How many targets have not answered at all.
    #[must_use]
    pub fn silent(&self) -> usize {
        self.answers
            .iter()
            .filter(|answers| answers.is_empty())
            .count()
    }
}

struct Probing {
    targets: Vec<SocketAddr>,
    sockets: Vec<UdpSocket>,
    answers: Vec<Vec<Instant>>,
}

impl Probing {
    fn run(mut self, interval: Duration, stop: &StopFlag) -> CrowdRecord {
        let from = Instant::now();
        let spacing = interval / u32::try_from(self.targets.len().max(1)).unwrap_or(u32::MAX);
        let (mut sent, mut worst_delay) = (0, Duration::ZERO);
        let mut next = from;
        while !stop.is_raised() {
            let now = Instant::now();
            worst_delay = worst_delay.max(now.saturating_duration_since(next));
            // Requests that are late by more than a round are not made up for.
            next = next.max(now.checked_sub(interval).unwrap_or(next));
            while next <= now {
                self.ask(sent);
                sent += 1;
                next += spacing;
            }
            self.listen(now + TICK);
        }
        let to = Instant::now();
        self.listen(to + DRAIN);
        CrowdRecord {
            window: Window { from, to },
            answers: self.answers,
            sent,
            worst_delay,
        }
    }

    fn ask(&mut self, number: usize) {
        let index = number % self.targets.len();
        let socket = &self.sockets[index % self.sockets.len()];
        // A refusal is a lost request.
        let _ = socket.send_to(&(index as u64).to_be_bytes(), self.targets[index]);
    }

    fn listen(&mut self, until: Instant) {
        loop {
            let sockets: Vec<&UdpSocket> = self.sockets.iter().collect();
            for index in readable(&sockets, until) {
                receive(&self.sockets[index], &self.targets, &mut self.answers);
            }
            if Instant::now() >= until {
                return;
            }
        }
    }
}

/// Takes everything that has arrived on a socket. What does not come from the target that was asked
/// is nobody's answer.
fn receive(socket: &UdpSocket, targets: &[SocketAddr], answers: &mut [Vec<Instant>]) {
    let mut buffer = [0; 512];
    loop {
        let (n, from) = match socket.recv_from(&mut buffer) {
            Ok(received) => received,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
            // An ICMP error about an earlier request; it is told once and then forgotten.
            Err(_) => continue,
        };
        let at = Instant::now();
        let number = buffer[..n].last_chunk().copied().map(u64::from_be_bytes);
        if let Some(index) = number.and_then(|number| usize::try_from(number).ok())
            && targets.get(index) == Some(&from)
        {
            answers[index].push(at);
        }
    }
}

fn open() -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.set_nonblocking(true)?;
    let queue = QUEUE;
    // SAFETY: a live descriptor and a live number of the length told. Refused only where the
    // harness may not do so; the queue then stays as it is.
    unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVBUFFORCE,
            (&raw const queue).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    Ok(socket)
}
