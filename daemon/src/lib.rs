//! The daemon and its command line.
//!
//! The way of the data: `source` turns objects into changes, the `reconciler` folds them and plans,
//! each `effect` brings about its part of the plan and reports what it observed. `app` wires them
//! together and holds the order of starting and stopping; `api` and `cli` let a person look.

pub mod api;
pub mod app;
pub mod cli;
pub mod config;
pub mod effect;
mod http;
pub mod kubernetes;
pub mod objects;
mod pause;
pub mod reconciler;
pub mod source;
pub mod state_file;
pub mod telemetry;
