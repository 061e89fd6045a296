//! `landfall`: the agent and its command line in one binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    landfall::cli::main()
}
