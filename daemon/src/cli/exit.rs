//! How a command ends.

use std::process::ExitCode;

use crate::api::client::AskError;

/// Exit codes, as `landfall --help` and the man page list them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All is well.
    Done = 0,
    /// It could not be done; the reason is on standard error.
    Failed = 1,
    /// No agent answers.
    NoAgent = 3,
    /// It was done, and the answer is that something needs a person.
    NeedsPerson = 4,
}

/// The codes for the help text; 2 is clap's.
pub(super) const HELP: &str = "\
Exit codes:
  0  done, and all is well
  1  failed; the reason is on standard error
  2  the command line is wrong
  3  no agent answers on the admin socket
  4  something needs a person: `status` found the agent unwell, `check` found a wrong object";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// The code for an error.
pub(super) fn of(error: &anyhow::Error) -> Exit {
    match error.downcast_ref::<AskError>() {
        Some(AskError::NotRunning(_) | AskError::Stuck(_)) => Exit::NoAgent,
        _ => Exit::Failed,
    }
}
