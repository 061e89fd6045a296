//! Whether somebody else has a VIP.
//!
//! Sans-IO: VIPs, what was heard on the link, and `now` go in; probes to send and findings come out. RFC 5227 and RFC
//! 4862 in spirit, not in seconds: a first announcement waits for the answer to one probe for 30 ms, where the RFCs wait
//! for one to seven seconds. A VIP that another node of ours held until now is not probed at all. Whatever that hurry
//! misses is found later: every claim heard on the link is compared, and each VIP is probed again in the background, the
//! first time soon after it was taken over, since a stranger that only answers would not be heard otherwise.
//!
//! Before a first announcement nobody has the right to the VIP, so that a claim by a peer counts as much as a
//! stranger's. Later a peer's claim is a takeover on its way and no conflict. A claim by an unknown station is first
//! doubted: it may be a peer's that has just joined and whose address is about to be known. It is a conflict if the
//! station still claims the VIP a moment later, when it was asked again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pnet::util::MacAddr;

use crate::address::{InterfaceAddress, InterfaceIndex};
use crate::clock::BootInstant;
use crate::codec::{Frame, Message};
use crate::schedule::Schedule;
use crate::takeover::spread;

/// When probes are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeTiming {
    /// How long a first announcement waits for an answer to its probe.
    pub wait: Duration,
    /// Between the background probes of a VIP that is announced.
    pub background: Duration,
    /// From the takeover of a VIP to its first background probe, at most.
    pub after_takeover: Duration,
    /// From a refused first announcement to the next attempt; doubles up to `retry_most`.
    pub retry: Duration,
    /// The longest wait between two attempts.
    pub retry_most: Duration,
    /// After this, an unknown station that claims a VIP is asked again.
    pub doubt: Duration,
    /// The same late conflict is told again after this (RFC 5227 section 2.4, DEFEND_INTERVAL).
    pub report_again: Duration,
    /// One with another station is told no sooner than this after the last, so that a station that makes up addresses
    /// cannot flood the reconciler.
    pub report_other: Duration,
}

impl Default for ProbeTiming {
    fn default() -> Self {
        Self {
            wait: Duration::from_millis(30),
            background: Duration::from_secs(30),
            after_takeover: Duration::from_secs(1),
            retry: Duration::from_millis(100),
            retry_most: Duration::from_secs(5),
            doubt: Duration::from_millis(300),
            report_again: Duration::from_secs(10),
            report_other: Duration::from_secs(1),
        }
    }
}

/// What a frame says about the owner of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The address.
    pub ip: std::net::IpAddr,
    /// The station that has it or wants it.
    pub mac: MacAddr,
    /// Whether it only asks if it may have the address, which matters to those who ask at the same time.
    pub probe: bool,
}

impl Claim {
    /// The claim in `frame`, if there is one.
    pub fn of(frame: &Frame) -> Option<Self> {
        match &frame.message {
            Message::Arp(arp) if arp.is_probe() => Some(Self {
                ip: arp.target_ip.into(),
                mac: arp.sender_mac,
                probe: true,
            }),
            Message::Arp(arp) if arp.sender_ip.is_unspecified() => None,
            Message::Arp(arp) => Some(Self {
                ip: arp.sender_ip.into(),
                mac: arp.sender_mac,
                probe: false,
            }),
            Message::Solicitation(ns) => {
                let ip = if ns.is_probe() { ns.target } else { ns.source };
                let mac = ns.source_link_layer.unwrap_or(frame.source);
                Some(Self {
                    ip: ip.into(),
                    mac,
                    probe: ns.is_probe(),
                })
            }
            Message::Advertisement(na) => {
                let mac = na.target_link_layer.unwrap_or(frame.source);
                Some(Self {
                    ip: na.target.into(),
                    mac,
                    probe: false,
                })
            }
            Message::Question(_) | Message::Testimony(_) => None,
        }
    }
}

/// What the machine wants done or has found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Send a probe for the VIP now.
    SendProbe(InterfaceAddress),
    /// Nobody answered the probe: the VIP may be announced.
    Clear(InterfaceAddress),
    /// Somebody has the VIP that was to be announced first; it is tried again later.
    Conflict(InterfaceAddress, MacAddr),
    /// Somebody claims a VIP that this node announces.
    LateConflict(InterfaceAddress, MacAddr),
}

/// The watch over VIPs, per interface.
#[derive(Debug)]
pub struct ConflictDetection {
    timing: ProbeTiming,
    own: BTreeSet<MacAddr>,
    peers: BTreeMap<InterfaceIndex, BTreeSet<MacAddr>>,
    states: BTreeMap<InterfaceAddress, State>,
    schedule: Schedule<InterfaceAddress>,
}

#[derive(Debug)]
enum State {
    /// A probe is to be sent; with the conflict told last and the wait before the next attempt.
    Starting(Option<Refusal>),
    /// A probe is out.
    Probing(Option<Refusal>),
    /// Somebody has it.
    Refused(Refusal),
    /// It is ours.
    Held(Watch),
}

/// What was heard of a VIP that is ours.
#[derive(Clone, Copy, Debug, Default)]
struct Watch {
    /// The last conflict told.
    told: Option<(MacAddr, BootInstant)>,
    /// An unknown station that claimed it, and when it first did.
    doubted: Option<(MacAddr, BootInstant)>,
}

#[derive(Clone, Copy, Debug)]
struct Refusal {
    mac: MacAddr,
    retry: Duration,
}

impl ConflictDetection {
    /// A machine that watches nothing yet.
    pub fn new(timing: ProbeTiming) -> Self {
        Self {
            timing,
            own: BTreeSet::new(),
            peers: BTreeMap::new(),
            states: BTreeMap::new(),
            schedule: Schedule::default(),
        }
    }

    /// The addresses of this node's own interfaces, all of them: Linux answers on any for all (arp_ignore).
    pub fn set_own(&mut self, own: BTreeSet<MacAddr>) {
        self.own = own;
    }

    /// The addresses that other nodes of ours have on the link of each interface.
    pub fn set_peers(&mut self, peers: BTreeMap<InterfaceIndex, BTreeSet<MacAddr>>) {
        self.peers = peers;
    }

    /// Asks for `vip` before its first announcement; `Clear` or `Conflict` follows.
    pub fn probe(&mut self, vip: InterfaceAddress, now: BootInstant) {
        self.states.insert(vip, State::Starting(None));
        self.schedule.set(vip, now);
    }

    /// Watches over `vip` without asking first, after a takeover.
    pub fn watch(&mut self, vip: InterfaceAddress, now: BootInstant) {
        self.states.insert(vip, State::Held(Watch::default()));
        self.schedule
            .set(vip, now + spread(vip, self.timing.after_takeover));
    }

    /// Forgets `vip`.
    pub fn cancel(&mut self, vip: InterfaceAddress) {
        self.states.remove(&vip);
        self.schedule.cancel(vip);
    }

    /// Weighs a claim heard on `interface`.
    pub fn heard(
        &mut self,
        interface: InterfaceIndex,
        claim: Claim,
        now: BootInstant,
    ) -> Option<Finding> {
        if self.own.contains(&claim.mac) {
            return None;
        }
        let vip = InterfaceAddress {
            interface,
            ip: claim.ip,
        };
        let from_peer = self
            .peers
            .get(&interface)
            .is_some_and(|peers| peers.contains(&claim.mac));
        match self.states.get_mut(&vip)? {
            // A claim, or somebody who asks at the same time (RFC 5227 section 2.1.1, RFC 4862 section 5.4.3).
            State::Starting(before) | State::Probing(before) => {
                let before = before.take();
                self.refuse(vip, claim.mac, before, now)
            }
            State::Refused(_) => None,
            // Who only asks is answered, and told off thereby.
            State::Held(_) if claim.probe || from_peer => None,
            State::Held(watch) => {
                let (finding, ask_at) = watch.weigh(&self.timing, vip, claim.mac, now);
                if let Some(at) = ask_at {
                    self.schedule.set(vip, at);
                }
                finding
            }
        }
    }

    /// What is due.
    pub fn poll(&mut self, now: BootInstant) -> Vec<Finding> {
        let mut findings = Vec::new();
        while let Some(vip) = self.schedule.pop_due(now) {
            let Some(state) = self.states.get_mut(&vip) else {
                continue;
            };
            let wait = match state {
                State::Starting(before) => {
                    *state = State::Probing(*before);
                    findings.push(Finding::SendProbe(vip));
                    self.timing.wait
                }
                State::Refused(refusal) => {
                    *state = State::Probing(Some(*refusal));
                    findings.push(Finding::SendProbe(vip));
                    self.timing.wait
                }
                State::Probing(_) => {
                    *state = State::Held(Watch::default());
                    findings.push(Finding::Clear(vip));
                    spread(vip, self.timing.background)
                }
                State::Held(_) => {
                    findings.push(Finding::SendProbe(vip));
                    self.timing.background
                }
            };
            self.schedule.set(vip, now + wait);
        }
        findings
    }

    /// When [`poll`](Self::poll) has to be called next, if nothing else happens.
    pub fn poll_deadline(&self) -> Option<BootInstant> {
        self.schedule.next()
    }

    /// Waits before the next attempt; tells of the conflict unless it is the one told last.
    fn refuse(
        &mut self,
        vip: InterfaceAddress,
        mac: MacAddr,
        before: Option<Refusal>,
        now: BootInstant,
    ) -> Option<Finding> {
        let wait = before.map_or(self.timing.retry, |refusal| refusal.retry);
        let retry = (wait * 2).min(self.timing.retry_most);
        self.states
            .insert(vip, State::Refused(Refusal { mac, retry }));
        self.schedule.set(vip, now + wait);
        let told = before.is_some_and(|refusal| refusal.mac == mac);
        (!told).then_some(Finding::Conflict(vip, mac))
    }
}

impl Watch {
    /// Weighs the claim of an unknown station: the conflict, if it is one, and when to ask again, if that is to be seen.
    fn weigh(
        &mut self,
        timing: &ProbeTiming,
        vip: InterfaceAddress,
        mac: MacAddr,
        now: BootInstant,
    ) -> (Option<Finding>, Option<BootInstant>) {
        let ask_at = now + timing.doubt;
        match self.doubted {
            Some((doubted, since)) if doubted == mac && now >= since + timing.doubt => {
                if now >= since + timing.report_again {
                    // Too long ago to be the same story.
                    self.doubted = Some((mac, now));
                    return (None, Some(ask_at));
                }
            }
            // One at a time, or a station that makes up addresses would put the question off for ever.
            Some((_, since)) if now < since + timing.report_other => return (None, None),
            _ => {
                self.doubted = Some((mac, now));
                return (None, Some(ask_at));
            }
        }
        let is_due = self.told.is_none_or(|(told, at)| {
            let wait = if told == mac {
                timing.report_again
            } else {
                timing.report_other
            };
            now >= at + wait
        });
        if !is_due {
            return (None, None);
        }
        *self = Self {
            told: Some((mac, now)),
            doubted: None,
        };
        (Some(Finding::LateConflict(vip, mac)), None)
    }
}

#[cfg(test)]
mod tests;
