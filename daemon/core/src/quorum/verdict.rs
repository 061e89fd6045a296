//! Calls peers silent, and refuses the terms of those whom a majority calls so.

use super::Quorum;
use super::message::Verdict;
use crate::election::{Moment, Term};
use crate::model::NodeName;

impl Quorum {
    /// Looks at every member. Says whether a verdict has changed that the others should hear of at once.
    pub(super) fn judge(&mut self, now: Moment) -> bool {
        let mut changed = self.is_changed_on_disk();
        if !self.granters.contains(&self.me.node) {
            for peer in self.peers.values_mut() {
                changed |= std::mem::take(&mut peer.is_silent);
            }
            return changed;
        }
        if !self.is_up(now) {
            self.wake_at(self.started + self.settings.promise());
            return changed;
        }
        let span = self.pace.span(&self.settings, now);
        let (promise, patience) = (span + self.settings.slack, self.settings.patience);
        let mut silent = Vec::new();
        let mut wake = None;
        for node in &self.members {
            let refused = self.wanted.refused.get(node).copied();
            let Some(peer) = self.peers.get_mut(node) else {
                continue;
            };
            let from = peer.silent_from(refused, promise, patience);
            if now < from {
                wake = Some(wake.map_or(from, |wake: Moment| wake.min(from)));
            }
            changed |= peer.is_silent != (now >= from);
            peer.is_silent = now >= from;
            if peer.is_silent {
                silent.push(node.clone());
            }
        }
        if let Some(wake) = wake {
            self.wake_at(wake);
        }
        for node in silent {
            self.refuse(&node, now);
        }
        changed
    }

    /// Refuses the last term of a silent member, where a majority by every rule calls it silent.
    ///
    /// Without the store no fence can follow, and a refusal would only keep a member from coming back: then nobody is
    /// refused whom no peer refuses.
    fn refuse(&mut self, node: &NodeName, now: Moment) {
        let heard = self.peers.get(node).and_then(|peer| peer.greatest_term);
        let stated = self.stated_since.get(node);
        // A term that was begun just now is about to be heard of.
        let stated = stated.filter(|(_, since)| now >= *since + self.settings.patience);
        let Some(term) = heard.max(stated.map(|(term, _)| *term)) else {
            return;
        };
        if self.refused_by_me(node) >= Some(term) {
            return;
        }
        let voiced = |peer: &super::peer::Peer| peer.refused.get(node) >= Some(&term);
        if !self.store_readable && !self.peers.values().any(voiced) {
            return;
        }
        let mut quorums = self.rules.iter().filter(|rule| rule.is_quorum()).peekable();
        let voted = quorums.peek().is_some()
            && quorums.all(|rule| {
                rule.majority_is(|granter| self.is_silent_to(granter, node, term, now))
            });
        if voted {
            self.wanted.refused.insert(node.clone(), term);
        }
    }

    fn is_silent_to(&self, granter: &NodeName, node: &NodeName, term: Term, now: Moment) -> bool {
        if *granter == self.me.node {
            return self.peers.get(node).is_some_and(|peer| peer.is_silent);
        }
        let Some(peer) = self.peers.get(granter) else {
            return false;
        };
        let fresh = self.settings.fresh();
        let silent = peer.silent.contains(node) && peer.heard_at.is_some_and(|at| now < at + fresh);
        silent || peer.refused.get(node) >= Some(&term)
    }

    fn is_changed_on_disk(&self) -> bool {
        let told = self
            .verdicts
            .iter()
            .filter_map(|(node, verdict)| match verdict {
                Verdict::Refused(term) => Some((node, term)),
                Verdict::Silent => None,
            });
        !told.eq(self.durable.refused.iter())
    }

    /// What every message says from now on. Refusals are said only once they are on disk.
    pub(super) fn gather_verdicts(&mut self) {
        let refused = self.durable.refused.iter();
        let refused = refused.map(|(node, term)| (node.clone(), Verdict::Refused(*term)));
        let silent = self.peers.iter().filter(|(_, peer)| peer.is_silent);
        let silent = silent.map(|(node, _)| (node.clone(), Verdict::Silent));
        self.verdicts = refused.chain(silent).collect();
        self.news += 1;
    }

    /// Finds the terms that a majority of the granters refuses, by every quorum in force.
    pub(super) fn find_lapsed(&mut self) {
        let refused_by = |granter: &NodeName, node: &NodeName| {
            if *granter == self.me.node {
                return self.durable.refused.get(node).copied();
            }
            self.peers
                .get(granter)
                .and_then(|peer| peer.refused.get(node))
                .copied()
        };
        let mut lapsed = std::collections::BTreeMap::new();
        for node in &self.members {
            let quorums = self.rules.iter().filter(|rule| rule.is_quorum());
            let term = quorums.map(|rule| {
                rule.majority_has(|granter| refused_by(granter, node))
                    .flatten()
            });
            if let Some(term) = term.min().flatten() {
                lapsed.insert(node.clone(), term);
            }
        }
        self.news += u64::from(lapsed != self.lapsed);
        self.lapsed = lapsed;
    }

    /// Whether `node` is heard by a majority of the granters, where it and this node are none.
    pub(super) fn is_vouched_for(&self, node: &NodeName, now: Moment) -> bool {
        if self.granters.contains(node) || self.granters.contains(&self.me.node) {
            return false;
        }
        let fresh = self.settings.promise();
        let hears = |granter: &NodeName| {
            self.peers.get(granter).is_some_and(|peer| {
                peer.heard_at.is_some_and(|at| now < at + fresh) && !peer.silent.contains(node)
            })
        };
        self.rules.iter().all(|rule| rule.majority_is(hears))
    }
}
