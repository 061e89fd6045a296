//! Adds up what was granted: until when this node may answer.

use super::rule::{Rule, names};
use super::{Action, Quorum};
use crate::election::{Moment, Term};
use crate::model::NodeName;

impl Quorum {
    /// Until when this node may answer, by every rule in force; nothing where it may not at all.
    pub(super) fn right(&self, now: Moment) -> Option<Moment> {
        self.right_by(&self.rules, now)
    }

    /// Until when this node might answer by `rules`.
    pub(super) fn right_by(&self, rules: &[Rule], now: Moment) -> Option<Moment> {
        let term = self.term?;
        let record = self.durable.record.as_ref()?;
        let member = names(record, &self.me.node);
        let verified = self.durable.verified == Some(term);
        if !member || !verified || self.refused_by_me(&self.me.node) >= Some(term) {
            return None;
        }
        let deadlines = rules.iter().map(|rule| self.deadline_by(rule, now));
        deadlines.min().flatten()
    }

    fn deadline_by(&self, rule: &Rule, now: Moment) -> Option<Moment> {
        if !rule.is_quorum() {
            let good_for = self
                .settings
                .lease_duration
                .saturating_sub(self.settings.lease_margin);
            return self.renewed.map(|started| started + good_for);
        }
        let own = self.is_up(now).then(|| now + self.settings.span);
        let support = |node: &_| match self.peers.get(node) {
            _ if *node == self.me.node => own,
            peer => peer.and_then(|peer| peer.support),
        };
        rule.majority_has(support).flatten()
    }

    pub(super) fn is_entitled(&self, now: Moment) -> bool {
        self.right(now).is_some_and(|deadline| now < deadline)
    }

    /// Whether the node should begin another term: this one can gain no right any more, or it lost it where some refuse
    /// it, or for a while now it could not do without any one of those that still grant, or it has been without a right
    /// where some refuse it.
    pub(super) fn is_refused(&self, now: Moment) -> bool {
        let Some(term) = self.term else { return false };
        let brittle = self
            .brittle_since
            .is_some_and(|since| now >= since + self.settings.patience || !self.is_entitled(now));
        // Who would grant has granted by then.
        let starved = self
            .starved_since
            .is_some_and(|since| now >= since + self.settings.promise());
        brittle
            || starved
            || self.refused_by_me(&self.me.node) >= Some(term)
            || self.lapsed.get(&self.me.node) >= Some(&term)
    }

    /// Notes since when refusals of the node's term have left it no granter to spare, or matter as others are gone.
    pub(super) fn notice_brittle(&mut self, now: Moment) {
        let term = self.term;
        let refuses = |node: &NodeName| {
            let peer = self.peers.get(node);
            let refused = peer
                .and_then(|peer| peer.refused.get(&self.me.node))
                .copied();
            term.is_some() && refused >= term
        };
        let (mut brittle, mut starved) = (false, false);
        for rule in self.rules.iter().filter(|rule| rule.is_quorum()) {
            let refusing = rule.granters.iter().filter(|node| refuses(node)).count();
            let spare = rule.granters.len() - refusing > rule.majority();
            brittle |= refusing > 0 && !spare;
            starved |= refusing > 0 && self.deadline_by(rule, now) <= Some(now);
        }
        self.brittle_since = self.brittle_since.or(Some(now)).filter(|_| brittle);
        self.starved_since = self.starved_since.or(Some(now)).filter(|_| starved);
    }

    /// Hands the deadline to the kernel where it changed.
    pub(super) fn lead_with_deadline(&mut self, now: Moment, actions: &mut Vec<Action>) {
        let until = self.right(now).filter(|deadline| now < *deadline);
        let silence = std::mem::take(&mut self.silence);
        let Some(term) = self.term.or(self.wanted.verified) else {
            return;
        };
        let set = self.set.is_some_and(|(_, until)| until.is_some());
        // A process that has just started knows nothing of its predecessor's deadline, and leaves it.
        let news = until.is_some() || silence || (set && self.is_cut_short(now));
        if news && self.set != Some((term, until)) {
            self.set = Some((term, until));
            actions.push(Action::SetDeadline { term, until });
        }
    }

    /// Whether the deadline set lies in the future.
    fn is_cut_short(&self, now: Moment) -> bool {
        self.set
            .and_then(|(_, until)| until)
            .is_some_and(|until| now < until)
    }

    /// The last term of a node that this one refuses, on disk or not yet.
    pub(super) fn refused_by_me(&self, node: &NodeName) -> Option<Term> {
        self.wanted.refused.get(node).copied()
    }
}
