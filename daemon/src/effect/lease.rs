//! The lease effect: runs the [election](landfall_core::election) against a store, with real clocks.
//!
//! Fed by the planner (which VIPs, which candidates), by a [`LeaseStore`] and by the announce effect
//! (confirmations); feeds the store, the kernel's deadline ([`DeadlineSink`]) and the set of VIPs to answer
//! for ([`LeaseState`]). See [`task`] for its thread.

mod api_leases;
pub mod clock;
mod codec;
#[cfg(test)]
mod contract;
mod file_leases;
mod files;
mod memory;
mod store;
pub mod task;
mod watch;

pub use api_leases::{ApiLeaseError, ApiLeases};
pub use file_leases::FileLeases;
pub use files::{FileLeaseError, LeaseDirectory};
pub use memory::LeaseMemory;
pub use store::{Closed, LeaseStore, LeaseStoreError, StoreEvent, StoreEvents};
pub use task::{DeadlineSink, LeaseHandle, LeaseState, LeaseTask};
