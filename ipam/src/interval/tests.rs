//! The interval set against a plain set of small numbers, and at the ends of the number line.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::IntervalSet;

fn set(intervals: &[(u128, u128)]) -> IntervalSet {
    let mut set = IntervalSet::default();
    for &(first, last) in intervals {
        set.insert(first, last);
    }
    set
}

#[test]
fn touching_intervals_become_one() {
    assert_eq!(set(&[(5, 9), (0, 4)]).iter().collect::<Vec<_>>(), [(0, 9)]);
    assert_eq!(
        set(&[(0, 1), (4, 5), (2, 3)]).iter().collect::<Vec<_>>(),
        [(0, 5)]
    );
    assert_eq!(
        set(&[(0, 1), (8, 9), (1, 8)]).iter().collect::<Vec<_>>(),
        [(0, 9)]
    );
}

#[test]
fn taking_from_the_middle_splits() {
    let mut numbers = set(&[(0, 9)]);
    numbers.remove(4, 4);
    assert_eq!(numbers.iter().collect::<Vec<_>>(), [(0, 3), (5, 9)]);
    assert_eq!(numbers.len(), 9);
}

#[test]
fn the_whole_number_line_saturates_and_recovers() {
    let mut numbers = set(&[(0, u128::MAX)]);
    assert_eq!(numbers.len(), u128::MAX);
    assert!(numbers.contains(u128::MAX));
    numbers.remove(0, 0);
    assert_eq!(numbers.len(), u128::MAX);
    assert_eq!(numbers.first(), Some(1));
    numbers.remove(u128::MAX, u128::MAX);
    assert_eq!(numbers.len(), u128::MAX - 1);
    numbers.insert(0, u128::MAX);
    numbers.remove(0, u128::MAX);
    assert!(numbers.is_empty());
    assert_eq!(numbers.len(), 0);
}

proptest! {
    #[test]
    fn it_behaves_as_a_plain_set(steps in prop::collection::vec((any::<bool>(), 0_u128..40, 0_u128..9), 0..60)) {
        let mut intervals = IntervalSet::default();
        let mut plain = BTreeSet::new();
        for (add, first, more) in steps {
            let last = first + more;
            if add {
                intervals.insert(first, last);
                plain.extend(first..=last);
            } else {
                intervals.remove(first, last);
                plain.retain(|number| !(first..=last).contains(number));
            }
            prop_assert_eq!(intervals.len(), plain.len() as u128);
            prop_assert_eq!(intervals.first(), plain.first().copied());
            for number in 0..50 {
                prop_assert_eq!(intervals.contains(number), plain.contains(&number));
            }
            let bounds: Vec<_> = intervals.iter().collect();
            prop_assert!(bounds.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0), "{:?}", bounds);
        }
    }

    #[test]
    fn a_difference_has_what_only_the_left_has(left in prop::collection::btree_set(0_u128..30, 0..20), right in prop::collection::btree_set(0_u128..30, 0..20)) {
        let of = |numbers: &BTreeSet<u128>| set(&numbers.iter().map(|&n| (n, n)).collect::<Vec<_>>());
        let difference: BTreeSet<u128> = left.difference(&right).copied().collect();
        prop_assert_eq!(of(&left).minus(&of(&right)), of(&difference));
    }
}
