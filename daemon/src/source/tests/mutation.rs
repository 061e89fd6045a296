//! Whatever bytes come: no panic, and a verdict.

use proptest::prelude::*;

use crate::source::ClassPolicy;
use crate::source::reading;

const SEEDS: [&str; 3] = [
    include_str!("../../../tests/seeds/service.yaml"),
    include_str!("../../../tests/seeds/pool-and-policy.yaml"),
    include_str!("../../../tests/seeds/pod-and-slice.yaml"),
];

fn read(bytes: &[u8]) {
    let Ok(readings) = reading::objects("f", bytes, ClassPolicy::default(), &|_| 0) else {
        return;
    };
    for reading in readings {
        let refused = reading.converted.is_none();
        assert!(
            !refused || !reading.complaints.is_empty(),
            "refused in silence: {reading:?}"
        );
        if let (Some(object), Some(key)) = (&reading.converted, &reading.key) {
            assert_eq!(
                object.key(),
                *key,
                "the key is told before the object is converted"
            );
        }
    }
}

#[derive(Clone, Debug)]
enum Edit {
    Delete(usize, usize),
    Insert(usize, Vec<u8>),
    Repeat(usize, usize),
    Swap(usize, usize),
}

fn edit() -> impl Strategy<Value = Edit> {
    let word = prop_oneof![
        Just(b"null".to_vec()),
        Just(b"-1".to_vec()),
        Just(b"99999999999999999999".to_vec()),
        Just(b"[]".to_vec()),
        Just(b"{}".to_vec()),
        Just(b"\n---\n".to_vec()),
        Just(b"&a *a".to_vec()),
        Just(b"!!binary ".to_vec()),
        Just(b"<<: ".to_vec()),
        proptest::collection::vec(any::<u8>(), 1..6),
    ];
    prop_oneof![
        (any::<usize>(), 1..20_usize).prop_map(|(at, n)| Edit::Delete(at, n)),
        (any::<usize>(), word).prop_map(|(at, word)| Edit::Insert(at, word)),
        (any::<usize>(), 1..60_usize).prop_map(|(at, n)| Edit::Repeat(at, n)),
        (any::<usize>(), any::<usize>()).prop_map(|(a, b)| Edit::Swap(a, b)),
    ]
}

fn apply(bytes: &mut Vec<u8>, edit: Edit) {
    if bytes.is_empty() {
        return;
    }
    let length = bytes.len();
    match edit {
        Edit::Delete(at, n) => {
            let at = at % length;
            bytes.drain(at..(at + n).min(length));
        }
        Edit::Insert(at, word) => {
            let at = at % length;
            bytes.splice(at..at, word);
        }
        Edit::Repeat(at, n) => {
            let at = at % length;
            let part = bytes[at..(at + n).min(length)].to_vec();
            bytes.splice(at..at, part);
        }
        Edit::Swap(a, b) => bytes.swap(a % length, b % length),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        read(&bytes);
    }

    #[test]
    fn arbitrary_text_is_read_or_refused(text in "[a-z:\\-\\[\\]{}&*!|>'\"#% \n,0-9]{0,300}") {
        read(text.as_bytes());
    }

    #[test]
    fn mutated_manifests_are_read_or_refused(
        seed in 0..SEEDS.len(),
        edits in proptest::collection::vec(edit(), 1..12),
    ) {
        let mut bytes = SEEDS[seed].as_bytes().to_vec();
        for edit in edits {
            apply(&mut bytes, edit);
        }
        read(&bytes);
    }
}

#[test]
fn the_seeds_themselves_are_in_order() {
    for seed in SEEDS {
        let readings =
            reading::objects("f", seed.as_bytes(), ClassPolicy::default(), &|_| 0).unwrap();
        assert!(!readings.is_empty());
        for reading in readings {
            assert!(
                reading.converted.is_some() && reading.complaints.is_empty(),
                "{reading:?}"
            );
        }
    }
}
