//! One machine, and everything around it played by hand.

use std::time::Duration;

use super::cluster::name_of;
use crate::election::{Incarnation, Moment, Revision, Term};
use crate::model::NodeName;
use crate::quorum::message::{Body, Message, MessageId, Serial, Verdict};
use crate::quorum::record::{Epoch, MemberRecord, Members};
use crate::quorum::*;

pub(super) const START: Moment = Moment::from_boot(Duration::from_secs(1000));
pub(super) const EPOCH: Epoch = Epoch(7);
pub(super) const TERM: Term = Term(3);

pub(super) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A settled record of the first `count` nodes.
pub(super) fn settled(epoch: Epoch, count: usize) -> MemberRecord {
    let members = (0..count).map(name_of).collect();
    MemberRecord {
        epoch,
        members,
        previous: None,
    }
}

/// The record that goes from the first `before` nodes to the first `after`.
pub(super) fn joint(epoch: Epoch, before: usize, after: usize) -> MemberRecord {
    let previous: Members = (0..before).map(name_of).collect();
    MemberRecord {
        previous: Some(previous),
        ..settled(epoch, after)
    }
}

/// One machine: node 0 but where it says otherwise.
pub(super) struct Rig {
    pub(super) quorum: Quorum,
    pub(super) now: Moment,
    serial: u64,
}

impl Rig {
    /// Node 0 starts with `durable` on its disk.
    pub(super) fn new(durable: Option<Durable>) -> Self {
        Self::named(0, durable)
    }

    /// Another node starts with `durable` on its disk.
    pub(super) fn named(node: usize, durable: Option<Durable>) -> Self {
        let me = Identity {
            node: name_of(node),
            incarnation: Incarnation(1),
        };
        let quorum = Quorum::new(me, Settings::default(), durable, START);
        Self {
            quorum,
            now: START,
            serial: 0,
        }
    }

    /// Node 0 of `count` members has been up for a second, and has its term.
    pub(super) fn member(count: usize) -> Self {
        let durable = Durable {
            record: Some(settled(EPOCH, count)),
            verified: Some(TERM),
            ..Durable::default()
        };
        let mut rig = Self::new(Some(durable));
        rig.event(Event::Tenure(Some(TERM)));
        rig.pass(ms(1000));
        rig
    }

    pub(super) fn event(&mut self, event: Event) -> Vec<Action> {
        self.quorum.handle(event, self.now)
    }

    pub(super) fn pass(&mut self, span: Duration) -> Vec<Action> {
        self.now = self.now + span;
        self.event(Event::Tick)
    }

    /// A message of a peer of the same epoch.
    pub(super) fn message(&mut self, from: usize, body: Body) -> Message {
        self.serial += 1;
        Message {
            from: name_of(from),
            id: MessageId {
                incarnation: Incarnation(100 + from as u128),
                serial: Serial(self.serial),
            },
            epoch: EPOCH,
            term: Some(TERM),
            entitled: true,
            body,
            verdicts: Vec::new(),
            record: None,
        }
    }

    pub(super) fn receive(&mut self, from: usize, body: Body) -> Vec<Action> {
        let message = self.message(from, body);
        self.event(Event::Received(message))
    }

    /// A peer says what it thinks of others.
    pub(super) fn hear_verdicts(
        &mut self,
        from: usize,
        verdicts: Vec<(NodeName, Verdict)>,
    ) -> Vec<Action> {
        let message = Message {
            verdicts,
            ..self.message(from, Body::News)
        };
        self.event(Event::Received(message))
    }

    /// Two heartbeats of a peer, the second of which proves that it hears.
    pub(super) fn contact(&mut self, from: usize) -> Option<Duration> {
        let actions = self.receive(from, Body::Heartbeat { heard: None });
        let (id, _) = answer(&actions)?;
        let actions = self.receive(from, Body::Heartbeat { heard: Some(id) });
        answer(&actions)?.1
    }

    /// A heartbeat goes out, and each of `from` grants it.
    pub(super) fn be_granted(&mut self, from: &[usize], epoch: Epoch) -> Vec<Action> {
        let asked = self.pass(ms(50));
        let mut actions = asked.clone();
        for node in from {
            let to = heartbeat(&asked, *node);
            let body = Body::Answer {
                to,
                granted: Some(ms(300)),
            };
            let message = Message {
                epoch,
                ..self.message(*node, body)
            };
            actions.extend(self.event(Event::Received(message)));
        }
        actions
    }

    /// All that was asked to be stored is on disk.
    pub(super) fn on_disk(&mut self) -> Vec<Action> {
        self.event(Event::Stored { version: u64::MAX })
    }

    pub(super) fn deadline(&self) -> Option<Moment> {
        self.quorum.view(self.now).deadline()
    }

    /// What this node says of others from now on.
    pub(super) fn said(&mut self) -> Vec<(NodeName, Verdict)> {
        let actions = self.pass(ms(50));
        messages(&actions)
            .next()
            .map(|message| message.verdicts.clone())
            .unwrap_or_default()
    }

    /// Whether the last term of a peer is over, as the view has it.
    pub(super) fn lapse(&self, node: usize) -> Lapse {
        let lease = PeerLease {
            changed_at: self.now,
            ..lease(false)
        };
        self.quorum
            .view(self.now)
            .lapse(&name_of(node), &lease, self.now)
    }

    /// The store's record, as the watch tells it.
    pub(super) fn see(&mut self, revision: u64, record: MemberRecord) -> Vec<Action> {
        let revision = Some(Revision(revision));
        self.event(Event::Record {
            revision,
            record: Some(record),
        })
    }
}

pub(super) fn messages(actions: &[Action]) -> impl Iterator<Item = &Message> {
    actions.iter().filter_map(|action| match action {
        Action::Send { message, .. } => Some(message),
        _ => None,
    })
}

/// The answer among `actions`, and what it grants.
pub(super) fn answer(actions: &[Action]) -> Option<(MessageId, Option<Duration>)> {
    messages(actions).find_map(|message| match message.body {
        Body::Answer { granted, .. } => Some((message.id, granted)),
        _ => None,
    })
}

/// The heartbeat to `node` among `actions`.
///
/// # Panics
/// There is none.
pub(super) fn heartbeat(actions: &[Action], node: usize) -> MessageId {
    let found = actions.iter().find_map(|action| match action {
        Action::Send { to, message } if *to == name_of(node) => {
            matches!(message.body, Body::Heartbeat { .. }).then_some(message.id)
        }
        _ => None,
    });
    let Some(found) = found else {
        panic!("no heartbeat to {node} in {actions:?}")
    };
    found
}

/// The record that is to be written, and over which revision.
pub(super) fn written(actions: &[Action]) -> Option<(Option<Revision>, MemberRecord)> {
    actions.iter().find_map(|action| match action {
        Action::WriteRecord { expected, record } => Some((*expected, record.clone())),
        _ => None,
    })
}

/// What is to be stored.
pub(super) fn stored(actions: &[Action]) -> Option<Durable> {
    actions.iter().find_map(|action| match action {
        Action::Store { durable, .. } => Some(durable.clone()),
        _ => None,
    })
}

/// A lease of the usual term.
pub(super) fn lease(fenced: bool) -> PeerLease {
    PeerLease {
        term: TERM,
        fenced,
        changed_at: START,
        duration: ms(3000),
    }
}

/// The reading that is asked for.
pub(super) fn survey(actions: &[Action]) -> Option<u64> {
    actions.iter().find_map(|action| match action {
        Action::Survey { number } => Some(*number),
        _ => None,
    })
}
