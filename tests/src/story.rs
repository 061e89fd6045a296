//! What `landfall-lab` shows a person: the demonstration, the shell, a standing cluster,
//! and scenarios by name.

pub mod cluster;
pub mod demo;
pub mod scenario;
pub mod shell;
mod tell;
