//! The election's settings and what has to be true of them.

use std::time::Duration;

use super::record::{BootId, Incarnation, Term};
use crate::model::NodeName;

/// Lease times, named as in Cilium, and the paces derived from them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long a node lease is good after its renewal began.
    pub lease_duration: Duration,
    /// How often the node lease is renewed, and within what time a write must be answered.
    pub lease_renew_deadline: Duration,
    /// How soon a failed write is tried again.
    pub lease_retry_period: Duration,
    /// The least time between two hand-overs that only serve an even share.
    pub rebalance_pause: Duration,
    /// How long a node that was lost has to be back before VIPs are handed to it for an even share.
    pub return_pause: Duration,
    /// How long a node keeps telling where its VIPs went after that was recorded. Only a node whose view of
    /// the store was complete within half of this time ends another's term.
    pub memory: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lease_duration: Duration::from_secs(3),
            lease_renew_deadline: Duration::from_secs(1),
            lease_retry_period: Duration::from_millis(200),
            rebalance_pause: Duration::from_secs(3),
            return_pause: Duration::from_secs(30),
            memory: Duration::from_secs(60),
        }
    }
}

/// Why lease settings cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The node would fall silent between two renewals.
    #[error(
        "l2.lease_renew_deadline ({renew:?}) must be at most half of l2.lease_duration ({duration:?})"
    )]
    RenewTooSlow {
        /// The offending renewal deadline.
        renew: Duration,
        /// The lease's duration.
        duration: Duration,
    },
    /// A failed renewal would not be tried again in time.
    #[error(
        "l2.lease_retry_period ({retry:?}) must be more than zero and at most l2.lease_renew_deadline ({renew:?})"
    )]
    RetryOutOfRange {
        /// The offending retry period.
        retry: Duration,
        /// The renewal deadline.
        renew: Duration,
    },
    /// Leases this short cannot be renewed over a network with certainty.
    #[error("l2.lease_duration ({0:?}) must be at least 500 ms")]
    TooShort(Duration),
}

impl Settings {
    /// The safety margin by which a node falls silent before its lease is over.
    ///
    /// A peer counts `lease_duration` from when it saw the renewal, the node from when it began to write
    /// it, on clocks whose rates may each be off by 1%: (d - m) / 0.99 <= d / 1.01 needs m >= 2% of d.
    /// The margin is 5%, which leaves 3% of d (90 ms of 3 s) for a coarse clock in the kernel program.
    #[must_use]
    pub fn margin(&self) -> Duration {
        self.lease_duration / 20
    }

    /// How old a view of the store may be for a fence to be written by it; see `election::contest::fence`.
    #[must_use]
    pub fn view_good_for(&self) -> Duration {
        self.memory / 2
    }

    /// Checks the settings against each other.
    ///
    /// # Errors
    /// Names the setting that is out of bounds and the bound.
    pub fn validate(&self) -> Result<(), SettingsError> {
        let (duration, renew, retry) = (
            self.lease_duration,
            self.lease_renew_deadline,
            self.lease_retry_period,
        );
        if duration < Duration::from_millis(500) {
            return Err(SettingsError::TooShort(duration));
        }
        if renew * 2 > duration {
            return Err(SettingsError::RenewTooSlow { renew, duration });
        }
        if retry.is_zero() || retry > renew {
            return Err(SettingsError::RetryOutOfRange { retry, renew });
        }
        Ok(())
    }
}

/// Who this agent is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The node's name.
    pub node: NodeName,
    /// This process.
    pub incarnation: Incarnation,
    /// The kernel it runs on.
    pub boot: BootId,
    /// A term that is surely greater than any this node has had (seconds since the Unix epoch will do).
    /// Used only where the node's lease is gone from the store, deleted by hand or never there.
    pub first_term: Term,
}
