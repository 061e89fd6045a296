//! The words in which a verdict is given.

use std::fmt;
use std::sync::Arc;

use crate::model::{ObjectName, Protocol};

/// What a packet carries, as far as policies look at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// A protocol with ports, and the destination's port.
    Port(Protocol, u16),
    /// ICMP and all else. Only rules that name no ports match it.
    Other,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(protocol, port) => write!(f, "{port}/{protocol}"),
            Self::Other => f.write_str("other protocols"),
        }
    }
}

/// Whether a connection may be begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// It may.
    Accept,
    /// It may not: its packets are dropped.
    Deny,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Accept => "accept",
            Self::Deny => "deny",
        })
    }
}

/// A policy by tier and name. Ordered as tiers are asked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PolicyRef {
    /// A ClusterNetworkPolicy of the Admin tier.
    Admin(Arc<str>),
    /// A NetworkPolicy.
    NetworkPolicy(ObjectName),
    /// A ClusterNetworkPolicy of the Baseline tier.
    Baseline(Arc<str>),
}

impl fmt::Display for PolicyRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Admin(name) => write!(f, "ClusterNetworkPolicy {name} (Admin)"),
            Self::NetworkPolicy(name) => write!(f, "NetworkPolicy {name}"),
            Self::Baseline(name) => write!(f, "ClusterNetworkPolicy {name} (Baseline)"),
        }
    }
}

/// One rule of a policy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleRef {
    /// Its policy.
    pub policy: PolicyRef,
    /// Its place in the policy's list for the direction, from 0.
    pub rule: usize,
    /// Its name, where it has one.
    pub name: Option<Arc<str>>,
}

impl fmt::Display for RuleRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, rule {}", self.policy, self.rule)?;
        match &self.name {
            Some(name) => write!(f, " ({name})"),
            None => Ok(()),
        }
    }
}

/// What decided.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Decider {
    /// Nothing applies to the pod in this direction, or nothing that applies matched and no NetworkPolicy isolates it.
    Default,
    /// A pod is never kept from itself.
    Itself,
    /// The node that a pod runs on is not kept from it.
    OwnNode,
    /// This rule. Of several rules of NetworkPolicies that accept, any one.
    Rule(RuleRef),
    /// NetworkPolicies isolate the pod, and no rule of theirs matched.
    Isolation,
}

impl fmt::Display for Decider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("no policy"),
            Self::Itself => f.write_str("a pod and itself"),
            Self::OwnNode => f.write_str("a pod and its node"),
            Self::Rule(rule) => rule.fmt(f),
            Self::Isolation => f.write_str("isolated by NetworkPolicies, and no rule matches"),
        }
    }
}

/// A verdict and what decided it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Decision {
    /// The verdict.
    pub verdict: Verdict,
    /// What decided it.
    pub by: Decider,
}

impl Decision {
    pub(super) fn accept(by: Decider) -> Self {
        Self {
            verdict: Verdict::Accept,
            by,
        }
    }

    pub(super) fn deny(by: Decider) -> Self {
        Self {
            verdict: Verdict::Deny,
            by,
        }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.verdict, self.by)
    }
}
