//! What one node knows of another: what it heard, what it promised, and what it was promised.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::message::{Message, MessageId, Serial, Verdict};
use super::record::{Epoch, Members};
use crate::election::{Incarnation, Moment, Term};
use crate::model::NodeName;

/// How many processes of a peer are remembered, so that their late messages are not taken for news.
const PROCESSES: usize = 8;
/// How many messages are remembered until they are answered; at 20 a second that is long past every use.
const REMEMBERED: usize = 32;

/// A heartbeat under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) serial: Serial,
    pub(super) at: Moment,
    pub(super) term: Option<Term>,
}

/// A peer.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    /// Since when it is of interest.
    pub(super) known_since: Moment,
    incarnation: Option<Incarnation>,
    /// The processes heard of, and the last message of each.
    processes: VecDeque<(Incarnation, Serial)>,
    pub(super) heard_at: Option<Moment>,
    /// The record it said to have adopted last, and the latest it ever said.
    pub(super) epoch: Option<Epoch>,
    pub(super) greatest_epoch: Option<Epoch>,
    pub(super) term: Option<Term>,
    pub(super) greatest_term: Option<Term>,
    pub(super) tenureless_since: Option<Moment>,
    pub(super) entitled: bool,
    /// Whom it calls silent, and when it was heard to.
    pub(super) silent: Members,
    pub(super) refused: BTreeMap<NodeName, Term>,

    /// This node's word as a granter runs until then.
    pub(super) promised_until: Option<Moment>,
    /// When a heartbeat came with proof that the peer hears this node.
    pub(super) contact_at: Option<Moment>,
    pub(super) answers: VecDeque<(Serial, Moment)>,
    /// This node calls it silent.
    pub(super) is_silent: bool,

    pub(super) asked: VecDeque<Asked>,
    pub(super) answer_heard: Option<MessageId>,
    /// The peer's grant is good until then.
    pub(super) support: Option<Moment>,
    /// How long that grant was good when its heartbeat was sent.
    pub(super) supported_for: Duration,
    /// The next heartbeat was sent early already.
    pub(super) hurried: bool,
}

impl Peer {
    pub(super) fn new(now: Moment) -> Self {
        Self {
            known_since: now,
            incarnation: None,
            processes: VecDeque::new(),
            heard_at: None,
            epoch: None,
            greatest_epoch: None,
            term: None,
            greatest_term: None,
            tenureless_since: None,
            entitled: false,
            silent: Members::new(),
            refused: BTreeMap::new(),
            promised_until: None,
            contact_at: None,
            answers: VecDeque::new(),
            is_silent: false,
            asked: VecDeque::new(),
            answer_heard: None,
            support: None,
            supported_for: Duration::ZERO,
            hurried: false,
        }
    }

    /// Takes in all but the body. Says whether the message is the latest of the peer, and whether a refusal is new.
    pub(super) fn hear(&mut self, message: &Message, now: Moment) -> (bool, bool) {
        let mut refused = false;
        // True whenever it was said, and on the peer's disk before.
        for (node, verdict) in &message.verdicts {
            if let Verdict::Refused(term) = verdict {
                let known = self.refused.get(node).copied();
                if known < Some(*term) {
                    self.refused.insert(node.clone(), *term);
                    refused = true;
                }
            }
        }
        self.greatest_epoch = self.greatest_epoch.max(Some(message.epoch));
        self.greatest_term = self.greatest_term.max(message.term);
        if !self.is_latest(message.id) {
            return (false, refused);
        }
        self.heard_at = Some(now);
        self.epoch = Some(message.epoch);
        self.term = message.term;
        self.tenureless_since = match message.term {
            Some(_) => None,
            None => self.tenureless_since.or(Some(now)),
        };
        self.entitled = message.entitled;
        self.silent.clear();
        for (node, verdict) in &message.verdicts {
            if *verdict == Verdict::Silent {
                self.silent.insert(node.clone());
            }
        }
        (true, refused)
    }

    /// Whether nothing later of that process was heard. A recorded message of an earlier process passes once, and the
    /// present one's next sets that right: none is ever shut out for good.
    fn is_latest(&mut self, id: MessageId) -> bool {
        let known = self
            .processes
            .iter_mut()
            .find(|(process, _)| *process == id.incarnation);
        match known {
            Some((_, serial)) if id.serial <= *serial => return false,
            Some((_, serial)) => *serial = id.serial,
            None => {
                if self.processes.len() == PROCESSES {
                    self.processes.pop_front();
                }
                self.processes.push_back((id.incarnation, id.serial));
            }
        }
        if self.incarnation.replace(id.incarnation) != Some(id.incarnation) {
            self.answer_heard = None;
        }
        true
    }

    pub(super) fn remember_asked(&mut self, asked: Asked) {
        if self.asked.len() == REMEMBERED {
            self.asked.pop_front();
        }
        self.asked.push_back(asked);
    }

    pub(super) fn remember_answer(&mut self, serial: Serial, now: Moment) {
        if self.answers.len() == REMEMBERED {
            self.answers.pop_front();
        }
        self.answers.push_back((serial, now));
    }

    /// When the answer was sent.
    pub(super) fn answered_at(&self, serial: Serial) -> Option<Moment> {
        let found = self.answers.iter().rev().find(|(sent, _)| *sent == serial);
        found.map(|(_, at)| *at)
    }

    /// Until when the peer counts as heard: by what it was promised, or by proof of contact or for being new, for as long as a
    /// `promise` made now would hold.
    pub(super) fn silent_from(
        &self,
        refused: Option<Term>,
        promise: Duration,
        patience: Duration,
    ) -> Moment {
        let promised = self.promised_until.unwrap_or_default();
        let contact = self
            .contact_at
            .map_or_else(Moment::default, |at| at + promise);
        let contact = match (self.term, self.tenureless_since) {
            (Some(term), _) if Some(term) > refused => contact,
            (None, Some(since)) => contact.min(since + patience),
            _ => Moment::default(),
        };
        promised.max(contact).max(self.known_since + promise)
    }
}
