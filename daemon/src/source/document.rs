//! From a file's text to trees: several YAML documents, or JSON, which YAML contains.
//!
//! Input is hostile until proved otherwise. A file costs at most what its limits say, whatever it
//! holds: separators and nesting are counted before the parser sees the text (libyaml's scanner is
//! quadratic in the depth of flow collections), and aliases are expanded against a budget, so that
//! a few lines cannot become gigabytes.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Largest file read, in bytes.
pub(super) const FILE_LIMIT: u64 = 8 << 20;
/// Most values a file may hold, aliases expanded.
const VALUE_LIMIT: usize = 1_000_000;
/// Most bytes of text a file may hold, aliases expanded.
const TEXT_LIMIT: usize = 16 << 20;
/// Deepest nesting of brackets; the parser itself stops at 128 levels.
const DEPTH_LIMIT: usize = 256;

/// One document of a file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Document {
    /// Its place in the file, from 1.
    pub(super) number: usize,
    /// What it holds.
    pub(super) value: Value,
}

/// Why a text is no list of documents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SyntaxError {
    /// The document at fault, from 1; `None` where the whole file is.
    pub(super) document: Option<usize>,
    /// What is wrong.
    pub(super) problem: String,
    /// What to do about it.
    pub(super) remedy: &'static str,
}

/// Reads all documents of `bytes`; empty ones are left out.
///
/// # Errors
/// The text is not UTF-8, no YAML, or exceeds a limit. Then nothing of it counts.
pub(super) fn documents(bytes: &[u8]) -> Result<Vec<Document>, SyntaxError> {
    let whole = |problem: String, remedy| SyntaxError {
        document: None,
        problem,
        remedy,
    };
    if bytes.len() as u64 > FILE_LIMIT {
        let problem = format!("is larger than {} MiB", FILE_LIMIT >> 20);
        return Err(whole(problem, "split it into several files"));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let line = 1 + bytes[..error.valid_up_to()]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count();
        whole(
            format!("is not UTF-8 in line {line}"),
            "save it as UTF-8 text",
        )
    })?;
    if let Some(at) = text.find('\0') {
        let line = 1 + text[..at].matches('\n').count();
        let problem = format!("holds a NUL byte in line {line}");
        return Err(whole(
            problem,
            "write the file anew; it may have been cut off or be binary",
        ));
    }
    bracket_depth(text).map_err(|problem| whole(problem, "flatten it; no object nests so deep"))?;
    if text.bytes().filter(|byte| b",\n[{".contains(byte)).count() > VALUE_LIMIT {
        let problem = format!("holds more than {VALUE_LIMIT} values");
        return Err(whole(problem, "split it into several files"));
    }
    let budget = Budget {
        values: Cell::new(VALUE_LIMIT),
        text: Cell::new(TEXT_LIMIT),
    };
    let mut documents = Vec::new();
    for (index, document) in serde_norway::Deserializer::from_str(text).enumerate() {
        let number = index + 1;
        let value = Tree(&budget)
            .deserialize(document)
            .map_err(|error| SyntaxError {
                document: Some(number),
                problem: problem(&error.to_string()),
                remedy: remedy(&error.to_string()),
            })?;
        if value != Value::Null {
            documents.push(Document { number, value });
        }
    }
    Ok(documents)
}

/// Refuses brackets nested too deep. Those in quoted text count too: they are balanced wherever
/// people write them, as in regular expressions, and each document counts anew.
fn bracket_depth(text: &str) -> Result<(), String> {
    let mut depth = 0_usize;
    for line in text.split('\n') {
        if line.starts_with("---") {
            depth = 0;
        }
        for byte in line.bytes() {
            match byte {
                b'[' | b'{' => depth += 1,
                b']' | b'}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth > DEPTH_LIMIT {
                return Err(format!("nests more than {DEPTH_LIMIT} levels of brackets"));
            }
        }
    }
    Ok(())
}

const BUDGET_SPENT: &str = "aliases expand without bound";
/// What the parser says where its own, laxer guard comes first.
const REPETITIONS: &str = "repetition limit exceeded";

fn problem(error: &str) -> String {
    if error.contains(REPETITIONS) {
        return format!("is not valid YAML: {BUDGET_SPENT}");
    }
    format!(
        "is not valid YAML: {}",
        error.replace("did not find expected", "found no")
    )
}

fn remedy(error: &str) -> &'static str {
    if error.contains(BUDGET_SPENT) || error.contains(REPETITIONS) {
        "write the values out instead of using anchors and aliases"
    } else if error.contains("cannot start any token") {
        "indent with spaces, not tabs, and quote values that begin with @, ` or %"
    } else if error.contains("duplicate key") {
        "keep one of the two"
    } else if error.contains("control characters") {
        "remove the control character"
    } else if error.contains("recursion limit") {
        "flatten it; no object nests so deep"
    } else {
        "correct the syntax there; `landfall check FILE` tells whether it is right"
    }
}

/// What the values of a file may still cost.
struct Budget {
    values: Cell<usize>,
    text: Cell<usize>,
}

impl Budget {
    fn spend<E: serde::de::Error>(&self, text: usize) -> Result<(), E> {
        match (
            self.values.get().checked_sub(1),
            self.text.get().checked_sub(text),
        ) {
            (Some(values), Some(text)) => {
                self.values.set(values);
                self.text.set(text);
                Ok(())
            }
            _ => Err(E::custom(BUDGET_SPENT)),
        }
    }
}

/// Builds a tree within a budget.
#[derive(Clone, Copy)]
struct Tree<'a>(&'a Budget);

impl<'de> DeserializeSeed<'de> for Tree<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value without a tag")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Value, E> {
        self.0.spend(0).map(|()| Value::Null)
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<Value, E> {
        self.visit_unit()
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Value, E> {
        self.0.spend(0).map(|()| Value::Bool(value))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Value, E> {
        self.0.spend(0).map(|()| Value::from(value))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Value, E> {
        self.0.spend(0).map(|()| Value::from(value))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        self.0.spend(0)?;
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom(format_args!("{value} is no number of JSON")))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Value, E> {
        self.0.spend(value.len()).map(|()| Value::from(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        self.0.spend(0)?;
        let mut values = Vec::new();
        while let Some(value) = seq.next_element_seed(self)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        self.0.spend(0)?;
        let mut values = Map::new();
        let mut merged = Vec::new();
        while let Some(key) = map.next_key_seed(Key(self))? {
            let value = map.next_value_seed(self)?;
            if key == "<<" {
                merged.push(value);
            } else if values.contains_key(&key) {
                return Err(A::Error::custom(format_args!("duplicate key `{key}`")));
            } else {
                values.insert(key, value);
            }
        }
        for value in merged {
            merge(&mut values, value).map_err(A::Error::custom)?;
        }
        Ok(Value::Object(values))
    }
}

/// A key: a scalar, taken as text (a label may be written `1: x`).
struct Key<'a>(Tree<'a>);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        match self.0.deserialize(deserializer)? {
            Value::String(key) => Ok(key),
            Value::Bool(key) => Ok(key.to_string()),
            Value::Number(key) => Ok(key.to_string()),
            _ => Err(D::Error::custom("a key is no text")),
        }
    }
}

/// YAML 1.1's merge key: the mapping, or each of a list of them, fills in what is not there.
fn merge(into: &mut Map<String, Value>, from: Value) -> Result<(), &'static str> {
    match from {
        Value::Object(from) => {
            for (key, value) in from {
                into.entry(key).or_insert(value);
            }
            Ok(())
        }
        Value::Array(list) => list.into_iter().try_for_each(|from| merge(into, from)),
        _ => Err("the merge key << needs a mapping"),
    }
}

#[cfg(test)]
mod tests;
