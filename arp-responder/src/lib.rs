//! ARP and neighbour discovery for VIPs: codecs, sans-IO machines, and the task that owns the packet sockets.
//!
//! The kernel programs answer requests. This crate does what they cannot: it announces a takeover, probes before a first
//! announcement, watches for conflicts, has peers bear witness that answers get through, keeps the solicited-node groups
//! joined, and answers by socket where no program can be attached. From the outside in:
//!
//! - [`task`]: a thread with packet sockets; takes [`Desired`] from a `watch`, gives [`Event`]s.
//! - [`engine`]: joins the machines; frames and `now` in, frames and events out.
//! - [`takeover`], [`conflict`], [`responder`], [`proof`], [`witness`]: one machine each.
//! - [`codec`]: frames from and to bytes.

pub mod address;
pub mod clock;
pub mod codec;
pub mod conflict;
pub mod desired;
pub mod engine;
pub mod proof;
pub mod responder;
mod schedule;
pub mod takeover;
pub mod task;
pub mod witness;

pub use address::{InterfaceAddress, InterfaceIndex};
pub use clock::{BootInstant, Deadline};
pub use desired::{Answering, Desired, DesiredInterface, DesiredVip, Event, Role};
pub use pnet::util::MacAddr;
pub use proof::Reach;
pub use responder::AnswerCounts;
pub use task::{ResponderTask, SpawnError, Timing};
