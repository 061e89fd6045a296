//! Reading maps many entries a call (BPF_MAP_LOOKUP_BATCH, Linux 5.6), which aya does not offer.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd as _};

use aya::Pod;

use crate::syscall::{Command, bpf};

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
    for_each_octets(map, size_of::<K>(), size_of::<V>(), |key, value| {
        // SAFETY: both are of their type's size, which any octets are a value of.
        let (key, value) = unsafe {
            (
                key.as_ptr().cast::<K>().read_unaligned(),
                value.as_ptr().cast::<V>().read_unaligned(),
            )
        };
        each(&key, &value);
    })
}

/// As [`for_each`], of a hash map or an array whose keys and values have these sizes.
///
/// # Errors
/// The kernel's, such as EPERM.
pub(crate) fn for_each_octets(
    map: &impl AsFd,
    key_len: usize,
    value_len: usize,
    mut each: impl FnMut(&[u8], &[u8]),
) -> io::Result<()> {
    let mut capacity = CHUNK;
    let mut position: Option<u64> = None;
    let (mut keys, mut values) = (Vec::new(), Vec::new());
    loop {
        keys.resize(capacity as usize * key_len, 0_u8);
        values.resize(capacity as usize * value_len, 0_u8);
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
        // SAFETY: all pointers are to buffers of the sizes that the map's key and value have, `count` entries long; a hash
        // map's or an array's position is a word.
        let error = unsafe { bpf(Command::MapLookupBatch, &mut attributes) }.err();
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
        let read = keys
            .chunks_exact(key_len)
            .zip(values.chunks_exact(value_len));
        for (key, value) in read.take(attributes.count as usize) {
            each(key, value);
        }
        if error.is_some() {
            return Ok(());
        }
        position = Some(next);
    }
}
