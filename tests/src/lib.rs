//! The lab: nodes, clients and a switch as network namespaces on one machine, with real Ethernet,
//! real ARP, real TCP and real failures between them; and the instruments that watch it.
//!
//! * [`lab`] brings machines up and down, runs agents and pods on them, and breaks them.
//! * [`cluster`] makes a real Kubernetes cluster of a lab's machines.
//! * [`probe`] holds the instruments: probers, captures, connection herds, and what is computed
//!   from their records.
//! * [`server`] is what runs in a pod.
//! * [`scenario`] is what a running Landfall must hold, for the tests and the demonstration.
//! * [`figures`] keeps what was measured in `target/figures.json`.
//! * [`mod@bench`] compares the way through a virtual address with the direct one.
//! * [`story`] is the narrated demonstration.
//!
//! A lab needs root, `ip`, `bridge`, `ethtool` and `nft`, and says so when one is missing. It
//! leaves nothing behind: see [`lab::registry`] for how.

pub mod bench;
pub mod cluster;
pub mod figures;
pub mod lab;
pub mod probe;
pub mod scenario;
pub mod server;
pub mod story;
