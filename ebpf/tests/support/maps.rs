//! Maps made and pinned by hand, as other versions have them.

use std::collections::HashMap;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use aya::maps::MapInfo;

const MAP_CREATE: libc::c_int = 0;
const MAP_UPDATE: libc::c_int = 2;
const OBJECT_PIN: libc::c_int = 6;
const HASH: u32 = 1;
const ARRAY: u32 = 2;

/// A pinned map.
pub struct PinnedMap(OwnedFd);

impl PinnedMap {
    pub fn hash(directory: &Path, name: &str, key: usize, value: usize, entries: u32) -> Self {
        Self::make(directory, name, [HASH, key as u32, value as u32, entries])
    }

    pub fn array(directory: &Path, name: &str, value: usize, entries: u32) -> Self {
        Self::make(directory, name, [ARRAY, 4, value as u32, entries])
    }

    fn make(directory: &Path, name: &str, attributes: [u32; 4]) -> Self {
        let fd = bpf(MAP_CREATE, &attributes);
        // SAFETY: the kernel has just made it for this process.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        std::fs::create_dir_all(directory).unwrap();
        let path = CString::new(directory.join(name).as_os_str().as_bytes()).unwrap();
        bpf(OBJECT_PIN, &[path.as_ptr() as u64, fd.as_raw_fd() as u64]);
        Self(fd)
    }

    pub fn put(&self, key: &[u8], value: &[u8]) {
        let (key, value) = (key.as_ptr() as u64, value.as_ptr() as u64);
        bpf(MAP_UPDATE, &[self.0.as_raw_fd() as u64, key, value, 0]);
    }
}

fn bpf<T>(command: libc::c_int, attributes: &T) -> libc::c_int {
    // SAFETY: the attributes are those of the command, as each caller makes them.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, attributes, size_of_val(attributes)) };
    assert!(result >= 0, "{command}: {}", io::Error::last_os_error());
    result as libc::c_int
}

/// The kernel's numbers of the maps that are pinned in a directory, by name.
pub fn ids(directory: &Path) -> HashMap<String, u32> {
    let pins = std::fs::read_dir(directory).unwrap().map(Result::unwrap);
    pins.map(|pin| {
        let info = MapInfo::from_pin(pin.path()).unwrap();
        (pin.file_name().into_string().unwrap(), info.id())
    })
    .collect()
}
