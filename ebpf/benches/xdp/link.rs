//! A network namespace with a route for translated packets, so that nothing of the machine's own network is used.

use std::io;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// What `ip` is told: test runs come in by the loopback device, so it forwards; endpoints are behind a neighbour that is
/// always known.
const SET_UP: &str = "\
link set lo up
link add ens3 type veth peer name switch
link set ens3 up
link set switch up
address add 10.10.200.11/16 dev ens3
neighbour add 10.10.200.12 lladdr 02:00:00:00:00:02 nud permanent dev ens3
route add 10.244.0.0/16 via 10.10.200.12
";

/// Moves the process into the namespace, which ends with it. The process has one thread yet.
///
/// # Errors
/// The kernel's, as without root, or those of `ip`.
pub(crate) fn enter_namespace() -> Result<()> {
    // SAFETY: plain system call.
    let result = unsafe { libc::unshare(libc::CLONE_NEWNET) };
    ensure!(
        result == 0,
        "a network namespace of the benchmark's own needs root: {}",
        io::Error::last_os_error()
    );
    for line in SET_UP.lines() {
        let status = Command::new("ip")
            .args(line.split_whitespace())
            .status()
            .context("ip (Debian: iproute2) is needed")?;
        ensure!(status.success(), "ip {line}: {status}");
    }
    std::fs::write("/proc/sys/net/ipv4/conf/all/forwarding", "1")
        .context("net.ipv4.conf.all.forwarding")
}
