//! What people are told of a plan: rows for the command line, the admin socket and metrics.
//!
//! Fed by [`plan::status`](crate::plan::status) and [`plan::chronicle`](crate::plan::chronicle). The field names are what
//! `-o json|yaml` prints: they may grow in number and do not change.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

/// A Service of ours, or one with external addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceReport {
    /// Its LoadBalancer addresses with the pool each is of.
    pub addresses: Vec<AddressReport>,
    /// `spec.externalIPs` that go with a lease.
    pub external_ips: Vec<IpAddr>,
    /// What holds of it, and what happened to it.
    pub account: Arc<Account>,
}

/// What is to be said of a Service on the Service itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// What holds of it at present, by type.
    pub conditions: Vec<Condition>,
    /// The same for the object's own status: in words that every node would choose, so that it does not change with who writes
    /// it, nor with the node that answers.
    pub status: Vec<Condition>,
    /// What happened to it last, the latest at the end.
    pub events: Vec<Event>,
}

/// An assigned address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressReport {
    /// The address.
    pub address: IpAddr,
    /// The pool it is of.
    pub pool: String,
}

/// Whether a condition holds, as in `metav1.Condition`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// It cannot be told yet.
    Unknown,
}

/// A condition of a Service; the shape of `metav1.Condition`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Its type, such as `landfall.dev/Announced`.
    pub kind: &'static str,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// A word for programs.
    pub reason: Arc<str>,
    /// Sentences for a person; empty where there is nothing to say.
    pub message: Arc<str>,
    /// When the status last changed, as far as this agent has seen.
    pub last_transition: SystemTime,
}

/// Whether an event is in the course of things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// It is.
    Normal,
    /// Somebody should look.
    Warning,
}

/// Something that happened to a Service; the shape of Kubernetes' Events. The same again counts, and makes no second one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Whether it is in the course of things.
    pub kind: EventKind,
    /// A word for programs, such as `Announcing`.
    pub reason: &'static str,
    /// A sentence for a person.
    pub message: Arc<str>,
    /// When it happened first.
    pub first: SystemTime,
    /// When it happened last.
    pub last: SystemTime,
    /// How often.
    pub count: u32,
    /// Grows with every event of any Service: where this one stands among them.
    pub serial: u64,
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
    /// Those that the record of assignments has no room for, on the node that allocates.
    pub left_out: u64,
    /// Frontends: address, port and protocol.
    pub frontends: u64,
    /// Backends of all frontends that take connections, each counted once a frontend.
    pub backends: u64,
}
