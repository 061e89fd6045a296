//! Falling silent, and the way out: hand everything over, answer nothing, resign, end.

use super::claim::Claim;
use super::ground::Ground;
use super::message::Action;
use super::moment::Moment;
use super::{Election, Mode};

impl<G: Ground> Election<G> {
    pub(super) fn silence(&mut self, actions: &mut Vec<Action>) {
        if self.silencing {
            return;
        }
        self.silencing = true;
        self.ground.silenced();
        self.pushed = None;
        for claim in self.claims.values_mut() {
            claim.held = false;
            claim.stopping = false;
            claim.stopped = true;
            claim.offer = None;
        }
        self.stirred = true;
        actions.push(Action::Silence);
    }

    /// Whether, on the way out, nothing is answered any more and nothing is left to hand over.
    pub(super) fn silent_for_good(&self) -> bool {
        self.tenure.silent && !self.claims.values().any(Claim::is_busy)
    }

    pub(super) fn finish_stop(&mut self, now: Moment, actions: &mut Vec<Action>) {
        if self.mode != Mode::Stopping {
            return;
        }
        let mine = self
            .table
            .possessions()
            .any(|(_, found)| self.is_mine(found));
        if mine || self.claims.values().any(Claim::is_busy) {
            return;
        }
        let resigned = self
            .table
            .node(&self.me.node)
            .and_then(|seen| seen.record.as_ref());
        let resigned = resigned.is_none_or(|lease| {
            lease.fenced_by.is_some() || lease.incarnation != self.me.incarnation
        });
        if !self.tenure.silent {
            self.silence(actions);
        } else if resigned || self.tenure.term().is_none() {
            self.mode = Mode::Stopped;
            self.wake = None;
            actions.push(Action::Stopped);
        } else {
            self.tenure.hurry(now);
            self.wake_at(Some(now));
        }
    }
}
