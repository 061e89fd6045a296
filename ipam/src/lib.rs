//! Pools, ranges and allocation of LoadBalancer addresses.
//!
//! This crate decides which service has which address, and says why when one has none. It is pure:
//! no clock, no network, no Kubernetes; the same sequence of events gives the same result.
//!
//! The road of the data: text becomes [`Block`]s and [`LabelSelector`]s, these become [`Pool`]s,
//! a Service becomes a [`ServiceRequest`], and the [`Allocator`] answers each event with
//! [`Changes`], in which every service concerned has its [`Outcome`].
//!
//! ```
//! use landfall_ipam::{Allocator, Block, Created, FirstLast, Pool, ServiceId, ServiceRequest};
//!
//! let mut allocator = Allocator::new();
//! let block = Block::parse(Some("10.10.200.0/29"), None, None)?;
//! let pool = Pool::new("lan", Created(1), vec![block], FirstLast::Reserved)?;
//! allocator.set_pools(vec![pool])?;
//! // At start-up every existing service is imported with the addresses it has ...
//! allocator.import(ServiceRequest::new(ServiceId::new("default", "svc1"), Created(2)));
//! // ... and only then is anything allocated.
//! let changes = allocator.start();
//! let service = &changes.services[&ServiceId::new("default", "svc1")];
//! assert_eq!(service.gained.iter().next().unwrap().to_string(), "10.10.200.1");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What holds
//!
//! - **An address that is still legal never moves.** It is legal as long as a pool that contains it
//!   is for the service, it is no node's own, its family is wanted, it is among the requested
//!   addresses if there are any, and it can be shared with whoever else has it. Neither a disabled
//!   nor a conflicting pool makes an address illegal: nothing new is given from such a pool, what
//!   was given stays.
//! - **Start-up imports first.** Nothing is allocated before [`Allocator::start`], which adopts the
//!   addresses found in status, older services first, whatever the order of the imports.
//! - **The lowest free address of the oldest pool** (ties by name) that is for the service.
//! - **Requested addresses are the whole wish**; nothing is added to them, in no family.
//! - **Dual stack**: `RequireDualStack` with one family is [`Outcome::Partial`]; `PreferDualStack`
//!   with one is satisfied and takes the other as soon as it can.
//! - **Waiting services are served in order of age** as soon as something they wait for is free.
//! - **Pools that overlap**: the younger one conflicts, until the overlap is gone. A conflicting
//!   pool does not make others conflict.
//!
//! # Sharing
//!
//! Services share under the rule of [`incompatibility`]. A service with a sharing key takes over
//! another's *whole set*: every address that one has in the families wanted, or none. Sets that
//! cover all families wanted come first, then those that cover some, the lowest addresses first;
//! what a set does not cover is allocated afresh, and never taken from a second set that does not
//! contain the first. A service that has its addresses does not leave them to share, nor take more
//! when a set it shares grows. When a change makes sharers incompatible, the service that changed
//! has to go; at start-up, the younger one.
//!
//! # Cost
//!
//! Addresses are numbers in interval sets and nothing is scanned or enumerated: an event costs
//! O(log n) for every service it concerns. Changing which pools there are, or which services one is
//! for, also concerns every service that waits.

mod allocator;
mod block;
mod interval;
mod outcome;
mod pool;
mod range;
mod request;
mod selector;
mod sharing;

pub use allocator::Allocator;
pub use block::{Block, BlockError, FirstLast};
pub use outcome::{Assigned, Changes, Lacking, Outcome, Reason, Refusal, ServiceChange};
pub use pool::{Conflict, DuplicatePool, Pool, PoolError, PoolStatus};
pub use range::{AddressRange, Family};
pub use request::{
    Created, CrossNamespace, FamilyRequest, Protocol, SERVICE_NAME_LABEL, SERVICE_NAMESPACE_LABEL,
    ServiceId, ServicePort, ServiceRequest, TrafficPolicy,
};
pub use selector::{LabelSelector, Labelled, Operator, Requirement, SelectorError};
pub use sharing::{Incompatibility, incompatibility};
