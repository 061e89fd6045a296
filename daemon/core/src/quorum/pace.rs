//! How long the lease store takes to write, as this node's own renewals show, and what that leaves of a grant.
//!
//! A dead node's VIPs are answered again once its grants are over, its term is refused and a fence is in the store. Where the
//! store is slow the fence takes long, and less is granted, so that the whole stays within its bound.

use std::collections::VecDeque;
use std::time::Duration;

use super::Settings;
use crate::election::Moment;

/// So many renewals in a row have to be slow: one that met a busy thread, or whose answer was lost, says nothing of the store.
const RENEWALS: usize = 3;

/// The latest renewals.
#[derive(Clone, Debug, Default)]
pub(super) struct WritePace {
    /// When each was known to be done, and how long that took.
    renewals: VecDeque<(Moment, Duration)>,
}

impl WritePace {
    /// A renewal whose write began at `started` is known to be done.
    pub(super) fn note(&mut self, started: Moment, now: Moment) {
        if self.renewals.len() == RENEWALS {
            self.renewals.pop_front();
        }
        self.renewals.push_back((now, now.since(started)));
    }

    /// How long a write takes at least; nothing where that is not known, or no longer: a store that is away fences nobody.
    fn takes(&self, settings: &Settings, now: Moment) -> Option<Duration> {
        let (last, _) = self.renewals.back()?;
        let known = self.renewals.len() == RENEWALS && now < *last + settings.lease_duration;
        let least = self.renewals.iter().map(|(_, took)| *took).min();
        least.filter(|_| known)
    }

    /// For how long a grant is given now.
    pub(super) fn span(&self, settings: &Settings, now: Moment) -> Duration {
        let takes = self.takes(settings, now).unwrap_or_default();
        let left = settings.grant_and_fence.saturating_sub(takes);
        left.clamp(settings.least_span, settings.span)
    }
}
