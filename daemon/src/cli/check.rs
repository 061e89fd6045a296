//! `landfall check`: what is wrong with manifests, without applying them.

use std::path::PathBuf;

use clap::Args;

use super::exit::Exit;
use super::format::{GOOD, Output, paint};
use super::render;
use crate::api::snapshot::{Complaint, Level};
use crate::config::ServiceSettings;
use crate::source::{self, ClassPolicy};

/// What to check.
#[derive(Debug, Args)]
pub(super) struct CheckFlags {
    /// Files, or directories as the agent would read them
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    output: Output,
}

/// Checks them as one set; wrong objects need a person, warnings do not.
pub(super) fn run(flags: &CheckFlags, services: &ServiceSettings) -> anyhow::Result<Exit> {
    let class = ClassPolicy {
        without_class: services.without_class,
        cilium: services.cilium,
    };
    let found: Vec<Complaint> = source::check(&flags.files, class)
        .iter()
        .map(Complaint::from)
        .collect();
    flags
        .output
        .print(&found, |found, _| match found.as_slice() {
            [] => paint(GOOD, "no complaints") + "\n",
            found => render::status::complaints(found),
        })?;
    let wrong = found
        .iter()
        .any(|complaint| complaint.severity == Level::Error);
    Ok(if wrong { Exit::NeedsPerson } else { Exit::Done })
}
