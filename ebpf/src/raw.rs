//! Pinned maps whose keys and values are octets: those of other layouts, and this build's own where they are filled from such.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::path::Path;

use aya::maps::{MapData, MapError, MapType};

use crate::batch;
use crate::syscall::{Command, bpf};

/// Whether an entry may be there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum Put {
    /// It must not be.
    New = 1,
    /// It must be.
    Again = 2,
    /// Either.
    Any = 0,
}

/// A pinned map.
pub(crate) struct RawMap {
    map: MapData,
    /// Whether its entries can be listed here.
    pub(crate) is_hash: bool,
    pub(crate) key_len: usize,
    pub(crate) value_len: usize,
}

/// The kernel's `union bpf_attr` for single entries.
#[repr(C)]
struct Attributes {
    map_fd: u32,
    zero: u32,
    key: u64,
    value: u64,
    flags: u64,
}

impl RawMap {
    pub(crate) fn open(pin: &Path) -> Result<Self, MapError> {
        let map = MapData::from_pin(pin)?;
        let info = map.info()?;
        let (key_len, value_len) = (info.key_size() as usize, info.value_size() as usize);
        let is_hash = matches!(info.map_type()?, MapType::Hash | MapType::LruHash);
        Ok(Self {
            map,
            is_hash,
            key_len,
            value_len,
        })
    }

    /// Pins it at another place as well.
    pub(crate) fn pin(&self, path: &Path) -> Result<(), aya::pin::PinError> {
        self.map.pin(path)
    }

    /// Calls `each` for every entry of a hash map.
    pub(crate) fn for_each(&self, each: impl FnMut(&[u8], &[u8])) -> io::Result<()> {
        batch::for_each_octets(self.map.fd(), self.key_len, self.value_len, each)
    }

    /// The value of a key, if it is there.
    pub(crate) fn get(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        assert_eq!(key.len(), self.key_len);
        let mut value = vec![0; self.value_len];
        let mut attributes = self.attributes(key, value.as_mut_ptr(), Put::Any);
        // SAFETY: both buffers have the sizes that the kernel told of the map.
        match unsafe { bpf(Command::MapLookup, &mut attributes) } {
            Ok(_) => Ok(Some(value)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes an entry.
    pub(crate) fn put(&self, key: &[u8], value: &[u8], put: Put) -> io::Result<()> {
        assert_eq!((key.len(), value.len()), (self.key_len, self.value_len));
        let mut attributes = self.attributes(key, value.as_ptr(), put);
        // SAFETY: as above.
        unsafe { bpf(Command::MapUpdate, &mut attributes) }.map(drop)
    }

    fn attributes(&self, key: &[u8], value: *const u8, put: Put) -> Attributes {
        Attributes {
            map_fd: self.map.fd().as_fd().as_raw_fd() as u32,
            zero: 0,
            key: key.as_ptr() as u64,
            value: value as u64,
            flags: put as u64,
        }
    }
}
