//! Maglev lookup tables (Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016,
//! section 3.4), with weights.
//!
//! A table is the same on every node that is given the same entries, in whatever order, and changes little when they do.

/// One entry to be spread over a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Stable identity, the same on every node: seeds the entry's permutation.
    pub identity: u64,
    /// Share of the slots, relative to the others'; 0 takes none.
    pub weight: u32,
    /// What its slots shall hold.
    pub slot: u16,
}

/// Table sizes, all prime, by the total weight they serve with at least 50 slots a unit, so that no unit's share is off by
/// more than about 2%. The largest one is all there is.
const SIZES: [(u32, u32); 6] = [
    (5, 251),
    (10, 509),
    (20, 1021),
    (80, 4093),
    (320, 16_381),
    (u32::MAX, 65_521),
];

/// Number of slots for entries of these weights.
pub fn size(entries: &[Entry]) -> u32 {
    let weights = || {
        entries
            .iter()
            .map(|entry| entry.weight)
            .filter(|weight| *weight > 0)
    };
    match weights().count() {
        0 => 0,
        1 => 1,
        _ => {
            let divisor = weights().fold(0, gcd);
            let total: u32 = weights()
                .map(|weight| weight / divisor)
                .fold(0, u32::saturating_add);
            SIZES
                .iter()
                .find(|(limit, _)| total <= *limit)
                .expect("the last limit takes all")
                .1
        }
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Fills a table of [`size`] slots. Empty where no entry has weight.
pub fn table(entries: &[Entry]) -> Vec<u16> {
    let mut entries: Vec<Entry> = entries
        .iter()
        .copied()
        .filter(|entry| entry.weight > 0)
        .collect();
    entries.sort_unstable();
    let size = size(&entries);
    if size <= 1 {
        return entries.iter().map(|entry| entry.slot).collect();
    }
    let heaviest = u64::from(
        entries
            .iter()
            .map(|entry| entry.weight)
            .max()
            .expect("two entries at least"),
    );
    let mut walks: Vec<Walk> = entries
        .iter()
        .map(|entry| Walk::new(entry.identity, size))
        .collect();
    let mut slots: Vec<Option<u16>> = vec![None; size as usize];
    let mut filled = 0;
    for turn in 0_u64.. {
        for (entry, walk) in entries.iter().zip(&mut walks) {
            // An entry of weight w moves in w of every `heaviest` turns, evenly spread.
            let weight = u64::from(entry.weight);
            if (turn + 1) * weight / heaviest == turn * weight / heaviest {
                continue;
            }
            let free = walk.next_free(&slots);
            slots[free] = Some(entry.slot);
            filled += 1;
            if filled == size {
                return slots
                    .into_iter()
                    .map(|slot| slot.expect("every slot was filled"))
                    .collect();
            }
        }
    }
    unreachable!("every turn of the heaviest entry fills a slot")
}

/// An entry's permutation of the slots.
struct Walk {
    position: u32,
    skip: u32,
    size: u32,
}

impl Walk {
    fn new(identity: u64, size: u32) -> Self {
        let (a, b) = (mix(identity), mix(identity ^ 0x5851_f42d_4c95_7f2d));
        Self {
            position: (a % u64::from(size)) as u32,
            skip: (b % u64::from(size - 1)) as u32 + 1,
            size,
        }
    }

    fn next_free(&mut self, slots: &[Option<u16>]) -> usize {
        loop {
            let position = self.position as usize;
            self.position = (self.position + self.skip) % self.size;
            if slots[position].is_none() {
                return position;
            }
        }
    }
}

/// The finaliser of SplitMix64 (Steele et al., "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014).
fn mix(word: u64) -> u64 {
    let mut z = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The identity of a name or of an address's octets (FNV-1a, 64 bits).
pub fn identity(octets: &[u8]) -> u64 {
    octets.iter().fold(0xcbf2_9ce4_8422_2325, |hash, octet| {
        (hash ^ u64::from(*octet)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(name: &str, weight: u32, slot: u16) -> Entry {
        Entry {
            identity: identity(name.as_bytes()),
            weight,
            slot,
        }
    }

    fn share(table: &[u16], slot: u16) -> f64 {
        table.iter().filter(|held| **held == slot).count() as f64 / table.len() as f64
    }

    #[test]
    fn three_equal_nodes_get_a_third_each_within_two_percent() {
        let table = table(&[entry("a", 1, 0), entry("b", 1, 1), entry("c", 1, 2)]);
        for slot in 0..3 {
            assert!((share(&table, slot) * 3.0 - 1.0).abs() < 0.02);
        }
    }

    #[test]
    fn a_single_entry_needs_a_single_slot_and_none_needs_none() {
        assert_eq!(table(&[entry("a", 7, 3)]), [3]);
        assert_eq!(table(&[entry("a", 0, 3)]), Vec::<u16>::new());
    }

    #[test]
    fn losing_a_node_moves_few_flows_of_the_others() {
        let all: Vec<Entry> = (0..10).map(|i| entry(&format!("node{i}"), 2, i)).collect();
        let before = table(&all);
        let after = table(&all[1..]);
        assert_eq!(before.len(), after.len());
        let kept = before
            .iter()
            .zip(&after)
            .filter(|(b, _)| **b != 0)
            .filter(|(b, a)| a == b)
            .count();
        let others = before.iter().filter(|b| **b != 0).count();
        assert!(kept as f64 / others as f64 > 0.85, "{kept} of {others}");
    }

    proptest! {
        #[test]
        fn shares_follow_weights_and_order_does_not_matter(weights in prop::collection::vec(1_u32..9, 2..12)) {
            let entries: Vec<Entry> =
                weights.iter().enumerate().map(|(i, w)| entry(&format!("n{i}"), *w, i as u16)).collect();
            let forward = table(&entries);
            let reversed: Vec<Entry> = entries.iter().rev().copied().collect();
            prop_assert_eq!(&forward, &table(&reversed));
            prop_assert_eq!(forward.len() as u32, size(&entries));
            let total: u32 = weights.iter().sum();
            for (i, weight) in weights.iter().enumerate() {
                let expected = f64::from(*weight) / f64::from(total);
                // Rounding of turns costs at most a slot or two.
                prop_assert!((share(&forward, i as u16) / expected - 1.0).abs() < 0.06);
            }
        }
    }
}
