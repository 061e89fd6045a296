//! Where objects come from.
//!
//! A source knows how to read objects and turn them into the model, and nothing of what becomes of
//! them. [`manifest`] follows a directory of YAML files, [`kubernetes`] an API server, [`links`] the
//! kernel's interfaces; each sends a [`Batch`] to the reconciler for every step it sees. [`convert`]
//! is pure and shared by the first two, [`check()`] runs it over files without a daemon.

mod check;
mod class;
mod complaint;
pub mod convert;
mod decode;
mod document;
pub mod kubernetes;
pub mod kubernetes_status;
pub mod links;
pub mod manifest;
mod object;
mod overlap;
mod reading;

use landfall_core::model::Change;

pub use check::check;
pub use class::{CILIUM_CLASS, ClassPolicy, LANDFALL_CLASS};
pub use complaint::Converted;
pub use object::{Object, ObjectKey};

/// Changes that belong together: they are folded one after the other, and only then is planned.
/// This is what makes a file's objects change all together or not at all.
pub type Batch = Vec<Change>;

/// How many batches may wait for the reconciler. A batch can be as large as a directory, so few;
/// more than one, so that a source reads on while the reconciler plans.
pub const BATCHES: usize = 16;

#[cfg(test)]
mod tests;
