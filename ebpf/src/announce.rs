//! Announced addresses and the deadline until which the kernel answers for them.

use std::collections::BTreeMap;
use std::time::Duration;

use aya::maps::MapError;
use landfall_ebpf_abi::Address;
use landfall_ebpf_abi::announce::{Announced, AnnouncedKey, Deadline};
use landfall_ebpf_abi::map;

use crate::loader::{Array, Hash, Loaded};

/// The announcement table. One owner: the announce effect.
pub struct Announcements {
    map: Hash<AnnouncedKey, Announced>,
}

impl Announcements {
    /// Takes the table out of the loaded data path, entries of an earlier daemon included.
    pub fn take(loaded: &mut Loaded) -> Self {
        Self {
            map: loaded.take(map::ANNOUNCED),
        }
    }

    /// Makes the table hold exactly `wanted`: addresses by interface, with the Ethernet address to answer with. Counts of
    /// entries that stay go on.
    ///
    /// # Errors
    /// The kernel's, for the first entry that failed; the others were done.
    pub fn replace(&mut self, wanted: &BTreeMap<AnnouncedKey, [u8; 6]>) -> Result<(), MapError> {
        let mut failure = None;
        let present: Vec<AnnouncedKey> = self.map.keys().filter_map(Result::ok).collect();
        for key in present.iter().filter(|key| !wanted.contains_key(key)) {
            if let Err(error) = self.map.remove(key) {
                failure.get_or_insert(error);
            }
        }
        for (key, mac) in wanted {
            let answers = match self.map.get(key, 0) {
                Ok(held) if held.mac == *mac => continue,
                Ok(held) => held.answers,
                Err(_) => 0,
            };
            if let Err(error) = self.map.insert(
                key,
                Announced {
                    mac: *mac,
                    zero: 0,
                    answers,
                },
                0,
            ) {
                failure.get_or_insert(error);
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// Answers sent, by interface and address.
    pub fn answers(&self) -> BTreeMap<(u32, Address), u64> {
        self.map
            .iter()
            .filter_map(Result::ok)
            .map(|(key, announced)| ((key.ifindex, key.address), announced.answers))
            .collect()
    }
}

/// The deadline. One owner: the thread that pushes it on.
pub struct DeadlineCell {
    map: Array<Deadline>,
}

impl DeadlineCell {
    /// Takes the cell out of the loaded data path.
    pub fn take(loaded: &mut Loaded) -> Self {
        Self {
            map: loaded.take(map::DEADLINE),
        }
    }

    /// Sets the end of the right to answer, on CLOCK_BOOTTIME; zero ends it at once.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set(&mut self, end: Duration) -> Result<(), MapError> {
        let boottime_ns = u64::try_from(end.as_nanos()).unwrap_or(u64::MAX);
        self.map.set(0, Deadline { boottime_ns }, 0)
    }

    /// The end of the right, on CLOCK_BOOTTIME.
    ///
    /// # Errors
    /// The kernel's.
    pub fn get(&self) -> Result<Duration, MapError> {
        Ok(Duration::from_nanos(self.map.get(&0, 0)?.boottime_ns))
    }
}
