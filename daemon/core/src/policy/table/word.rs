//! Values of `verdicts`.

use crate::model::RuleAction;
use crate::policy::decision::Verdict;

/// What one tier says: a rule's rank within its set, and its action in the two lowest bits. The lower one of two words is that of
/// the rule that goes first, so what two lookups found is joined by taking the lesser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TierWord(pub u32);

impl TierWord {
    /// No rule matches.
    pub const NONE: Self = Self(u32::MAX);

    pub(in crate::policy) fn new(rank: u32, action: RuleAction) -> Self {
        let action = match action {
            RuleAction::Accept => 0,
            RuleAction::Deny => 1,
            RuleAction::Pass => 2,
        };
        Self(rank << 2 | action)
    }

    fn ranked(self, rank: u32) -> Self {
        match self {
            Self::NONE => self,
            Self(word) => Self(rank << 2 | word & 3),
        }
    }

    /// The rule's place among the set's rules.
    pub fn rank(self) -> u32 {
        self.0 >> 2
    }

    /// What it decides for good, if it does.
    pub fn verdict(self) -> Option<Verdict> {
        match (self, self.0 & 3) {
            (Self::NONE, _) => None,
            (_, 0) => Some(Verdict::Accept),
            (_, 1) => Some(Verdict::Deny),
            _ => None,
        }
    }
}

/// The words of the three tiers; 12 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Words {
    /// Of the Admin tier.
    pub admin: TierWord,
    /// Of NetworkPolicies, which only accept.
    pub network_policy: TierWord,
    /// Of the Baseline tier.
    pub baseline: TierWord,
}

impl Words {
    /// No rule matches.
    pub const NONE: Self = Self {
        admin: TierWord::NONE,
        network_policy: TierWord::NONE,
        baseline: TierWord::NONE,
    };

    /// The words of the same action at this rank.
    pub(in crate::policy) fn ranked(self, rank: u32) -> Self {
        Self {
            admin: self.admin.ranked(rank),
            network_policy: self.network_policy.ranked(rank),
            baseline: self.baseline.ranked(rank),
        }
    }

    /// What both say together.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        Self {
            admin: self.admin.min(other.admin),
            network_policy: self.network_policy.min(other.network_policy),
            baseline: self.baseline.min(other.baseline),
        }
    }
}
