//! Figures of simulations, in the form of `tests/src/figures.rs`: `{"name": {"unit", "n", "min", "median", "p95", "max"}}`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// Writes a figure of one sample. What others wrote stays.
///
/// # Panics
/// The file cannot be read or written.
pub(crate) fn record(name: &str, unit: &str, sample: f64) {
    println!("figure {name}: {sample} {unit}");
    let path = path();
    let said = |action: &str| format!("{action} {}", path.display());
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).unwrap_or_else(|error| panic!("{}: {error}", said("making")));
    }
    let lock = File::create(path.with_extension("lock"));
    let lock = lock.unwrap_or_else(|error| panic!("{}: {error}", said("locking")));
    lock.lock()
        .unwrap_or_else(|error| panic!("{}: {error}", said("locking")));
    let mut all: BTreeMap<String, Value> = match fs::read_to_string(&path) {
        Ok(text) => serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{}: {error}", said("reading"))),
        Err(_) => BTreeMap::new(),
    };
    let figure = json!({"unit": unit, "n": 1, "min": sample, "median": sample, "p95": sample, "max": sample});
    all.insert(name.to_owned(), figure);
    let text = serde_json::to_string_pretty(&all).unwrap_or_default() + "\n";
    let new = path.with_extension("new");
    let written = fs::write(&new, text).and_then(|()| fs::rename(&new, &path));
    written.unwrap_or_else(|error| panic!("{}: {error}", said("writing")));
}

/// The file: `LANDFALL_FIGURES`, else `target/figures.json` of the work tree, as the lab has it.
fn path() -> PathBuf {
    std::env::var_os("LANDFALL_FIGURES").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/figures.json"),
        PathBuf::from,
    )
}
