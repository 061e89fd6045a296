//! Measured figures, kept in `target/figures.json` as
//! `{"name": {"unit", "n", "min", "median", "p95", "max"}}`.
//!
//! Every test and benchmark adds its own; what others wrote stays.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

/// What is kept of a figure's samples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// The unit of the four values.
    pub unit: String,
    /// The number of samples.
    pub n: usize,
    /// The smallest sample.
    pub min: f64,
    /// The middle sample, or the mean of the two middle ones.
    pub median: f64,
    /// The smallest sample that at least 95 % of the samples do not exceed.
    pub p95: f64,
    /// The largest sample.
    pub max: f64,
}

impl Figure {
    /// Sums samples up.
    ///
    /// # Errors
    /// When there is none, or one is not a number.
    pub fn of(unit: &str, samples: &[f64]) -> Result<Self> {
        ensure!(
            samples.iter().all(|sample| sample.is_finite()),
            "a sample is not a number"
        );
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let n = sorted.len();
        ensure!(n > 0, "a figure needs a sample");
        let median = f64::midpoint(sorted[(n - 1) / 2], sorted[n / 2]);
        let p95 = sorted[(n * 95).div_ceil(100) - 1];
        Ok(Self {
            unit: unit.to_owned(),
            n,
            min: sorted[0],
            median,
            p95,
            max: sorted[n - 1],
        })
    }
}

/// Writes a figure and prints it.
///
/// # Errors
/// When there is no sample, or the file cannot be read or written.
pub fn record(name: &str, unit: &str, samples: &[f64]) -> Result<Figure> {
    let figure = Figure::of(unit, samples).with_context(|| format!("figure {name}"))?;
    merge(&path(), name, &figure)?;
    let Figure {
        n,
        min,
        median,
        p95,
        max,
        ..
    } = &figure;
    println!("figure {name}: median {median} {unit} (n={n}, min {min}, p95 {p95}, max {max})");
    Ok(figure)
}

/// As [`record`], in milliseconds with a precision of a microsecond.
///
/// # Errors
/// As [`record`].
pub fn record_times(name: &str, samples: &[Duration]) -> Result<Figure> {
    let samples: Vec<f64> = samples
        .iter()
        .map(|time| time.as_micros() as f64 / 1000.0)
        .collect();
    record(name, "ms", &samples)
}

/// The file: `LANDFALL_FIGURES`, else `target/figures.json` of the work tree.
#[must_use]
pub fn path() -> PathBuf {
    std::env::var_os("LANDFALL_FIGURES").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/figures.json"),
        PathBuf::from,
    )
}

/// Adds a figure to a file in one step; writers at the same time wait for each other.
fn merge(path: &Path, name: &str, figure: &Figure) -> Result<()> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
    }
    let lock = File::create(path.with_extension("lock")).context("the figures' lock")?;
    lock.lock().context("the figures' lock")?;
    let mut all: BTreeMap<String, Figure> = match fs::read_to_string(path) {
        Ok(text) => serde_json::from_str(&text).with_context(|| path.display().to_string())?,
        Err(e) if e.kind() == ErrorKind::NotFound => BTreeMap::new(),
        Err(e) => return Err(e).with_context(|| path.display().to_string()),
    };
    all.insert(name.to_owned(), figure.clone());
    let new = path.with_extension("new");
    fs::write(&new, serde_json::to_string_pretty(&all)? + "\n")?;
    fs::rename(&new, path).with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_summed_up_by_rank() {
        let samples: Vec<f64> = (1..=20).rev().map(f64::from).collect();
        let figure = Figure::of("ms", &samples).unwrap();
        assert_eq!(
            (figure.min, figure.median, figure.p95, figure.max),
            (1.0, 10.5, 19.0, 20.0)
        );
        let one = Figure::of("ms", &[7.0]).unwrap();
        assert_eq!(
            (one.min, one.median, one.p95, one.max),
            (7.0, 7.0, 7.0, 7.0)
        );
    }

    #[test]
    fn no_samples_are_no_figure() {
        assert!(Figure::of("ms", &[]).is_err());
        assert!(Figure::of("ms", &[f64::NAN]).is_err());
    }

    #[test]
    fn a_figure_leaves_the_others_in_the_file() {
        let dir = std::env::temp_dir().join(format!("landfall-figures-{}", std::process::id()));
        let path = dir.join("figures.json");
        let (a, b) = (
            Figure::of("ms", &[1.0]).unwrap(),
            Figure::of("MiB", &[2.0]).unwrap(),
        );
        for (name, figure) in [("a", &a), ("b", &b), ("a", &b)] {
            merge(&path, name, figure).unwrap();
        }
        let all: BTreeMap<String, Figure> =
            serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        fs::remove_dir_all(&dir).unwrap();
        assert_eq!(
            all,
            BTreeMap::from([("a".to_owned(), b.clone()), ("b".to_owned(), b)])
        );
    }
}
