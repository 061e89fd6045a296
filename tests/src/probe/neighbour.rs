//! Asks by ARP and neighbour discovery who has an address, past any cache, and records every MAC
//! that claims it. A prober with a cached neighbour would not see a responder too many.

mod capture;
mod frame;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

pub use self::capture::LanCapture;

use self::frame::Asker;
use super::gap::{self, Gap, Window};
use super::packet::PacketSocket;
use super::task::{StopFlag, Task, readable};
use crate::lab::host::{Host, Mac};
use crate::lab::wait;

const ETHERTYPE_ARP: u16 = 0x0806;
const ETHERTYPE_IPV6: u16 = 0x86dd;

/// How long answers are waited for after the last question.
const DRAIN: Duration = Duration::from_millis(100);

/// Why a claim was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Claim {
    /// An ARP reply, or a solicited neighbour advertisement.
    Answer,
    /// A gratuitous ARP, or an unsolicited neighbour advertisement.
    Unasked,
}

/// An address and the MAC that claimed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sighting {
    /// When the claim came.
    pub at: Instant,
    /// Which round of questions was the last before it, counted from 0; in a capture of the whole
    /// LAN, which question of the one who was answered.
    pub round: usize,
    /// The address.
    pub ip: IpAddr,
    /// Who claims it.
    pub mac: Mac,
    /// Whether it was asked for.
    pub claim: Claim,
}

/// A running prober.
#[derive(Debug)]
pub struct NeighbourProber(Task<NeighbourRecord>);

/// What a prober saw.
#[derive(Debug, Clone)]
pub struct NeighbourRecord {
    /// From the first question to the call to stop.
    pub window: Window,
    /// Every claim, in order of time.
    pub sightings: Vec<Sighting>,
    /// How many rounds of questions were asked; in a capture of the whole LAN, how many questions.
    pub rounds: usize,
}

/// Two MACs that answered for one address where one should have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Duplicate {
    /// When the answer came that was one too many.
    pub at: Instant,
    /// The address.
    pub ip: IpAddr,
    /// The MACs.
    pub macs: BTreeSet<Mac>,
}

impl NeighbourProber {
    /// Starts asking for all `targets` every `interval` from the host's `ens3`, IPv4 addresses by
    /// ARP broadcast and IPv6 addresses by neighbour solicitation to the solicited-node group.
    ///
    /// # Errors
    /// When a packet socket cannot be opened.
    pub fn start(host: &Host, targets: &[IpAddr], interval: Duration) -> Result<Self> {
        let open = |ethertype| PacketSocket::open("ens3", ethertype).context("a packet socket");
        let arp = host.run(|| open(ETHERTYPE_ARP))?;
        let ipv6 = host.run(|| open(ETHERTYPE_IPV6))?;
        let asker = asker(host);
        let targets = targets.to_vec();
        Ok(Self(Task::start(host, "neighbour", move |stop| {
            probe(&[arp, ipv6], asker, &targets, interval, &stop)
        })))
    }

    /// Stops asking, waits a moment for the last answers, and gives the record.
    #[must_use]
    pub fn stop(self) -> NeighbourRecord {
        self.0.stop()
    }
}

/// Asks for an address until exactly one MAC answers, and gives it.
///
/// # Errors
/// When none or more than one answers within `patience`.
pub fn who_has(host: &Host, ip: IpAddr, patience: Duration) -> Result<Mac> {
    wait::until_ok(patience, "one MAC to answer", || {
        let prober = NeighbourProber::start(host, &[ip], Duration::from_millis(10))?;
        std::thread::sleep(Duration::from_millis(50));
        let macs = prober.stop().macs(ip);
        match (macs.len(), macs.first()) {
            (1, Some(mac)) => Ok(*mac),
            _ => bail!("{ip} is answered by {macs:?}"),
        }
    })
}

/// Has a host announce that it has an address, as one does that has just been given it.
///
/// # Errors
/// When the frame cannot be sent.
pub fn announce(host: &Host, address: Ipv4Addr) -> Result<()> {
    let frame = asker(host).announcement(address);
    host.run(|| PacketSocket::open("ens3", ETHERTYPE_ARP)?.send(&frame))
        .with_context(|| format!("announce {address} from {}", host.name()))
}

fn asker(host: &Host) -> Asker {
    Asker {
        mac: host.mac(),
        v4: host.ipv4(),
        v6: host.ipv6(),
    }
}

impl NeighbourRecord {
    /// The answers for one address, in order of time.
    pub fn answers(&self, ip: IpAddr) -> impl Iterator<Item = &Sighting> {
        self.sightings
            .iter()
            .filter(move |s| s.ip == ip && s.claim == Claim::Answer)
    }

    /// The MACs that answered for one address.
    #[must_use]
    pub fn macs(&self, ip: IpAddr) -> BTreeSet<Mac> {
        self.answers(ip).map(|sighting| sighting.mac).collect()
    }

    /// How often another MAC answered for one address than had before.
    #[must_use]
    pub fn moves(&self, ip: IpAddr) -> usize {
        let macs: Vec<Mac> = self.answers(ip).map(|sighting| sighting.mac).collect();
        macs.windows(2).filter(|pair| pair[0] != pair[1]).count()
    }

    /// The longest time within the window without an answer for one address.
    #[must_use]
    pub fn longest_gap(&self, ip: IpAddr) -> Gap {
        self.longest_gap_in(ip, self.window)
    }

    /// The same within a part of the window.
    #[must_use]
    pub fn longest_gap_in(&self, ip: IpAddr, window: Window) -> Gap {
        gap::longest(self.answers(ip).map(|sighting| sighting.at), window)
    }

    /// Answers that are one too many: two MACs answered the same question, or one answered again
    /// after another had, within `return_time` of its own last answer. A MAC that comes back later
    /// than that is a VIP that has moved back.
    #[must_use]
    pub fn duplicates(&self, return_time: Duration) -> Vec<Duplicate> {
        duplicates(&self.sightings, return_time)
    }
}

fn duplicates(sightings: &[Sighting], return_time: Duration) -> Vec<Duplicate> {
    /// What has been seen of an address so far.
    #[derive(Default)]
    struct Seen {
        last: Option<(Mac, usize)>,
        answered: BTreeMap<Mac, Instant>,
    }
    let mut found = Vec::new();
    let mut seen: BTreeMap<IpAddr, Seen> = BTreeMap::new();
    for s in sightings.iter().filter(|s| s.claim == Claim::Answer) {
        let before = seen.entry(s.ip).or_default();
        if let Some((mac, round)) = before.last
            && mac != s.mac
        {
            let returned = before
                .answered
                .get(&s.mac)
                .is_some_and(|at| s.at - *at < return_time);
            if returned || round == s.round {
                let macs = BTreeSet::from([mac, s.mac]);
                found.push(Duplicate {
                    at: s.at,
                    ip: s.ip,
                    macs,
                });
            }
        }
        before.last = Some((s.mac, s.round));
        before.answered.insert(s.mac, s.at);
    }
    found
}

fn probe(
    sockets: &[PacketSocket; 2],
    asker: Asker,
    targets: &[IpAddr],
    interval: Duration,
    stop: &StopFlag,
) -> NeighbourRecord {
    let from = Instant::now();
    let mut sightings = Vec::new();
    let mut rounds = 0;
    let mut next = from;
    while !stop.is_raised() {
        for target in targets {
            let (socket, frame) = match target {
                IpAddr::V4(v4) => (&sockets[0], asker.arp_request(*v4)),
                IpAddr::V6(v6) => (&sockets[1], asker.solicitation(*v6)),
            };
            // A refused frame is an unanswered question.
            let _ = socket.send(&frame);
        }
        rounds += 1;
        next = (next + interval).max(Instant::now());
        // A raised flag is noticed within a tenth of a second, however slow the rounds are.
        while Instant::now() < next && !stop.is_raised() {
            let until = next.min(Instant::now() + Duration::from_millis(100));
            listen(sockets, until, rounds - 1, &mut sightings);
        }
    }
    let to = Instant::now();
    listen(
        sockets,
        to + DRAIN,
        rounds.saturating_sub(1),
        &mut sightings,
    );
    NeighbourRecord {
        window: Window { from, to },
        sightings,
        rounds,
    }
}

fn listen(
    sockets: &[PacketSocket; 2],
    until: Instant,
    round: usize,
    sightings: &mut Vec<Sighting>,
) {
    let mut buffer = [0; 2048];
    loop {
        for index in readable(sockets, until) {
            while let Some(bytes) = sockets[index].receive(&mut buffer) {
                if let Some((ip, mac, claim)) = frame::claim(bytes) {
                    sightings.push(Sighting {
                        at: Instant::now(),
                        round,
                        ip,
                        mac,
                        claim,
                    });
                }
            }
        }
        if Instant::now() >= until {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: u8 = 1;
    const B: u8 = 2;

    /// The number of duplicates in answers of (milliseconds, round, MAC).
    fn count(answers: &[(u64, usize, u8)]) -> usize {
        let zero = Instant::now();
        let sightings: Vec<Sighting> = answers
            .iter()
            .map(|(ms, round, mac)| Sighting {
                at: zero + Duration::from_millis(*ms),
                round: *round,
                ip: "10.10.200.1".parse().unwrap(),
                mac: Mac([2, 0, 0, 0, 0, *mac]),
                claim: Claim::Answer,
            })
            .collect();
        duplicates(&sightings, Duration::from_secs(1)).len()
    }

    #[test]
    fn a_vip_that_moves_and_later_moves_back_is_no_duplicate() {
        assert_eq!(
            count(&[(0, 0, A), (100, 1, A), (200, 2, B), (300, 3, B)]),
            0
        );
        assert_eq!(count(&[(0, 0, A), (200, 2, B), (2000, 20, A)]), 0);
    }

    #[test]
    fn two_answers_to_one_question_are_a_duplicate() {
        assert_eq!(count(&[(0, 0, A), (100, 1, A), (101, 1, B)]), 1);
    }

    #[test]
    fn a_mac_that_answers_again_soon_after_another_did_is_a_duplicate() {
        assert_eq!(
            count(&[(0, 0, A), (100, 1, B), (200, 2, A), (300, 3, B)]),
            2
        );
    }
}
