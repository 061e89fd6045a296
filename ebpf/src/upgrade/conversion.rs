//! An entry of another layout as one of this: field by field, by their names.

use super::description::{MapDescription, Record};

/// How entries of one map are made of another's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Conversion {
    key: Moves,
    value: Moves,
}

/// Why there is none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("its field {field} is not in the other layout, or not of the same length")]
pub(super) struct Unlike {
    field: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Moves {
    from_len: usize,
    to_len: usize,
    /// From, to, length.
    moves: Vec<(usize, usize, usize)>,
}

impl Conversion {
    /// From one layout's entries to another's, but for fields of the value in `made`, which are left zero.
    pub(super) fn between(
        from: &MapDescription,
        to: &MapDescription,
        made: &[&str],
    ) -> Result<Self, Unlike> {
        Ok(Self {
            key: Moves::between(&from.key, &to.key, &[])?,
            value: Moves::between(&from.value, &to.value, made)?,
        })
    }

    /// Octets of keys and values that are converted.
    pub(super) fn takes(&self) -> (usize, usize) {
        (self.key.from_len, self.value.from_len)
    }

    /// Octets of keys and values that come of it.
    pub(super) fn gives(&self) -> (usize, usize) {
        (self.key.to_len, self.value.to_len)
    }

    pub(super) fn entry(&self, key: &[u8], value: &[u8]) -> (Vec<u8>, Vec<u8>) {
        (self.key.apply(key), self.value.apply(value))
    }
}

impl Moves {
    fn between(from: &Record, to: &Record, made: &[&str]) -> Result<Self, Unlike> {
        let wanted = to.fields.iter();
        let wanted = wanted.filter(|(name, _)| !made.contains(&name.as_str()));
        let moves = wanted.map(|(name, (offset, len))| match from.fields.get(name) {
            Some((there, same)) if same == len => Ok((*there, *offset, *len)),
            _ => Err(Unlike {
                field: name.clone(),
            }),
        });
        Ok(Self {
            from_len: from.len,
            to_len: to.len,
            moves: moves.collect::<Result<_, _>>()?,
        })
    }

    fn apply(&self, from: &[u8]) -> Vec<u8> {
        let mut made = vec![0; self.to_len];
        for (there, here, len) in &self.moves {
            made[*here..here + len].copy_from_slice(&from[*there..there + len]);
        }
        made
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(value: &[(&str, usize)]) -> MapDescription {
        MapDescription {
            entries: 0,
            key: Record::packed(&[("key", 1)]),
            value: Record::packed(value),
        }
    }

    #[test]
    fn fields_go_to_their_places_and_what_is_new_stays_zero() {
        let from = map(&[("a", 2), ("gone", 1), ("b", 1)]);
        let to = map(&[("b", 1), ("new", 1), ("a", 2)]);
        let conversion = Conversion::between(&from, &to, &["new"]).expect("alike");
        assert_eq!((conversion.takes(), conversion.gives()), ((1, 4), (1, 4)));
        let (key, value) = conversion.entry(&[9], &[1, 2, 3, 4]);
        assert_eq!((key, value), (vec![9], vec![4, 0, 1, 2]));
    }

    #[test]
    fn a_field_that_the_other_lacks_or_has_in_another_length_is_named() {
        let to = map(&[("a", 2)]);
        for from in [map(&[("b", 2)]), map(&[("a", 4)])] {
            let unlike = Conversion::between(&from, &to, &[]).expect_err("unlike");
            assert_eq!(unlike.field, "a");
        }
    }
}
