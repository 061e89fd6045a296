//! The machines together: from what is desired and heard to frames and events.
//!
//! Sans-IO. Owns which VIPs are started where. The socket task feeds it [`Desired`], the state of interfaces, frames and
//! `now`; it returns [`Action`]s. A VIP is started once its interface is up and started anew after the interface was
//! down, its address changed, or the VIP was won again.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;

use pnet::util::MacAddr;

use crate::address::{InterfaceAddress, InterfaceIndex};
use crate::clock::BootInstant;
use crate::codec::{Frame, Message, Question};
use crate::conflict::{Claim, ConflictDetection, Finding, ProbeTiming};
use crate::desired::{Answering, Desired, DesiredInterface, DesiredVip, Event, Role};
use crate::proof::{Ground, ProofTiming, Proving, SelfProof};
use crate::responder::{AnswerCounts, Responder};
use crate::takeover::{AnnounceTiming, Takeover};
use crate::witness::{Errand, Witness, WitnessTiming};

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

/// What the engine wants done.
#[derive(Debug)]
pub enum Action {
    /// Send a frame.
    Send {
        /// Where.
        interface: InterfaceIndex,
        /// What.
        frame: Frame,
        /// It claims a VIP, so it must not leave from the deadline on.
        claims: bool,
    },
    /// Tell the reconciler.
    Report(Event),
}

/// The state of everything this node announces.
#[derive(Debug)]
pub struct Engine {
    takeover: Takeover,
    conflicts: ConflictDetection,
    responder: Responder,
    proof: SelfProof,
    witness: Witness,
    desired: Desired,
    up: BTreeSet<InterfaceIndex>,
    /// VIPs whose first announcement found no conflict, in the acquisition named.
    cleared: BTreeMap<InterfaceAddress, u64>,
}

impl Engine {
    /// An engine that announces nothing yet.
    pub fn new(announce: AnnounceTiming, probe: ProbeTiming) -> Self {
        Self {
            takeover: Takeover::new(announce),
            conflicts: ConflictDetection::new(probe),
            responder: Responder::new(),
            // Testimonies for an earlier process must not count for this one.
            proof: SelfProof::new(ProofTiming::default(), RandomState::new().hash_one(0)),
            witness: Witness::new(WitnessTiming::default()),
            desired: Desired::default(),
            up: BTreeSet::new(),
            cleared: BTreeMap::new(),
        }
    }

    /// Takes over what is desired now; what is the same as before goes on undisturbed.
    pub fn apply(&mut self, desired: Desired, now: BootInstant) {
        let before = std::mem::replace(&mut self.desired, desired);
        self.conflicts
            .set_own(self.desired.interfaces.values().map(|i| i.mac).collect());
        let wanted = self.desired.interfaces.iter();
        self.conflicts
            .set_peers(wanted.map(|(&index, i)| (index, i.peers.clone())).collect());
        let wanted = self.desired.interfaces.iter();
        self.proof
            .set_grounds(wanted.map(|(&index, i)| (index, ground(i))).collect(), now);
        self.up
            .retain(|interface| self.desired.interfaces.contains_key(interface));
        let after = &self.desired;
        self.cleared.retain(|&vip, acquisition| {
            find(after, vip).is_some_and(|(_, wanted)| wanted.acquisition == *acquisition)
        });
        let stopped = without_counterpart(&before, after);
        let started = without_counterpart(after, &before);
        for vip in stopped {
            self.stop(vip);
        }
        for vip in started {
            self.start(vip, now);
        }
    }

    /// The interface can send and receive: starts its VIPs.
    pub fn interface_up(&mut self, interface: InterfaceIndex, now: BootInstant) {
        if self.desired.interfaces.contains_key(&interface) && self.up.insert(interface) {
            for vip in self.vips_of(interface) {
                self.start(vip, now);
            }
        }
    }

    /// The interface cannot send or receive: stops its VIPs.
    pub fn interface_down(&mut self, interface: InterfaceIndex) {
        if self.up.remove(&interface) {
            for vip in self.vips_of(interface) {
                self.stop(vip);
            }
            self.witness.interface_down(interface);
        }
    }

    /// A frame came in on `interface`.
    pub fn heard(
        &mut self,
        interface: InterfaceIndex,
        frame: &Frame,
        now: BootInstant,
        deadline: BootInstant,
    ) -> Vec<Action> {
        let mut actions = Vec::new();
        self.responder.set_deadline(Some(deadline));
        if let Some(answer) = self.responder.answer(interface, frame, now) {
            actions.push(Action::Send {
                interface,
                frame: answer,
                claims: true,
            });
        }
        self.weigh_witness(interface, frame, now, &mut actions);
        let finding =
            Claim::of(frame).and_then(|claim| self.conflicts.heard(interface, claim, now));
        actions.extend(
            finding
                .into_iter()
                .flat_map(|finding| self.act_on(finding, now)),
        );
        actions
    }

    /// Does what is due.
    pub fn poll(&mut self, now: BootInstant, deadline: BootInstant) -> Vec<Action> {
        let mut actions = Vec::new();
        for finding in self.conflicts.poll(now) {
            actions.extend(self.act_on(finding, now));
        }
        for errand in self.witness.poll(now) {
            actions.extend(self.run(errand));
        }
        if now < deadline {
            for finding in self.proof.poll(now) {
                self.act_on_proof(finding, now, &mut actions);
            }
        } else {
            self.proof.pause(now);
        }
        // After the findings: what has just cleared is announced in the same breath.
        for vip in self.takeover.poll(now, deadline) {
            let Some(mac) = self.mac_of(vip.interface) else {
                continue;
            };
            actions.extend(Frame::announcements(mac, vip.ip).into_iter().map(|frame| {
                Action::Send {
                    interface: vip.interface,
                    frame,
                    claims: true,
                }
            }));
        }
        actions
    }

    /// When [`poll`](Self::poll) has to be called next, if nothing else happens.
    pub fn poll_deadline(&self) -> Option<BootInstant> {
        self.takeover
            .poll_deadline()
            .into_iter()
            .chain(self.conflicts.poll_deadline())
            .chain(self.proof.poll_deadline())
            .chain(self.witness.poll_deadline())
            .min()
    }

    /// Answers given so far, of the VIPs answered for by socket.
    pub fn answers(&self) -> &AnswerCounts {
        self.responder.counts()
    }

    fn act_on(&mut self, finding: Finding, now: BootInstant) -> Vec<Action> {
        match finding {
            Finding::SendProbe(vip) => {
                let frame = self
                    .mac_of(vip.interface)
                    .map(|mac| Frame::probe(mac, vip.ip));
                let send = |frame| Action::Send {
                    interface: vip.interface,
                    frame,
                    claims: false,
                };
                frame.map(send).into_iter().collect()
            }
            Finding::Clear(InterfaceAddress { interface, ip }) => {
                let vip = InterfaceAddress { interface, ip };
                if let Some((_, wanted)) = find(&self.desired, vip) {
                    self.cleared.insert(vip, wanted.acquisition);
                }
                self.answer_and_announce(vip, now);
                vec![Action::Report(Event::ProbeCleared { interface, ip })]
            }
            Finding::Conflict(InterfaceAddress { interface, ip }, mac) => {
                vec![Action::Report(Event::Conflict { interface, ip, mac })]
            }
            Finding::LateConflict(InterfaceAddress { interface, ip }, mac) => {
                vec![Action::Report(Event::LateConflict { interface, ip, mac })]
            }
        }
    }

    fn start(&mut self, vip: InterfaceAddress, now: BootInstant) {
        let Some((_, wanted)) = find(&self.desired, vip) else {
            return;
        };
        if !self.up.contains(&vip.interface) {
            return;
        }
        let cleared = self.cleared.get(&vip) == Some(&wanted.acquisition);
        if wanted.role == Role::First && !cleared {
            self.conflicts.probe(vip, now);
        } else {
            self.conflicts.watch(vip, now);
            self.answer_and_announce(vip, now);
        }
    }

    fn answer_and_announce(&mut self, vip: InterfaceAddress, now: BootInstant) {
        let Some(interface) = self.desired.interfaces.get(&vip.interface) else {
            return;
        };
        if interface.answering == Answering::Socket {
            self.responder.set(vip, interface.mac);
        }
        self.takeover.announce(vip, now);
        self.proof.start(vip, now);
    }

    fn stop(&mut self, vip: InterfaceAddress) {
        self.takeover.cancel(vip);
        self.conflicts.cancel(vip);
        self.responder.remove(vip);
        self.proof.cancel(vip);
    }

    /// Questions and testimonies count from peers alone.
    fn weigh_witness(
        &mut self,
        interface: InterfaceIndex,
        frame: &Frame,
        now: BootInstant,
        actions: &mut Vec<Action>,
    ) {
        let Some(here) = self.desired.interfaces.get(&interface) else {
            return;
        };
        let from_peer = here.peers.contains(&frame.source) && frame.destination == here.mac;
        match &frame.message {
            Message::Question(question) if from_peer => {
                // In nobody's name, a solicitation would be answered to all nodes, which is no client's road.
                if question.ip.is_ipv4() || sender(here, question.ip).is_some() {
                    self.witness.asked(interface, frame.source, *question, now);
                }
            }
            Message::Testimony(testimony) if from_peer => {
                for finding in self.proof.told(interface, testimony, now) {
                    self.act_on_proof(finding, now, actions);
                }
            }
            _ => self.witness.heard(interface, frame, here.mac),
        }
    }

    fn run(&self, errand: Errand) -> Option<Action> {
        let (interface, frame) = match errand {
            Errand::Request(interface, ip) => {
                let here = self.desired.interfaces.get(&interface)?;
                let frame = match sender(here, ip) {
                    Some(sender) => Frame::request(here.mac, sender, ip)?,
                    None => Frame::probe(here.mac, ip),
                };
                (interface, frame)
            }
            Errand::Tell(interface, asker, testimony) => {
                let mac = self.mac_of(interface)?;
                (interface, Frame::testimony(mac, asker, testimony))
            }
        };
        Some(Action::Send {
            interface,
            frame,
            claims: false,
        })
    }

    fn act_on_proof(&mut self, finding: Proving, now: BootInstant, actions: &mut Vec<Action>) {
        match finding {
            Proving::Ask(InterfaceAddress { interface, ip }, peer, nonce) => {
                if let Some(mac) = self.mac_of(interface) {
                    actions.push(Action::Send {
                        interface,
                        frame: Frame::question(mac, peer, Question { nonce, ip }),
                        claims: false,
                    });
                }
            }
            Proving::Proved(InterfaceAddress { interface, ip }) => {
                actions.push(Action::Report(Event::Proved { interface, ip }));
            }
            Proving::Denied(InterfaceAddress { interface, ip }, reach) => {
                actions.push(Action::Report(Event::Denied {
                    interface,
                    ip,
                    reach,
                }));
            }
            Proving::WireWorks(interface) => {
                actions.push(Action::Report(Event::WireWorks { interface }));
            }
            // A witness may be mistaken about who is a peer; the watch over claims asks for itself.
            Proving::Stranger(InterfaceAddress { interface, ip }, mac) => {
                let claim = Claim {
                    ip,
                    mac,
                    probe: false,
                };
                if let Some(finding) = self.conflicts.heard(interface, claim, now) {
                    actions.extend(self.act_on(finding, now));
                }
            }
        }
    }

    fn mac_of(&self, interface: InterfaceIndex) -> Option<MacAddr> {
        self.desired
            .interfaces
            .get(&interface)
            .map(|interface| interface.mac)
    }

    fn vips_of(&self, interface: InterfaceIndex) -> Vec<InterfaceAddress> {
        let vips = self
            .desired
            .interfaces
            .get(&interface)
            .map(|i| i.vips.keys());
        vips.into_iter()
            .flatten()
            .map(|&ip| InterfaceAddress { interface, ip })
            .collect()
    }
}

fn ground(interface: &DesiredInterface) -> Ground {
    Ground {
        own: Some(interface.mac),
        peers: interface.peers.clone(),
        witnesses: interface.witnesses.clone(),
        addresses: interface.addresses.clone(),
        examined: interface.examined,
    }
}

/// The address in whose name to ask for `ip`: the first of the same family, link-local ones last.
fn sender(interface: &DesiredInterface, ip: IpAddr) -> Option<IpAddr> {
    let of_family = interface
        .addresses
        .iter()
        .filter(|own| own.is_ipv4() == ip.is_ipv4());
    let is_local = |own: &&IpAddr| matches!(own, IpAddr::V6(v6) if v6.is_unicast_link_local());
    of_family.min_by_key(is_local).copied()
}

fn find(desired: &Desired, vip: InterfaceAddress) -> Option<(&DesiredInterface, &DesiredVip)> {
    let interface = desired.interfaces.get(&vip.interface)?;
    Some((interface, interface.vips.get(&vip.ip)?))
}

/// The VIPs of `these` that are not announced in the same way, and won in the same acquisition, in `those`.
fn without_counterpart(these: &Desired, those: &Desired) -> Vec<InterfaceAddress> {
    let all = these.interfaces.iter().flat_map(|(&interface, wanted)| {
        let vips = wanted.vips.iter();
        vips.map(move |(&ip, vip)| (InterfaceAddress { interface, ip }, wanted, vip))
    });
    let same = |vip, here: &DesiredInterface, won: &DesiredVip| {
        find(those, vip).is_some_and(|(there, again)| {
            here.mac == there.mac
                && here.answering == there.answering
                && won.acquisition == again.acquisition
        })
    };
    all.filter(|&(vip, here, won)| !same(vip, here, won))
        .map(|(vip, ..)| vip)
        .collect()
}
