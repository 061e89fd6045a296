//! From one record to the next, without a gap where that can be and without two rules apart ever.

use super::Quorum;
use super::peer::Peer;
use super::record::{MemberRecord, Members, granters_of};
use super::rule::{names, rules_of, shares_rule, sides};
use crate::election::Moment;

impl Quorum {
    /// Keeps the newest record.
    pub(super) fn see_record(&mut self, record: MemberRecord, now: Moment) {
        if self
            .newest
            .as_ref()
            .is_none_or(|newest| newest.epoch < record.epoch)
        {
            self.newest = Some(record);
            self.newest_since = now;
            self.take_rules(now);
        }
    }

    /// Goes on to the newest record when the time has come.
    ///
    /// A step to a joint record only adds a rule: it is taken when the node has a right by the new rule too, so that there
    /// is no gap. A step that drops a rule is taken while the node has a right by that rule as well. Otherwise its term may
    /// have been judged over by the rule that is dropped, by a peer whose fence is still under way; so the term is given up.
    pub(super) fn adopt(&mut self, now: Moment) {
        let Some(newest) = &self.newest else { return };
        if self.wanted.record != self.durable.record {
            return;
        }
        let Some(adopted) = &self.durable.record else {
            self.wanted.record = Some(newest.clone());
            self.take_rules(now);
            return;
        };
        if newest.epoch <= adopted.epoch {
            return;
        }
        let shares = shares_rule(adopted, newest);
        let drops = !shares || adopted.previous.is_some();
        // Where the record in force does not name the node, there is no right that rests on it.
        let named = names(adopted, &self.me.node);
        let nothing_to_lose = !named || (self.term.is_none() && self.wanted.verified.is_none());
        let known_silent = self.set.is_some() && !self.is_entitled(now);
        let gapless = shares
            && names(newest, &self.me.node)
            && self.right_by(&rules_of([adopted, newest]), now) > Some(now);
        let ready = gapless
            || nothing_to_lose
            || !shares
            || (known_silent && !drops)
            || now >= self.newest_since + self.settings.patience;
        if !ready {
            return;
        }
        if !gapless {
            // What the kernel was told by a predecessor may rest on fewer rules.
            self.silence = true;
            if drops
                && named
                && let Some(spent) = self.term.max(self.wanted.verified)
            {
                self.wanted.refused.insert(self.me.node.clone(), spent);
            }
        }
        self.wanted.record = Some(newest.clone());
        self.take_rules(now);
    }

    /// Takes the rules of the record in force, and of the one that is being stored; and who is named by any record.
    pub(super) fn take_rules(&mut self, now: Moment) {
        let in_force = [self.durable.record.as_ref(), self.wanted.record.as_ref()];
        self.rules = rules_of(in_force.into_iter().flatten());
        let known = in_force.into_iter().chain([self.newest.as_ref()]).flatten();
        let known: Vec<&Members> = known.flat_map(sides).collect();
        self.granters = known
            .iter()
            .flat_map(|members| granters_of(members))
            .collect();
        self.members = known.into_iter().flatten().cloned().collect();
        for node in &self.members {
            if *node != self.me.node && !self.peers.contains_key(node) {
                self.peers.insert(node.clone(), Peer::new(now));
            }
        }
        self.find_lapsed();
    }

    /// Notes that the record was read from the store within this term, once what was read is in force.
    pub(super) fn verify(&mut self) {
        let adopted = self.durable.record.as_ref().map(|record| record.epoch);
        if let Some((term, epoch)) = self.read_for
            && self.term == Some(term)
            && adopted >= Some(epoch)
        {
            self.wanted.verified = Some(term);
            self.read_for = None;
        }
    }
}
