//! All answers of ARP and neighbour discovery on the LAN, whoever asked and wherever they go, in the
//! order in which they reach the switch. Two who answer on different sides of a partition, whom no
//! single machine hears both, are seen here.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::{Claim, NeighbourRecord, Sighting, frame};
use crate::lab::host::Mac;
use crate::lab::switch::Switch;
use crate::probe::gap::Window;
use crate::probe::packet::PacketSocket;
use crate::probe::task::{StopFlag, Task, readable};

/// How often the flag to stop is looked at.
const TICK: Duration = Duration::from_millis(50);

/// A running capture. Its record is read as a prober's is.
#[derive(Debug)]
pub struct LanCapture(Task<NeighbourRecord>);

impl LanCapture {
    /// Starts listening at every port of the switch.
    ///
    /// # Errors
    /// When a packet socket cannot be opened.
    pub fn start(switch: &Switch) -> Result<Self> {
        let socket = switch
            .host()
            .run(|| PacketSocket::open_all(&NEIGHBOURS))
            .context("a packet socket on all ports")?;
        let task = Task::start(switch.host(), "capture", move |stop| {
            capture(&socket, &stop)
        });
        Ok(Self(task))
    }

    /// Stops listening and gives the record.
    #[must_use]
    pub fn stop(self) -> NeighbourRecord {
        self.0.stop()
    }
}

/// ARP, or IPv6 whose next header is `ICMPv6` (classic BPF; offsets from the Ethernet header).
const NEIGHBOURS: [libc::sock_filter; 7] = [
    step(libc::BPF_LD | libc::BPF_H | libc::BPF_ABS, 0, 0, 12),
    step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 3, 0, 0x0806),
    step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 3, 0x86dd),
    step(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, 0, 0, 20),
    step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, 58),
    step(libc::BPF_RET | libc::BPF_K, 0, 0, 0x1_0000),
    step(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
];

const fn step(code: u32, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    }
}

fn capture(socket: &PacketSocket, stop: &StopFlag) -> NeighbourRecord {
    let from = Instant::now();
    let mut sightings = Vec::new();
    let mut asked: HashMap<(IpAddr, Mac), usize> = HashMap::new();
    let mut questions = 0;
    let mut buffer = [0; 2048];
    while !stop.is_raised() {
        readable(std::slice::from_ref(socket), Instant::now() + TICK);
        while let Some(bytes) = socket.receive(&mut buffer) {
            if let Some(question) = frame::question(bytes) {
                asked.insert(question, questions);
                questions += 1;
            } else if let Some((ip, mac, claim)) = frame::claim(bytes) {
                let asker = frame::destination(bytes).filter(|_| claim == Claim::Answer);
                let round = asker.and_then(|asker| asked.get(&(ip, asker)));
                sightings.push(Sighting {
                    at: Instant::now(),
                    // An answer that nobody asked for here is no answer to anybody's question.
                    round: round.copied().unwrap_or(usize::MAX - sightings.len()),
                    ip,
                    mac,
                    claim,
                });
            }
        }
    }
    NeighbourRecord {
        window: Window {
            from,
            to: Instant::now(),
        },
        sightings,
        rounds: questions,
    }
}
