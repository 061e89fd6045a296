//! Bit filters over addresses, kept by counting who sets a bit.

use std::collections::HashMap;

use aya::maps::MapError;
use landfall_ebpf_abi::Address;
use landfall_ebpf_abi::hash::{filter_bit, mac_bit};

use crate::loader::Array;

/// A filter and its counts.
pub(crate) struct Filter {
    map: Array<u64>,
    counts: HashMap<u32, u32>,
    words: HashMap<u32, u64>,
}

impl Filter {
    /// Adopts the map. Bits of an earlier daemon stay until [`Filter::settle`]: a bit too many costs a lookup, one too few a
    /// service.
    pub(crate) fn new(map: Array<u64>) -> Self {
        let words = (0..map.len()).filter_map(|index| match map.get(&index, 0) {
            Ok(0) | Err(_) => None,
            Ok(word) => Some((index, word)),
        });
        let words = words.collect();
        Self {
            map,
            counts: HashMap::new(),
            words,
        }
    }

    pub(crate) fn add(&mut self, address: &Address) -> Result<(), MapError> {
        self.set(filter_bit(&address.words))
    }

    pub(crate) fn add_mac(&mut self, mac: &[u8; 6]) -> Result<(), MapError> {
        self.set(mac_bit(mac))
    }

    pub(crate) fn remove(&mut self, address: &Address) -> Result<(), MapError> {
        self.clear(filter_bit(&address.words))
    }

    pub(crate) fn remove_mac(&mut self, mac: &[u8; 6]) -> Result<(), MapError> {
        self.clear(mac_bit(mac))
    }

    /// Clears bits that nobody has set since the map was adopted.
    pub(crate) fn settle(&mut self) -> Result<(), MapError> {
        let mut wanted: HashMap<u32, u64> = HashMap::new();
        for bit in self.counts.keys() {
            *wanted.entry(bit >> 6).or_default() |= 1 << (bit & 63);
        }
        for (index, word) in &self.words {
            let want = wanted.get(index).copied().unwrap_or_default();
            if *word != want {
                self.map.set(*index, want, 0)?;
            }
        }
        self.words = wanted;
        Ok(())
    }

    fn set(&mut self, bit: u32) -> Result<(), MapError> {
        let count = self.counts.entry(bit).or_default();
        *count += 1;
        if *count == 1 {
            self.write(bit, true)?;
        }
        Ok(())
    }

    fn clear(&mut self, bit: u32) -> Result<(), MapError> {
        let Some(count) = self.counts.get_mut(&bit) else {
            return Ok(());
        };
        *count -= 1;
        if *count == 0 {
            self.counts.remove(&bit);
            self.write(bit, false)?;
        }
        Ok(())
    }

    fn write(&mut self, bit: u32, on: bool) -> Result<(), MapError> {
        let word = self.words.entry(bit >> 6).or_default();
        let mask = 1 << (bit & 63);
        let new = if on { *word | mask } else { *word & !mask };
        if new != *word {
            *word = new;
            self.map.set(bit >> 6, new, 0)?;
        }
        Ok(())
    }
}
