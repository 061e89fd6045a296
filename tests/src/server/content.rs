//! Content that both ends can make for themselves, so that every byte of a transfer is checked.

/// The bytes of the content at `offset`, which may be any number.
pub fn fill(buffer: &mut [u8], offset: u64) {
    let mut at = offset;
    let mut rest = buffer;
    while !rest.is_empty() {
        let word = word(at / 8).to_le_bytes();
        let from = (at % 8) as usize;
        let n = rest.len().min(8 - from);
        let (now, later) = rest.split_at_mut(n);
        now.copy_from_slice(&word[from..from + n]);
        at += n as u64;
        rest = later;
    }
}

/// Compares what arrives with the content.
#[derive(Debug, Default)]
pub struct Verifier {
    received: u64,
    differs_at: Option<u64>,
    expected: Vec<u8>,
}

impl Verifier {
    /// Takes the next bytes of the transfer.
    pub fn take(&mut self, bytes: &[u8]) {
        self.expected.resize(bytes.len(), 0);
        fill(&mut self.expected, self.received);
        if self.differs_at.is_none() && bytes != self.expected {
            let wrong = bytes.iter().zip(&self.expected).position(|(a, b)| a != b);
            self.differs_at = wrong.map(|i| self.received + i as u64);
        }
        self.received += bytes.len() as u64;
    }

    /// How many bytes have come.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received
    }

    /// The offset of the first byte that is not as it should be.
    #[must_use]
    pub fn differs_at(&self) -> Option<u64> {
        self.differs_at
    }
}

/// The content's word at an index: `SplitMix64` (Steele, Lea and Flood, OOPSLA 2014).
fn word(index: u64) -> u64 {
    let mut z = index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_the_same_however_it_is_cut() {
        let mut whole = [0; 100];
        fill(&mut whole, 3);
        for cut in 0..100 {
            let mut parts = [0; 100];
            let (a, b) = parts.split_at_mut(cut);
            fill(a, 3);
            fill(b, 3 + cut as u64);
            assert_eq!(parts, whole, "cut at {cut}");
        }
    }

    #[test]
    fn the_first_wrong_byte_is_named() {
        let mut bytes = [0; 64];
        fill(&mut bytes, 0);
        bytes[41] ^= 1;
        let mut verifier = Verifier::default();
        verifier.take(&bytes[..40]);
        assert_eq!(verifier.differs_at(), None);
        verifier.take(&bytes[40..]);
        assert_eq!((verifier.received(), verifier.differs_at()), (64, Some(41)));
    }
}
