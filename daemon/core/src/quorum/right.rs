//! Adds up what was granted: until when this node may answer.

use super::rule::Rule;
use super::{Action, Quorum};
use crate::election::{Moment, Term};

impl Quorum {
    /// Until when this node may answer, by every rule in force; nothing where it may not at all.
    pub(super) fn right(&self, now: Moment) -> Option<Moment> {
        self.right_by(&self.rules, now)
    }

    /// Until when this node might answer by `rules`.
    pub(super) fn right_by(&self, rules: &[Rule], now: Moment) -> Option<Moment> {
        let term = self.term?;
        let record = self.durable.record.as_ref()?;
        let member = super::rule::names(record, &self.me.node);
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

    /// Whether the term can gain no right any more; a minority's refusal counts once the right is lost.
    pub(super) fn is_refused(&self, now: Moment) -> bool {
        let Some(term) = self.term else { return false };
        let lapsed = self.lapsed.get(&self.me.node) >= Some(&term);
        let refuses = |node| {
            let peer = self.peers.get(node);
            peer.and_then(|peer| peer.refused.get(&self.me.node)) >= Some(&term)
        };
        self.refused_by_me(&self.me.node) >= Some(term)
            || lapsed
            || (!self.is_entitled(now) && self.granters.iter().any(refuses))
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
    pub(super) fn refused_by_me(&self, node: &crate::model::NodeName) -> Option<Term> {
        self.wanted.refused.get(node).copied()
    }
}
