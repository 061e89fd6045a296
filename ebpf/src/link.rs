//! What the kernel does with pinned links and aya does not offer.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use crate::pin::remove_file;
use crate::syscall::{Command, bpf};

/// BPF_OBJ_GET: aya's own handle on a pinned link does not give its descriptor away.
pub(crate) fn open(pin: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(pin.as_os_str().as_bytes())?;
    // Path, no descriptor, no flags.
    let mut attributes: [u64; 2] = [path.as_ptr() as u64, 0];
    // SAFETY: the path lives until the call returns.
    let fd = unsafe { bpf(Command::ObjectGet, &mut attributes) }?;
    // SAFETY: the kernel has just made it for this process.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// BPF_LINK_UPDATE, which aya offers for some program types only.
pub(crate) fn update(link: &OwnedFd, program: BorrowedFd<'_>) -> io::Result<()> {
    // Link, new program, flags, old program.
    let mut attributes: [u32; 4] = [link.as_raw_fd() as u32, program.as_raw_fd() as u32, 0, 0];
    // SAFETY: no pointers.
    unsafe { bpf(Command::LinkUpdate, &mut attributes) }.map(drop)
}

/// Detaches a pinned link and removes its pin; whether there was one. Removing the pin alone detaches as well, but only
/// after a grace period in which the place is still taken. Of anything else but a link only the pin is removed.
///
/// # Errors
/// The file system's. A link that the kernel cannot detach at once goes with its pin.
pub(crate) fn detach(pin: &Path) -> io::Result<bool> {
    if let Ok(link) = open(pin) {
        let mut attributes: [u32; 1] = [link.as_raw_fd() as u32];
        // A link whose interface has gone is detached already; older kernels do not know the command for all kinds.
        // SAFETY: no pointers.
        let _ = unsafe { bpf(Command::LinkDetach, &mut attributes) };
    }
    remove_file(pin)
}
