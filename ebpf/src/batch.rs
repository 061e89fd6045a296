//! Reading hash maps many entries a call (BPF_MAP_LOOKUP_BATCH, Linux 5.6), which aya does not offer.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsFd, AsRawFd as _};

use aya::Pod;

const BPF_MAP_LOOKUP_BATCH: libc::c_int = 24;
/// Entries asked for at a time; a bucket that does not fit is asked for again with more.
const CHUNK: u32 = 4096;

/// The kernel's `union bpf_attr` for batches, as far as it is used.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// Calls `each` for every entry of a hash map. Entries added or removed meanwhile may or may not be seen.
///
/// # Errors
/// The kernel's, such as EPERM.
pub fn for_each<K: Pod, V: Pod>(map: &impl AsFd, mut each: impl FnMut(&K, &V)) -> io::Result<()> {
    let mut capacity = CHUNK;
    let mut position: Option<u64> = None;
    loop {
        let mut keys: Vec<MaybeUninit<K>> = Vec::with_capacity(capacity as usize);
        let mut values: Vec<MaybeUninit<V>> = Vec::with_capacity(capacity as usize);
        let mut next = 0_u64;
        let mut attributes = Attributes {
            in_batch: position
                .as_ref()
                .map_or(0, |position| std::ptr::from_ref(position) as u64),
            out_batch: &raw mut next as u64,
            keys: keys.as_mut_ptr() as u64,
            values: values.as_mut_ptr() as u64,
            count: capacity,
            map_fd: map.as_fd().as_raw_fd() as u32,
            ..Attributes::default()
        };
        // SAFETY: all pointers are to buffers of the sizes that the map's key and value have, `count` entries long.
        let result = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                BPF_MAP_LOOKUP_BATCH,
                &raw mut attributes,
                size_of::<Attributes>(),
            )
        };
        let error = (result < 0).then(io::Error::last_os_error);
        match error.as_ref().and_then(io::Error::raw_os_error) {
            // A bucket larger than the buffers: nothing was read of it.
            Some(libc::ENOSPC) => {
                capacity *= 2;
                continue;
            }
            // ENOENT marks the end, with the last entries delivered.
            None | Some(libc::ENOENT) => {}
            Some(_) => return Err(error.expect("an errno came from it")),
        }
        let count = attributes.count as usize;
        // SAFETY: the kernel filled `count` entries, at most `capacity`.
        unsafe {
            keys.set_len(count);
            values.set_len(count);
            for (key, value) in keys.iter().zip(&values) {
                each(key.assume_init_ref(), value.assume_init_ref());
            }
        }
        if error.is_some() {
            return Ok(());
        }
        position = Some(next);
    }
}
