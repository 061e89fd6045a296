//! The instruments. Each runs on a thread inside a host's network namespace, so that what it sends
//! crosses the lab's wires; each records what happened and when, and computes afterwards.

pub mod crowd;
pub mod flock;
pub mod gap;
pub mod herd;
pub mod http;
pub mod icmp;
pub mod neighbour;
pub(crate) mod packet;
pub mod spread;
mod task;
pub mod udp;
pub mod web;
