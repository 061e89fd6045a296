//! `landfall drain` and `landfall undrain`.

use std::path::Path;
use std::time::{Duration, Instant};

use clap::Args;

use super::client::question;
use super::exit::Exit;
use super::format;
use crate::api::client::{AskError, tell};
use crate::api::route;
use crate::api::snapshot::Drain;

/// How often what is still held is asked for.
const LOOK: Duration = Duration::from_millis(100);

/// Flags of `landfall drain`.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct DrainFlags {
    /// Wait until nothing is held any more
    #[arg(long)]
    wait: bool,
    /// How long to wait at most
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = humantime::parse_duration, requires = "wait")]
    timeout: Duration,
}

/// Drains; tells what stays because nobody else can announce it.
pub(super) fn drain(socket: &Path, flags: &DrainFlags) -> anyhow::Result<Exit> {
    let mut drain = order(socket, route::DRAIN)?;
    if !flags.wait {
        format::write("draining; `landfall drain --wait` waits until it is done\n")?;
        return Ok(Exit::Done);
    }
    let begun = Instant::now();
    while !drain.held.is_empty() && begun.elapsed() < flags.timeout {
        std::thread::sleep(LOOK);
        drain = question(socket, route::DRAIN)?;
    }
    if drain.held.is_empty() {
        format::write("drained: this node announces nothing\n")?;
        return Ok(Exit::Done);
    }
    format::write(&format!(
        "still held, as no other node can announce it:\n  {}\n",
        drain.held.join("\n  ")
    ))?;
    Ok(Exit::NeedsPerson)
}

/// Takes part again.
pub(super) fn undrain(socket: &Path) -> anyhow::Result<Exit> {
    order(socket, route::UNDRAIN)?;
    format::write("this node announces again\n")?;
    Ok(Exit::Done)
}

fn order(socket: &Path, path: &str) -> anyhow::Result<Drain> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let told: Result<Drain, AskError> = runtime.block_on(tell(socket, path));
    Ok(told?)
}
