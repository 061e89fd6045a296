//! Writes records: joins, leaves, settles what is joint, takes out who is gone, restores what was deleted.

use std::time::Duration;

use super::record::{Epoch, MemberRecord, Members};
use super::rule::names;
use super::{Action, Leases, Quorum, Survey};
use crate::election::rendezvous::ranked;
use crate::election::{Moment, Revision};

/// The record as last seen in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum InStore {
    /// Not seen yet.
    Unseen,
    /// There is none.
    Absent,
    /// There is one that cannot be read.
    Unreadable(Revision),
    /// This one.
    There(Revision, MemberRecord),
}

/// A write that should be made, and since when.
#[derive(Clone, Debug)]
pub(super) struct Intent {
    expected: Option<Revision>,
    record: MemberRecord,
    since: Moment,
}

impl Quorum {
    pub(super) fn see_store(
        &mut self,
        revision: Option<Revision>,
        record: Option<MemberRecord>,
        now: Moment,
    ) {
        self.in_store = match (revision, record) {
            (None, _) => InStore::Absent,
            (Some(revision), None) => InStore::Unreadable(revision),
            (Some(revision), Some(record)) => {
                self.see_record(record.clone(), now);
                InStore::There(revision, record)
            }
        };
    }

    pub(super) fn conflict(
        &mut self,
        revision: Option<Revision>,
        record: Option<MemberRecord>,
        now: Moment,
    ) {
        self.writing = None;
        self.write_after = now + self.settings.heartbeat * self.rank();
        self.see_store(revision, record, now);
    }

    pub(super) fn written(&mut self, revision: Revision, now: Moment) {
        if let Some(record) = self.writing.take() {
            self.see_record(record.clone(), now);
            self.in_store = InStore::There(revision, record);
        }
    }

    pub(super) fn see_leases(&mut self, leases: Leases, now: Moment) {
        for (node, lease) in &leases {
            let stated = self
                .stated_since
                .entry(node.clone())
                .or_insert((lease.term, now));
            if stated.0 != lease.term {
                *stated = (lease.term, now);
            }
        }
        for node in &self.members {
            if leases.get(node).is_some_and(|lease| !lease.fenced) {
                self.gone_since.remove(node);
            } else {
                self.gone_since.entry(node.clone()).or_insert(now);
            }
        }
        self.leases = Some(leases);
    }

    pub(super) fn surveyed(
        &mut self,
        number: u64,
        (revision, record): (Option<Revision>, Option<MemberRecord>),
        leases: Leases,
        now: Moment,
    ) {
        let Some(survey) = self.survey.filter(|survey| survey.number == number) else {
            return;
        };
        let readable = record.is_some() || revision.is_none();
        let epoch = record.as_ref().map_or(Epoch(0), |record| record.epoch);
        if let Some(record) = record {
            self.see_record(record, now);
        }
        self.survey = None;
        if let (Some(term), true) = (survey.term, readable) {
            self.read_for = Some((term, epoch));
        }
        if let Some(epoch) = survey.epoch {
            let gone = |node: &&_| leases.get(*node).is_none_or(|lease| lease.fenced);
            self.found_gone = Some((epoch, self.members.iter().filter(gone).cloned().collect()));
        }
        self.see_leases(leases, now);
    }

    /// Writes and reads what has to be, and says when the node is out.
    pub(super) fn change(&mut self, now: Moment, actions: &mut Vec<Action>) {
        self.read(now, actions);
        if self.leaving && !self.left && self.writing.is_none() && self.is_out() {
            self.left = true;
            actions.push(Action::Left);
        }
        if self.writing.is_some() || self.left {
            return;
        }
        let Some((expected, record, wait)) = self.next_record(now) else {
            self.intent = None;
            return;
        };
        let same = self
            .intent
            .as_ref()
            .filter(|intent| intent.expected == expected && intent.record == record);
        let since = same.map_or(now, |intent| intent.since);
        self.intent = Some(Intent {
            expected,
            record,
            since,
        });
        let at = self.write_after.max(since + wait);
        if now < at {
            self.wake_at(at);
            return;
        }
        if let Some(Intent {
            expected, record, ..
        }) = self.intent.take()
        {
            self.writing = Some(record.clone());
            actions.push(Action::WriteRecord { expected, record });
        }
    }

    /// The record that this node should write, over which revision, and how long to let others go first.
    fn next_record(&self, now: Moment) -> Option<(Option<Revision>, MemberRecord, Duration)> {
        // Every event comes by here: what most do not need is not worked out.
        let turn = || self.settings.heartbeat * 2 * self.rank();
        let (revision, there) = match &self.in_store {
            InStore::Unseen => return None,
            InStore::Absent if self.newest.is_none() => {
                let first = MemberRecord {
                    epoch: Epoch(1),
                    members: [self.me.node.clone()].into(),
                    previous: None,
                };
                return (self.term.is_some() && !self.leaving).then(|| (None, first, turn()));
            }
            InStore::Absent => (None, None),
            InStore::Unreadable(revision) => (Some(*revision), None),
            InStore::There(revision, record) => (Some(*revision), Some(record)),
        };
        let newest = self.newest.as_ref()?;
        let adopted = self.durable.record.as_ref();
        if there.is_none_or(|there| there.epoch < newest.epoch) {
            // The watch may be late; what is written over was seen, so that nothing newer is lost.
            let restores = adopted == Some(newest) && self.is_entitled(now);
            return restores.then(|| (revision, newest.clone(), turn() + self.settings.patience));
        }
        let next = |members: Members, previous| MemberRecord {
            epoch: newest.epoch.next(),
            members,
            previous,
        };
        let me = &self.me.node;
        if newest.previous.is_some() {
            let settles = adopted == Some(newest)
                && names(newest, me)
                && (self.term.is_some() || self.leaving);
            let settled = || (revision, next(newest.members.clone(), None), turn());
            return (settles && self.all_have_adopted(newest)).then(settled);
        }
        let (leaver, wait) = match (self.leaving, newest.members.contains(me)) {
            (true, false) => return None,
            (true, true) => (Some(me), Duration::ZERO),
            (false, false) => {
                self.term?;
                (None, Duration::ZERO)
            }
            (false, true) => {
                let mut others = newest.members.iter().filter(|node| *node != me);
                let forgotten = others.find(|node| self.is_forgotten(node, now))?;
                if adopted != Some(newest) || !self.is_entitled(now) {
                    return None;
                }
                (Some(forgotten), turn())
            }
        };
        let mut members = newest.members.clone();
        match leaver {
            Some(node) => members.remove(node),
            None => members.insert(me.clone()),
        };
        let record = next(members, Some(newest.members.clone()));
        Some((revision, record, wait))
    }

    fn is_forgotten(&self, node: &crate::model::NodeName, now: Moment) -> bool {
        let since = self.gone_since.get(node);
        since.is_some_and(|since| now >= *since + self.settings.forget_after)
    }

    /// Whether everyone that `joint` names has adopted it, or cannot have a right before having read it.
    fn all_have_adopted(&self, joint: &MemberRecord) -> bool {
        let found = self
            .found_gone
            .as_ref()
            .filter(|(epoch, _)| *epoch == joint.epoch);
        self.lagging(joint)
            .all(|node| found.is_some_and(|(_, gone)| gone.contains(node)))
    }

    fn lagging(&self, joint: &MemberRecord) -> impl Iterator<Item = &crate::model::NodeName> {
        let epoch = joint.epoch;
        self.members.iter().filter(move |node| {
            let heard = self.peers.get(*node).and_then(|peer| peer.greatest_epoch);
            **node != self.me.node && heard < Some(epoch)
        })
    }

    /// Reads the store afresh: for a new term, and where a joint record waits for nodes whose leases seem fenced.
    fn read(&mut self, now: Moment, actions: &mut Vec<Action>) {
        let reading = |for_term, for_epoch| {
            self.survey.is_some_and(|survey| {
                now < survey.at + self.settings.patience
                    && survey.term >= for_term
                    && survey.epoch >= for_epoch
            })
        };
        let unread =
            self.wanted.verified != self.term && self.read_for.map(|(term, _)| term) != self.term;
        let term = self.term.filter(|_| unread);
        let joint = self.durable.record.as_ref().filter(|record| {
            record.previous.is_some()
                && self.newest.as_ref() == Some(record)
                && names(record, &self.me.node)
        });
        let epoch = joint.filter(|joint| now >= self.survey_after && self.waits_for_gone(joint));
        let epoch = epoch.map(|joint| joint.epoch);
        if (term.is_none() && epoch.is_none()) || reading(term, epoch) {
            return;
        }
        self.surveys += 1;
        let number = self.surveys;
        self.survey_after = now + self.settings.patience;
        self.survey = Some(Survey {
            number,
            at: now,
            term,
            epoch,
        });
        actions.push(Action::Survey { number });
    }

    /// Whether only such nodes have not adopted `joint` whose leases look fenced or gone, and that is not certain yet.
    fn waits_for_gone(&self, joint: &MemberRecord) -> bool {
        let Some(leases) = &self.leases else {
            return false;
        };
        let gone = |node: &_| leases.get(node).is_none_or(|lease| lease.fenced);
        !self.all_have_adopted(joint) && self.lagging(joint).all(gone)
    }

    fn is_out(&self) -> bool {
        let known = [self.durable.record.as_ref(), self.newest.as_ref()];
        !known
            .into_iter()
            .flatten()
            .any(|record| names(record, &self.me.node))
    }

    /// This node's place in the order of who goes first.
    fn rank(&self) -> u32 {
        let order = ranked("landfall-members", &self.members);
        let place = order.iter().position(|node| **node == self.me.node);
        u32::try_from(place.unwrap_or(order.len())).unwrap_or(u32::MAX)
    }
}
