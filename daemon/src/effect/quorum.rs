//! The quorum effect: this node's heartbeats, the grants it gives and gets, and the kernel's deadline that follows.
//!
//! [`task`] runs the machine of `landfall_core::quorum` on a thread of its own, between the [`socket`]s and the [`gate`]
//! to the kernel; what it must not forget is on [`disk`]; messages have their form on the [`wire`], and a tag by the [`key`].

pub mod disk;
pub mod gate;
pub mod key;
pub mod link;
mod slack;
pub mod socket;
pub mod task;
pub mod wire;
