//! Many datagram flows, each from a port of its own that it keeps, and who answers each.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::task::{StopFlag, Task, readable};
use crate::lab::host::Host;

/// How long answers are waited for after the last request.
const DRAIN: Duration = Duration::from_millis(200);

/// What is known of a flow.
#[derive(Debug, Clone, Default)]
pub struct Flow {
    /// Requests sent.
    pub sent: usize,
    /// Answers heard.
    pub answered: usize,
    /// The pods that answered, each change of them.
    pub pods: Vec<String>,
    /// When the last answer came.
    pub last: Option<Instant>,
}

impl Flow {
    /// Whether one pod has answered all the time, and after `since` too.
    #[must_use]
    pub fn stayed(&self, since: Instant) -> bool {
        self.pods.len() == 1 && self.last.is_some_and(|last| last > since)
    }
}

/// Running flows to a UDP echo.
#[derive(Debug)]
pub struct Flock {
    task: Task<Vec<Flow>>,
}

impl Flock {
    /// Starts `flows` flows to `target`, each with a request every `interval`, evenly spread over it.
    ///
    /// # Errors
    /// When no socket can be made.
    pub fn start(
        host: &Host,
        target: SocketAddr,
        flows: usize,
        interval: Duration,
    ) -> Result<Self> {
        let sockets: Result<Vec<UdpSocket>> = host.run(|| {
            (0..flows)
                .map(|_| open(target).context("a flow's socket"))
                .collect()
        });
        let sockets = sockets?;
        let task = Task::start(host, "flock", move |stop| run(&sockets, interval, &stop));
        Ok(Self { task })
    }

    /// Stops asking, waits a moment for the last answers, and tells what became of each flow.
    #[must_use]
    pub fn stop(self) -> Vec<Flow> {
        self.task.stop()
    }
}

fn open(target: SocketAddr) -> Result<UdpSocket> {
    let any: IpAddr = match target {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(target)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn run(sockets: &[UdpSocket], interval: Duration, stop: &StopFlag) -> Vec<Flow> {
    let mut flows = vec![Flow::default(); sockets.len()];
    let spacing = interval / u32::try_from(sockets.len().max(1)).unwrap_or(u32::MAX);
    let mut next = Instant::now();
    let mut turn = 0;
    while !stop.is_raised() {
        while next <= Instant::now() {
            let place = turn % sockets.len();
            turn += 1;
            next += spacing;
            flows[place].sent += 1;
            // A refusal is a request without an answer.
            let _ = sockets[place].send(&(turn as u64).to_be_bytes());
        }
        listen(sockets, &mut flows, next);
    }
    listen(sockets, &mut flows, Instant::now() + DRAIN);
    flows
}

fn listen(sockets: &[UdpSocket], flows: &mut [Flow], until: Instant) {
    loop {
        for place in readable(&sockets.iter().collect::<Vec<_>>(), until) {
            let mut buffer = [0; 512];
            // An ICMP error about an earlier request is no answer.
            while let Ok(length) = sockets[place].recv(&mut buffer) {
                let line = buffer[..length].split(|octet| *octet == b' ').next();
                let pod = String::from_utf8_lossy(line.unwrap_or_default()).into_owned();
                let flow = &mut flows[place];
                flow.answered += 1;
                flow.last = Some(Instant::now());
                if flow.pods.last() != Some(&pod) {
                    flow.pods.push(pod);
                }
            }
        }
        if Instant::now() >= until {
            return;
        }
    }
}
