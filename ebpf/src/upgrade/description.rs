//! A layout in words: what is pinned beside the maps, for the versions before and after.
//!
//! A line for each map: `FLOWS entries:0 key:40 client:0:16 … value:40 backend:0:16 …`; fields as name, offset and length.
//! What a reader does not understand it passes over.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use landfall_ebpf_abi::layout::{self, MAPS};

/// All maps of a layout, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Description {
    pub(super) maps: BTreeMap<String, MapDescription>,
}

/// One map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct MapDescription {
    /// Its entries, where no setting says how many.
    pub(super) entries: u32,
    pub(super) key: Record,
    pub(super) value: Record,
}

/// A key or a value: its length and where its fields are, as offset and length.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) len: usize,
    pub(super) fields: BTreeMap<String, (usize, usize)>,
}

impl Description {
    /// This build's.
    pub(super) fn own() -> Self {
        let maps = MAPS.iter().map(|map| {
            let description = MapDescription {
                entries: map.entries,
                key: Record::of(&map.key),
                value: Record::of(&map.value),
            };
            (map.name.to_owned(), description)
        });
        Self {
            maps: maps.collect(),
        }
    }

    /// As a text.
    pub(super) fn render(&self) -> String {
        let mut text = String::new();
        for (name, map) in &self.maps {
            // Writing to a string does not fail.
            let _ = write!(text, "{name} entries:{}", map.entries);
            for (role, record) in [("key", &map.key), ("value", &map.value)] {
                let _ = write!(text, " {role}:{}", record.len);
                for (field, (offset, len)) in &record.fields {
                    let _ = write!(text, " {field}:{offset}:{len}");
                }
            }
            text.push('\n');
        }
        text
    }

    /// The text that another version has left, zeroes behind it.
    pub(super) fn parse(text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text);
        let lines = text.trim_end_matches('\0').lines();
        let maps = lines.filter_map(|line| {
            let mut words = line.split_whitespace();
            let name = words.next()?.to_owned();
            Some((name, MapDescription::parse(words)))
        });
        Self {
            maps: maps.collect(),
        }
    }
}

impl MapDescription {
    fn parse<'a>(words: impl Iterator<Item = &'a str>) -> Self {
        let mut map = Self::default();
        let mut record = &mut map.key;
        for word in words {
            let mut parts = word.split(':');
            let name = parts.next().unwrap_or_default();
            let numbers: Option<Vec<usize>> = parts.map(|part| part.parse().ok()).collect();
            match (name, numbers.as_deref()) {
                ("entries", Some([entries])) => map.entries = *entries as u32,
                ("key", Some([len])) => record.len = *len,
                ("value", Some([len])) => {
                    record = &mut map.value;
                    record.len = *len;
                }
                (field, Some([offset, len])) if offset.saturating_add(*len) <= record.len => {
                    record.fields.insert(field.to_owned(), (*offset, *len));
                }
                _ => {}
            }
        }
        map
    }
}

impl Record {
    fn of(record: &layout::Record) -> Self {
        let fields = record.fields.iter();
        Self {
            len: record.len,
            fields: fields
                .map(|field| (field.name.to_owned(), (field.offset, field.len)))
                .collect(),
        }
    }

    /// A record of these fields, one behind the other.
    pub(super) fn packed(fields: &[(&str, usize)]) -> Self {
        let mut record = Self::default();
        for (name, len) in fields {
            record.fields.insert((*name).to_owned(), (record.len, *len));
            record.len += len;
        }
        record
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_description_survives_the_round_trip_and_finds_room() {
        let own = Description::own();
        let text = own.render();
        assert!(text.len() < layout::TEXT, "{} octets", text.len());
        let mut pinned = text.into_bytes();
        pinned.resize(layout::TEXT, 0);
        assert_eq!(Description::parse(&pinned), own);
    }

    #[test]
    fn what_a_newer_version_says_besides_is_passed_over() {
        let text =
            b"FLOWS entries:0 mood:good key:4 a:0:4 b:2:4 value:2 c:0:2 d:0:2:x\nmore of:this\n";
        let parsed = Description::parse(text);
        let flows = &parsed.maps["FLOWS"];
        assert_eq!(flows.key, Record::packed(&[("a", 4)]));
        assert_eq!(flows.value, Record::packed(&[("c", 2)]));
    }
}
