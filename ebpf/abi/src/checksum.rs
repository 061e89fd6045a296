//! The Internet checksum (RFC 1071) and its incremental update (RFC 1624), on words as they lie in memory: ones' complement
//! sums do not depend on byte order.

/// A running ones' complement sum, not yet folded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum(pub u64);

impl Sum {
    /// Adds a word.
    #[inline(always)]
    pub const fn add(self, word: u32) -> Self {
        Self(self.0 + word as u64)
    }

    /// Adds a half word.
    #[inline(always)]
    pub const fn add_half(self, half: u16) -> Self {
        Self(self.0 + half as u64)
    }

    /// Takes a word away and puts another in its place.
    #[inline(always)]
    pub const fn replace(self, old: u32, new: u32) -> Self {
        Self(self.0 + !old as u64 + new as u64)
    }

    /// Takes a half word away and puts another in its place.
    #[inline(always)]
    pub const fn replace_half(self, old: u16, new: u16) -> Self {
        Self(self.0 + !old as u64 + new as u64)
    }

    /// Takes an address away and puts another in its place.
    #[inline(always)]
    pub const fn replace_address(self, old: &[u32; 4], new: &[u32; 4]) -> Self {
        self.replace(old[0], new[0])
            .replace(old[1], new[1])
            .replace(old[2], new[2])
            .replace(old[3], new[3])
    }

    /// Folded to 32 bits, the form the kernel's `__wsum` has.
    #[inline(always)]
    pub const fn fold32(self) -> u32 {
        let once = (self.0 & 0xffff_ffff) + (self.0 >> 32);
        ((once & 0xffff_ffff) + (once >> 32)) as u32
    }

    /// Folded to 16 bits.
    #[inline(always)]
    pub const fn fold16(self) -> u16 {
        let mut sum = self.fold32();
        sum = (sum & 0xffff) + (sum >> 16);
        sum = (sum & 0xffff) + (sum >> 16);
        sum as u16
    }

    /// The checksum field's value for this sum.
    #[inline(always)]
    pub const fn checksum(self) -> u16 {
        !self.fold16()
    }

    /// A checksum field after this difference.
    #[inline(always)]
    pub const fn update(self, field: u16) -> u16 {
        !Self(self.fold16() as u64 + !field as u64).fold16()
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use super::*;

    fn of(words: &[u32]) -> u16 {
        words
            .iter()
            .fold(Sum::default(), |sum, word| sum.add(*word))
            .checksum()
    }

    #[test]
    fn the_example_of_rfc_1071_sums_to_ddf2() {
        let sum = Sum::default()
            .add_half(u16::from_be_bytes([0x00, 0x01]))
            .add_half(u16::from_be_bytes([0xf2, 0x03]))
            .add_half(u16::from_be_bytes([0xf4, 0xf5]))
            .add_half(u16::from_be_bytes([0xf6, 0xf7]));
        assert_eq!(sum.fold16(), 0xddf2);
    }

    #[test]
    fn an_incremental_update_equals_a_fresh_sum() {
        let mut state = 1u64;
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 32) as u32
        };
        for _ in 0..10_000 {
            let mut words: Vec<u32> = (0..5).map(|_| next()).collect();
            let before = of(&words);
            let new = next();
            let updated = Sum::default().replace(words[2], new).update(before);
            words[2] = new;
            assert_eq!(updated, of(&words));
        }
    }

    #[test]
    fn a_half_words_replacement_equals_a_fresh_sum() {
        let words = [0x1234_5678, 0x9abc_def0];
        let updated = Sum::default()
            .replace_half(0x5678, 0x4321)
            .update(of(&words));
        assert_eq!(updated, of(&[0x1234_4321, 0x9abc_def0]));
    }
}
