//! What a running Landfall must hold. Each module is one idea: it breaks something on a [`Stage`]
//! or just uses it, and gives what it measured, for a test to judge and record. The same checks run
//! on plain nodes and on nodes with firewalls.

pub mod bounds;
pub mod dark;
pub mod death;
pub mod endpoint;
pub mod failover;
pub mod first_answer;
pub mod heartbeat;
pub mod must_hold;
pub mod partition;
pub mod reach;
pub mod requests;
pub mod restart;
mod stage;
pub mod table_changes;
pub mod upgrade;

pub(crate) use stage::example_with_echoes;
pub use stage::{ALLOWED_PORTS, SERVICES, Stage, StageBuilder, be_quiet};
