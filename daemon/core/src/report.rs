//! What people are told of a plan: rows for the command line, the admin socket and metrics.
//!
//! Fed by [`plan::status`](crate::plan::status). The field names are what `-o json|yaml` prints: they may grow
//! in number and do not change.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// A Service of ours, or one with external addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceReport {
    /// `namespace/name`.
    pub name: String,
    /// Its LoadBalancer addresses with the pool each is of.
    pub addresses: Vec<AddressReport>,
    /// `spec.externalIPs` that go with a lease.
    pub external_ips: Vec<IpAddr>,
    /// Condition `IPAMRequestSatisfied`; absent where the Service asks for no address.
    pub condition: Option<ConditionReport>,
}

/// An assigned address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressReport {
    /// The address.
    pub address: IpAddr,
    /// The pool it is of.
    pub pool: String,
}

/// A condition as Kubernetes has them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConditionReport {
    /// Such as `IPAMRequestSatisfied`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it holds.
    pub status: bool,
    /// One of Cilium's reasons, `reserved_address` or `pending`.
    pub reason: String,
    /// Sentences for a person; empty where nothing is missing.
    pub message: String,
}

/// A pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolReport {
    /// Its name.
    pub name: String,
    /// Its blocks as written.
    pub blocks: Vec<String>,
    /// It gives no new addresses by its owner's will.
    pub disabled: bool,
    /// The older pool it overlaps, for which reason it gives no new addresses.
    pub conflicts_with: Option<String>,
    /// Addresses that may be handed out in principle; a decimal number as text, for it may exceed 2^64.
    pub total: String,
    /// Addresses that Services have; a shared one counts once.
    pub used: u64,
    /// Addresses that are nodes' own, as text.
    pub reserved: String,
    /// Addresses left, as text.
    pub free: String,
}

/// A VIP: the addresses of one lease, as this node sees them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VipReport {
    /// Its lease.
    pub lease: String,
    /// The Services that have any of the addresses, the oldest first.
    pub services: Vec<String>,
    /// Its addresses, and by which of this node's interfaces each would be announced.
    pub interfaces: BTreeMap<IpAddr, Vec<String>>,
    /// Its addresses that this node cannot announce, and why.
    pub hindrances: BTreeMap<IpAddr, String>,
    /// Nodes that may contend for the lease.
    pub candidates: Vec<String>,
}

/// Figures for a glance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// LoadBalancer Services that are ours.
    pub ours: u64,
    /// Those with all the addresses they need.
    pub satisfied: u64,
    /// Frontends: address, port and protocol.
    pub frontends: u64,
    /// Backends of all frontends that take connections, each counted once a frontend.
    pub backends: u64,
}
