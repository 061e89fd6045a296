//! The paces of the quorum and what has to be true of them.

use std::time::Duration;

use crate::election::Incarnation;
use crate::model::NodeName;

/// The quorum's times. Those between members must be the same on all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How often each granter is asked.
    pub heartbeat: Duration,
    /// How long a grant is good after the heartbeat it answers was sent, by the clock of the node that has it.
    pub span: Duration,
    /// How long it is good at least, where the lease store is slow.
    pub least_span: Duration,
    /// How long a grant and the write of a fence may take together: a write that takes longer than this less `span` shortens
    /// grants, down to `least_span`.
    pub grant_and_fence: Duration,
    /// How much longer a granter keeps its promise, by its own clock.
    pub slack: Duration,
    /// How old an answer may be that a heartbeat names as heard, for the heartbeat to be granted.
    pub proof: Duration,
    /// How long a record waits to be adopted by a node that would lose its right by it, how long a node may be without a
    /// term before that counts as silence, and how soon a failed write or reading is tried again.
    pub patience: Duration,
    /// How long a member's lease is fenced before the member is taken out of the record.
    pub forget_after: Duration,
    /// How long a node lease is good: the right by the ground lease.
    pub lease_duration: Duration,
    /// How much earlier than that a node falls silent by itself.
    pub lease_margin: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(50),
            span: Duration::from_millis(300),
            least_span: Duration::from_millis(200),
            grant_and_fence: Duration::from_millis(425),
            slack: Duration::from_millis(20),
            proof: Duration::from_millis(200),
            patience: Duration::from_secs(1),
            forget_after: Duration::from_secs(60),
            lease_duration: Duration::from_secs(3),
            lease_margin: Duration::from_millis(150),
        }
    }
}

/// Why the quorum's settings cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// A grant cannot be shortened to more than it is.
    #[error("quorum.least_span ({least:?}) must be at most quorum.span ({span:?})")]
    LeastSpanTooLong {
        /// The offending span.
        least: Duration,
        /// How long a grant is good.
        span: Duration,
    },
    /// A right would end between two heartbeats when one is lost.
    #[error(
        "quorum.heartbeat ({heartbeat:?}) must be more than zero and at most a third of quorum.least_span ({span:?})"
    )]
    HeartbeatOutOfRange {
        /// The offending pace.
        heartbeat: Duration,
        /// How long a grant is good at least.
        span: Duration,
    },
    /// Two clocks could drift apart by more than the slack.
    #[error("quorum.slack ({slack:?}) must be at least 2.1 % of quorum.span ({span:?})")]
    SlackTooSmall {
        /// The offending slack.
        slack: Duration,
        /// How long a grant is good.
        span: Duration,
    },
    /// Proof would be too old before the next heartbeat, or outlive the grant.
    #[error(
        "quorum.proof ({proof:?}) must be at least two of quorum.heartbeat ({heartbeat:?}) and at most quorum.least_span ({span:?})"
    )]
    ProofOutOfRange {
        /// The offending age.
        proof: Duration,
        /// The pace of heartbeats.
        heartbeat: Duration,
        /// How long a grant is good at least.
        span: Duration,
    },
    /// The node would answer when a peer may already have fenced it.
    #[error(
        "the lease's margin ({margin:?}) must be at least 2.1 % of l2.lease_duration ({duration:?}), and less than it"
    )]
    MarginOutOfRange {
        /// The offending margin.
        margin: Duration,
        /// The lease's duration.
        duration: Duration,
    },
}

impl Settings {
    /// How long a granter keeps its word at most: the span and the slack.
    #[must_use]
    pub fn promise(&self) -> Duration {
        self.span + self.slack
    }

    /// How old a peer's word may be to pass for its present one: three heartbeats.
    #[must_use]
    pub fn fresh(&self) -> Duration {
        self.heartbeat * 3
    }

    /// Checks the settings against each other.
    ///
    /// The slack covers two clocks whose rates are each off by 1 %: s / 0.99 <= (s + slack) / 1.01 needs slack >= 2.03 %
    /// of s; the lease's margin likewise.
    ///
    /// # Errors
    /// Names the setting that is out of bounds and the bound.
    pub fn validate(&self) -> Result<(), SettingsError> {
        let Self {
            heartbeat,
            span,
            least_span,
            slack,
            proof,
            ..
        } = *self;
        let (margin, duration) = (self.lease_margin, self.lease_duration);
        if least_span > span {
            let least = least_span;
            return Err(SettingsError::LeastSpanTooLong { least, span });
        }
        if heartbeat.is_zero() || heartbeat * 3 > least_span {
            let span = least_span;
            return Err(SettingsError::HeartbeatOutOfRange { heartbeat, span });
        }
        if slack * 1000 < span * 21 {
            return Err(SettingsError::SlackTooSmall { slack, span });
        }
        if proof < heartbeat * 2 || proof > least_span {
            return Err(SettingsError::ProofOutOfRange {
                proof,
                heartbeat,
                span: least_span,
            });
        }
        if margin * 1000 < duration * 21 || margin >= duration {
            return Err(SettingsError::MarginOutOfRange { margin, duration });
        }
        Ok(())
    }
}

/// Who this node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The node's name.
    pub node: NodeName,
    /// This process.
    pub incarnation: Incarnation,
}
