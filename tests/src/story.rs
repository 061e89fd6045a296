//! What `landfall-lab` shows a person: the demonstration, the shell, and scenarios by name.

pub mod demo;
pub mod scenario;
pub mod shell;
mod tell;
