//! Planners: pure functions from the model to what effects shall bring about.

pub mod service_table;
