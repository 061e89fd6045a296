//! The quorum effect: this node's heartbeats, the grants it gives and gets, and the kernel's deadline that follows.

pub mod gate;
pub mod key;
pub mod socket;
pub mod wire;
