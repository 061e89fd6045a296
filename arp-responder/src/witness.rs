//! Bearing witness: asks on a peer's behalf who answers for an address, and tells.
//!
//! Sans-IO: questions, frames and `now` go in; requests to send and testimonies come out. Asks as a client does, from this
//! node's own address by broadcast or solicited-node group, and counts only answers that are to this node: an announcement
//! that happens to come by proves nothing of answers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use pnet::util::MacAddr;

use crate::address::InterfaceIndex;
use crate::clock::BootInstant;
use crate::codec::{ArpOperation, Frame, MOST_STATIONS, Message, Question, Testimony};
use crate::schedule::Schedule;

/// How a witness asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WitnessTiming {
    /// How long answers are waited for after each request.
    pub wait: Duration,
    /// Requests before nobody is said to have answered.
    pub requests: u32,
    /// Inquiries under way at most; those beyond are not taken, and their askers hear nothing.
    pub inquiries: usize,
}

impl Default for WitnessTiming {
    fn default() -> Self {
        Self {
            wait: Duration::from_millis(40),
            requests: 3,
            inquiries: 256,
        }
    }
}

/// What the witness wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Errand {
    /// Send a request for the address.
    Request(InterfaceIndex, IpAddr),
    /// Tell the asker.
    Tell(InterfaceIndex, MacAddr, Testimony),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Inquiry {
    interface: InterfaceIndex,
    asker: MacAddr,
    ip: IpAddr,
}

#[derive(Debug)]
struct Progress {
    nonce: u64,
    sent: u32,
    stations: BTreeSet<MacAddr>,
}

/// The witness.
#[derive(Debug)]
pub struct Witness {
    timing: WitnessTiming,
    inquiries: BTreeMap<Inquiry, Progress>,
    schedule: Schedule<Inquiry>,
}

impl Witness {
    /// A witness that nobody has asked.
    pub fn new(timing: WitnessTiming) -> Self {
        Self {
            timing,
            inquiries: BTreeMap::new(),
            schedule: Schedule::default(),
        }
    }

    /// A peer asks. A repeated question for the same address begins anew.
    pub fn asked(
        &mut self,
        interface: InterfaceIndex,
        asker: MacAddr,
        question: Question,
        now: BootInstant,
    ) {
        let inquiry = Inquiry {
            interface,
            asker,
            ip: question.ip,
        };
        let is_new = !self.inquiries.contains_key(&inquiry);
        if is_new && self.inquiries.len() >= self.timing.inquiries {
            return;
        }
        let progress = Progress {
            nonce: question.nonce,
            sent: 0,
            stations: BTreeSet::new(),
        };
        self.inquiries.insert(inquiry, progress);
        self.schedule.set(inquiry, now);
    }

    /// A frame came in that may be an answer to the station `own`.
    pub fn heard(&mut self, interface: InterfaceIndex, frame: &Frame, own: MacAddr) {
        let Some((ip, station)) = answer(frame, own) else {
            return;
        };
        let asked = self
            .inquiries
            .iter_mut()
            .filter(|(inquiry, _)| inquiry.interface == interface && inquiry.ip == ip);
        for (_, progress) in asked {
            if progress.stations.len() < MOST_STATIONS {
                progress.stations.insert(station);
            }
        }
    }

    /// What is due.
    pub fn poll(&mut self, now: BootInstant) -> Vec<Errand> {
        let mut errands = Vec::new();
        while let Some(inquiry) = self.schedule.pop_due(now) {
            let Some(progress) = self.inquiries.get_mut(&inquiry) else {
                continue;
            };
            if progress.stations.is_empty() && progress.sent < self.timing.requests {
                progress.sent += 1;
                errands.push(Errand::Request(inquiry.interface, inquiry.ip));
                self.schedule.set(inquiry, now + self.timing.wait);
                continue;
            }
            let testimony = Testimony {
                nonce: progress.nonce,
                ip: inquiry.ip,
                stations: progress.stations.iter().copied().collect(),
            };
            self.inquiries.remove(&inquiry);
            errands.push(Errand::Tell(inquiry.interface, inquiry.asker, testimony));
        }
        errands
    }

    /// When [`poll`](Self::poll) has to be called next, if nothing else happens.
    pub fn poll_deadline(&self) -> Option<BootInstant> {
        self.schedule.next()
    }

    /// Forgets what was asked on an interface that cannot be used.
    pub fn interface_down(&mut self, interface: InterfaceIndex) {
        let gone = |inquiry: &Inquiry| inquiry.interface == interface;
        for inquiry in self.inquiries.keys().copied().filter(gone) {
            self.schedule.cancel(inquiry);
        }
        self.inquiries.retain(|inquiry, _| !gone(inquiry));
    }
}

/// The address and the station in an answer to `own`.
fn answer(frame: &Frame, own: MacAddr) -> Option<(IpAddr, MacAddr)> {
    if frame.destination != own {
        return None;
    }
    match &frame.message {
        Message::Arp(arp) if arp.operation == ArpOperation::Reply => {
            Some((arp.sender_ip.into(), arp.sender_mac))
        }
        Message::Advertisement(na) if na.solicited => Some((
            na.target.into(),
            na.target_link_layer.unwrap_or(frame.source),
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::ArpMessage;

    const LAN: InterfaceIndex = InterfaceIndex(3);
    const OWN: MacAddr = MacAddr(2, 0, 0, 0, 0, 1);
    const ASKER: MacAddr = MacAddr(2, 0, 0, 0, 0, 2);
    const OTHER: MacAddr = MacAddr(2, 0, 0, 0, 0, 3);
    const IP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 80));

    fn ms(milliseconds: u64) -> BootInstant {
        BootInstant::from_nanos(milliseconds * 1_000_000)
    }

    fn reply(station: MacAddr) -> Frame {
        Frame {
            destination: OWN,
            source: station,
            message: Message::Arp(ArpMessage {
                operation: ArpOperation::Reply,
                sender_mac: station,
                sender_ip: [192, 0, 2, 80].into(),
                target_mac: OWN,
                target_ip: [192, 0, 2, 1].into(),
            }),
        }
    }

    fn asked() -> Witness {
        let mut witness = Witness::new(WitnessTiming::default());
        let question = Question { nonce: 7, ip: IP };
        witness.asked(LAN, ASKER, question, ms(0));
        assert_eq!(witness.poll(ms(0)), [Errand::Request(LAN, IP)]);
        witness
    }

    fn tells(stations: &[MacAddr]) -> Errand {
        let testimony = Testimony {
            nonce: 7,
            ip: IP,
            stations: stations.to_vec(),
        };
        Errand::Tell(LAN, ASKER, testimony)
    }

    #[test]
    fn everyone_who_answers_within_the_wait_is_told() {
        let mut witness = asked();
        witness.heard(LAN, &reply(ASKER), OWN);
        witness.heard(LAN, &reply(OTHER), OWN);
        assert_eq!(witness.poll(ms(39)), []);
        assert_eq!(witness.poll(ms(40)), [tells(&[ASKER, OTHER])]);
        assert_eq!(witness.poll_deadline(), None);
    }

    #[test]
    fn silence_is_told_after_three_requests() {
        let mut witness = asked();
        assert_eq!(witness.poll(ms(40)), [Errand::Request(LAN, IP)]);
        assert_eq!(witness.poll(ms(80)), [Errand::Request(LAN, IP)]);
        assert_eq!(witness.poll(ms(120)), [tells(&[])]);
    }

    #[test]
    fn announcements_and_answers_to_others_are_no_answer() {
        let mut witness = asked();
        for frame in Frame::announcements(ASKER, IP) {
            witness.heard(LAN, &frame, OWN);
        }
        let to_other = Frame {
            destination: OTHER,
            ..reply(ASKER)
        };
        witness.heard(LAN, &to_other, OWN);
        witness.heard(InterfaceIndex(4), &reply(ASKER), OWN);
        assert_eq!(witness.poll(ms(40)), [Errand::Request(LAN, IP)]);
    }

    #[test]
    fn a_flood_of_questions_is_bounded() {
        let mut witness = Witness::new(WitnessTiming::default());
        for n in 0..1_000_u32 {
            let ip = IpAddr::from(std::net::Ipv4Addr::from(0x0a00_0000 + n));
            witness.asked(LAN, ASKER, Question { nonce: 1, ip }, ms(0));
        }
        assert_eq!(witness.poll(ms(0)).len(), 256);
    }
}
