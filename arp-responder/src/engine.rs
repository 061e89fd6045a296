//! The three machines together: from what is desired and heard to frames and events.
//!
//! Sans-IO. Owns which VIPs are started where. The socket task feeds it [`Desired`], the state of interfaces, frames and
//! `now`; it returns [`Action`]s. A VIP is started once its interface is up and started anew after the interface was
//! down, its address changed, or the VIP was won again.

use std::collections::{BTreeMap, BTreeSet};

use pnet::util::MacAddr;

use crate::address::{InterfaceAddress, InterfaceIndex};
use crate::clock::BootInstant;
use crate::codec::Frame;
use crate::conflict::{Claim, ConflictDetection, Finding, ProbeTiming};
use crate::desired::{Answering, Desired, DesiredInterface, DesiredVip, Event, Role};
use crate::responder::{AnswerCounts, Responder};
use crate::takeover::{AnnounceTiming, Takeover};

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
    }

    fn stop(&mut self, vip: InterfaceAddress) {
        self.takeover.cancel(vip);
        self.conflicts.cancel(vip);
        self.responder.remove(vip);
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
