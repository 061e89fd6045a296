//! bpf(2), for what aya does not offer.

use std::io;

/// Commands of bpf(2), from linux/bpf.h.
#[derive(Clone, Copy, Debug)]
#[repr(i32)]
pub(crate) enum Command {
    MapLookup = 1,
    MapUpdate = 2,
    ObjectGet = 7,
    MapLookupBatch = 24,
    LinkUpdate = 29,
    LinkDetach = 34,
}

/// Gives the kernel a command with its attributes, which it may write to; what lies behind their size it takes as zero.
///
/// # Errors
/// The kernel's.
///
/// # Safety
/// The attributes are those of the command, and what they point to lives and has the size that the command asks for.
pub(crate) unsafe fn bpf<T>(command: Command, attributes: &mut T) -> io::Result<libc::c_int> {
    let (size, attributes) = (size_of::<T>(), std::ptr::from_mut(attributes));
    // SAFETY: as the caller says.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command as i32, attributes, size) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result as libc::c_int)
}
