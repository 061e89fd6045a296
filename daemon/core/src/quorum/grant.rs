//! Heartbeats and answers: asks every granter, and answers who asks.

use super::message::{Body, Message, MessageId, Serial};
use super::peer::{Asked, Peer};
use super::record::Epoch;
use super::{Action, Quorum};
use crate::election::{Moment, Term};
use crate::model::NodeName;

impl Quorum {
    /// Takes in a message. Names the sender where a heartbeat to it should not wait.
    pub(super) fn receive(
        &mut self,
        message: Message,
        now: Moment,
        actions: &mut Vec<Action>,
    ) -> Option<NodeName> {
        if message.from == self.me.node {
            return None;
        }
        let peer = self
            .peers
            .entry(message.from.clone())
            .or_insert_with(|| Peer::new(now));
        let entitled = peer.entitled;
        let (latest, refused) = peer.hear(&message, now);
        self.news += u64::from(peer.entitled != entitled);
        if refused {
            self.find_lapsed();
        }
        if let Some(record) = message.record {
            self.see_record(record, now);
        }
        match message.body {
            Body::Heartbeat { heard } if latest => {
                self.answer(&message.from, message.id, message.term, heard, now, actions);
                None
            }
            Body::Answer { to, granted } => {
                let granted = granted.map(|span| span.min(self.settings.span));
                let counts = granted.filter(|_| self.counts(message.epoch));
                self.take_answer(
                    &message.from,
                    message.id,
                    to,
                    counts,
                    latest,
                    granted.is_none(),
                )
            }
            Body::Heartbeat { .. } | Body::News => None,
        }
    }

    /// Only answers of the epoch that is adopted or being adopted count.
    fn counts(&self, epoch: Epoch) -> bool {
        let records = [self.durable.record.as_ref(), self.newest.as_ref()];
        records
            .into_iter()
            .flatten()
            .any(|record| record.epoch == epoch)
    }

    fn take_answer(
        &mut self,
        from: &NodeName,
        id: MessageId,
        to: MessageId,
        granted: Option<std::time::Duration>,
        latest: bool,
        bare: bool,
    ) -> Option<NodeName> {
        let peer = self.peers.get_mut(from)?;
        let asked = peer
            .asked
            .iter()
            .find(|asked| asked.serial == to.serial)
            .copied();
        let asked = asked.filter(|_| to.incarnation == self.me.incarnation)?;
        if latest {
            peer.answer_heard = Some(id);
        }
        if let (Some(span), true) = (granted, asked.term.is_some() && asked.term == self.term) {
            let until = Some(asked.at + span);
            if peer.support < until {
                (peer.support, peer.supported_for) = (until, span);
            }
        }
        // The first answer is the proof that the next heartbeat needs.
        let hurry =
            bare && latest && self.term.is_some() && !std::mem::replace(&mut peer.hurried, true);
        hurry.then(|| from.clone())
    }

    fn answer(
        &mut self,
        to: &NodeName,
        heartbeat: MessageId,
        term: Option<Term>,
        heard: Option<MessageId>,
        now: Moment,
        actions: &mut Vec<Action>,
    ) {
        let proof = self.settings.proof;
        let span = self.pace.span(&self.settings, now);
        let allowed = self.may_grant(to, term, now);
        let Some(peer) = self.peers.get_mut(to) else {
            return;
        };
        let heard = heard.filter(|heard| heard.incarnation == self.me.incarnation);
        let proven = heard
            .and_then(|heard| peer.answered_at(heard.serial))
            .is_some_and(|at| now.since(at) < proof);
        if proven {
            peer.contact_at = Some(now);
        }
        let granted = allowed && proven;
        if granted {
            let until = now + span + self.settings.slack;
            peer.promised_until = peer.promised_until.max(Some(until));
        }
        let granted = granted.then_some(span);
        let serial = self.send(
            to,
            Body::Answer {
                to: heartbeat,
                granted,
            },
            now,
            actions,
        );
        if let Some(peer) = self.peers.get_mut(to) {
            peer.remember_answer(serial, now);
        }
    }

    fn may_grant(&self, to: &NodeName, term: Option<Term>, now: Moment) -> bool {
        let Some(term) = term else { return false };
        let fenced = self.leases.as_ref().and_then(|leases| leases.get(to));
        let fenced = fenced.filter(|lease| lease.fenced).map(|lease| lease.term);
        self.is_up(now)
            && self.granters.contains(&self.me.node)
            && self.members.contains(to)
            && self.refused_by_me(to) < Some(term)
            && fenced < Some(term)
    }

    /// Sends a heartbeat to everyone whose answer or ear counts.
    pub(super) fn beat(&mut self, now: Moment, actions: &mut Vec<Action>) {
        self.next_beat = now + self.settings.heartbeat;
        let everyone = self.granters.contains(&self.me.node);
        let to = if everyone {
            &self.members
        } else {
            &self.granters
        };
        let to: Vec<_> = to
            .iter()
            .filter(|node| **node != self.me.node)
            .cloned()
            .collect();
        for node in to {
            if let Some(peer) = self.peers.get_mut(&node) {
                peer.hurried = false;
            }
            self.ask(&node, now, actions);
        }
        // Who is named by no record is of no interest for long.
        let (members, patience) = (&self.members, self.settings.patience);
        self.peers.retain(|node, peer| {
            let heard = peer.heard_at.unwrap_or(peer.known_since);
            members.contains(node) || now < heard + patience
        });
    }

    /// Sends a heartbeat.
    pub(super) fn ask(&mut self, to: &NodeName, now: Moment, actions: &mut Vec<Action>) {
        let heard = self.peers.get(to).and_then(|peer| peer.answer_heard);
        let serial = self.send(to, Body::Heartbeat { heard }, now, actions);
        let term = self.term;
        let peer = self
            .peers
            .entry(to.clone())
            .or_insert_with(|| Peer::new(now));
        peer.remember_asked(Asked {
            serial,
            at: now,
            term,
        });
    }

    /// Tells all members of verdicts that have changed.
    pub(super) fn send_news(&mut self, now: Moment, actions: &mut Vec<Action>) {
        let to: Vec<_> = self
            .members
            .iter()
            .filter(|node| **node != self.me.node)
            .cloned()
            .collect();
        for node in to {
            self.send(&node, Body::News, now, actions);
        }
    }

    fn send(
        &mut self,
        to: &NodeName,
        body: Body,
        now: Moment,
        actions: &mut Vec<Action>,
    ) -> Serial {
        self.serial = Serial(self.serial.0 + 1);
        let behind = self.peers.get(to).and_then(|peer| peer.epoch);
        let newest = self.newest.as_ref();
        let record = newest.filter(|newest| behind.is_some_and(|epoch| epoch < newest.epoch));
        let message = Message {
            from: self.me.node.clone(),
            id: MessageId {
                incarnation: self.me.incarnation,
                serial: self.serial,
            },
            epoch: self
                .durable
                .record
                .as_ref()
                .map_or(Epoch(0), |record| record.epoch),
            term: self.term,
            entitled: self.is_entitled(now),
            body,
            verdicts: self.verdicts.clone(),
            record: record.cloned(),
        };
        actions.push(Action::Send {
            to: to.clone(),
            message,
        });
        self.serial
    }
}
