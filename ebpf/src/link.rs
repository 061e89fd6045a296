//! What the kernel does with pinned links and aya does not offer.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use crate::pin::remove_file;

/// Commands of bpf(2), from linux/bpf.h.
const BPF_OBJ_GET: libc::c_int = 7;
const BPF_LINK_UPDATE: libc::c_int = 29;
const BPF_LINK_DETACH: libc::c_int = 34;

/// BPF_OBJ_GET: aya's own handle on a pinned link does not give its descriptor away.
pub(crate) fn open(pin: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(pin.as_os_str().as_bytes())?;
    // A path that lives until the call returns, no descriptor, no flags.
    let attributes: [u64; 2] = [path.as_ptr() as u64, 0];
    let fd = command(BPF_OBJ_GET, &attributes)?;
    // SAFETY: the kernel has just made it for this process.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// BPF_LINK_UPDATE, which aya offers for some program types only.
pub(crate) fn update(link: &OwnedFd, program: BorrowedFd<'_>) -> io::Result<()> {
    // Link, new program, flags, old program.
    let attributes: [u32; 4] = [link.as_raw_fd() as u32, program.as_raw_fd() as u32, 0, 0];
    command(BPF_LINK_UPDATE, &attributes).map(drop)
}

/// Detaches a pinned link and removes its pin; whether there was one. Removing the pin alone detaches as well, but only
/// after a grace period in which the place is still taken.
///
/// # Errors
/// The file system's. A link that the kernel cannot detach at once goes with its pin.
pub(crate) fn detach(pin: &Path) -> io::Result<bool> {
    if let Ok(link) = open(pin) {
        let attributes: [u32; 1] = [link.as_raw_fd() as u32];
        // A link whose interface has gone is detached already; older kernels do not know the command for all kinds.
        let _ = command(BPF_LINK_DETACH, &attributes);
    }
    remove_file(pin)
}

fn command<T>(command: libc::c_int, attributes: &T) -> io::Result<libc::c_int> {
    // SAFETY: the attributes are those of the command, as each caller makes them; the kernel takes what lies behind the
    // size given as zero.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, attributes, size_of_val(attributes)) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result as libc::c_int)
}
