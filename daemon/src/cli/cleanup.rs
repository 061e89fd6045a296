//! `landfall cleanup`: takes away what the agent leaves in the kernel on purpose.

use std::os::unix::net::UnixStream;

use anyhow::{Context as _, bail};
use landfall_ebpf::clsact;
use landfall_ebpf::pin::Pins;

use super::exit::Exit;
use super::format;
use crate::config::Settings;

/// Removes every filter in clsact and every pin, links first.
pub(super) fn run(settings: &Settings) -> anyhow::Result<Exit> {
    if UnixStream::connect(&settings.api.socket).is_ok() {
        bail!(
            "an agent serves {}; stop it first, with `systemctl stop landfall`",
            settings.api.socket.display()
        );
    }
    let filters = clsact::detach_everywhere();
    let bpffs = &settings.datapath.bpffs;
    let removed = Pins::new(bpffs)
        .remove_all()
        .with_context(|| format!("cannot remove the pins below {}", bpffs.display()))?;
    let filters = filters.context("cannot remove the filters in clsact")?;
    format::write(&format!(
        "removed {removed} pinned links and maps, {filters} filters\n"
    ))?;
    Ok(Exit::Done)
}
