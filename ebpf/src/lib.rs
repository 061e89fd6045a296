//! The data path seen from user space: loading and pinning the kernel programs, attaching them, and filling their maps.
//!
//! Fed by `effect::datapath` and `effect::announce` of the daemon; feeds the kernel. Nothing here decides anything about
//! services: it is told frontends with their endpoints by node, and makes tables of them.
//!
//! - [`loader`]: opens the pinned maps or makes them, loads the programs;
//! - [`attach`]: uplinks (XDP, tcx, clsact) and the node's cgroup, by pinned links that outlive the daemon;
//! - [`upgrade`]: taking over from an agent whose maps have another layout;
//! - [`clsact`]: the same where tc has no links;
//! - [`frontends`]: the service table, with [`maglev`] lookup tables in ranges given out by [`range`];
//! - [`peers`]: nodes and this node's interfaces;
//! - [`announce`]: announced addresses and the deadline;
//! - [`conntrack`]: listing and garbage collection of flows.

pub mod announce;
pub mod attach;
pub mod batch;
pub mod clock;
pub mod clsact;
pub mod conntrack;
pub mod counters;
mod filter;
pub mod frontends;
mod link;
pub mod loader;
pub mod maglev;
pub mod peers;
pub mod pin;
pub mod range;
mod raw;
pub mod run;
mod syscall;
pub mod tables;
pub mod upgrade;

pub use landfall_ebpf_abi as abi;
