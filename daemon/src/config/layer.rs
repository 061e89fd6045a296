//! Layers of settings, each value marked with where it was written.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use ::config::{Config, ConfigError, File, FileFormat, Map, Source, Value, ValueKind};

use super::reference::{REFERENCE, Setting, environment_variable};
use super::{Effective, Flag, SettingError, Settings, to_json};

const DEFAULT: &str = "default";

/// One layer: values by full key.
#[derive(Clone, Debug, Default)]
pub(super) struct Layer(Map<String, Value>);

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(self.0.clone())
    }
}

/// The built-in defaults.
pub(super) fn defaults() -> Layer {
    let settings = serde_json::to_value(Settings::default())
        .expect("settings are made of strings, numbers and lists");
    let sections = settings.as_object().into_iter().flatten();
    let mut layer = Layer::default();
    for (section, values) in sections {
        for (name, value) in values.as_object().into_iter().flatten() {
            let kind = match value {
                serde_json::Value::Bool(value) => ValueKind::Boolean(*value),
                serde_json::Value::Number(value) => {
                    ValueKind::I64(value.as_i64().expect("default numbers are small and whole"))
                }
                serde_json::Value::Array(_) => ValueKind::Array(Vec::new()),
                other => ValueKind::String(other.as_str().unwrap_or_default().to_owned()),
            };
            layer.put(&format!("{section}.{name}"), DEFAULT, kind);
        }
    }
    layer
}

/// Defaults that follow from the machine or from other settings.
pub(super) fn derived(merged: &Config) -> Layer {
    let mut layer = Layer::default();
    let state = merged.get_string("state.dir").unwrap_or_default();
    let lease_dir = Path::new(&state)
        .join("leases")
        .to_string_lossy()
        .into_owned();
    layer.put(
        "state.lease_dir",
        "default, below state.dir",
        ValueKind::String(lease_dir),
    );
    layer.put(
        "node.name",
        "default, the host's name",
        ValueKind::String(hostname()),
    );
    layer
}

/// The host's name as the kernel has it, in lower case as Node names are. Not through glibc's
/// `gethostname`-and-resolve: a static binary has no name service.
fn hostname() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname")
        .map(|name| name.trim().to_lowercase())
        .unwrap_or_default()
}

/// The file's settings.
pub(super) fn file(path: &Path) -> Result<Layer, Vec<SettingError>> {
    let origin = path.display().to_string();
    let whole = |problem: String, remedy: &str| {
        vec![SettingError {
            origin: origin.clone(),
            key: String::new(),
            problem,
            remedy: remedy.to_owned(),
        }]
    };
    let text = fs::read_to_string(path).map_err(|error| {
        whole(
            format!("cannot be read: {error}"),
            "name a readable file, or leave --config out to use the defaults",
        )
    })?;
    let tables = File::from_str(&text, FileFormat::Toml)
        .collect()
        .map_err(|error| {
            let text = error.to_string();
            whole(
                format!("is not TOML: {}", text.trim_end()),
                "write sections such as [l2] and lines such as lease_duration = \"3s\"",
            )
        })?;
    let mut layer = Layer::default();
    let mut errors = Vec::new();
    for (section, value) in tables {
        let ValueKind::Table(table) = value.kind else {
            errors.push(unknown(&origin, &section));
            continue;
        };
        for (name, value) in table {
            let key = format!("{section}.{name}");
            if Setting::of(&key).is_some() {
                layer.put(&key, &origin, value.kind);
            } else {
                errors.push(unknown(&origin, &key));
            }
        }
    }
    errors.sort_by(|a, b| a.key.cmp(&b.key));
    if errors.is_empty() {
        Ok(layer)
    } else {
        Err(errors)
    }
}

/// The environment's settings. Only names with two underscores are looked at: Kubernetes puts
/// variables such as `LANDFALL_METRICS_PORT_9465_TCP` into every pod of a namespace that has a
/// Service named `landfall-metrics`, and those are no settings of ours.
pub(super) fn environment(variables: &[(String, String)]) -> Result<Layer, Vec<SettingError>> {
    let mut layer = Layer::default();
    let mut errors = Vec::new();
    for (name, text) in variables {
        let Some(rest) = name.strip_prefix("LANDFALL_") else {
            continue;
        };
        let known = |setting: &&Setting| environment_variable(setting.key) == *name;
        if let Some(setting) = REFERENCE.iter().find(known) {
            layer.put(setting.key, name, from_text(setting.key, text));
        } else if rest.contains("__") || REFERENCE.iter().any(|setting| misses_one(setting, rest)) {
            errors.push(SettingError {
                origin: "environment".to_owned(),
                key: name.clone(),
                problem: "sets nothing".to_owned(),
                remedy: nearest(name, REFERENCE.iter().map(|s| environment_variable(s.key))),
            });
        }
    }
    if errors.is_empty() {
        Ok(layer)
    } else {
        Err(errors)
    }
}

/// Whether `rest` names the setting but for the second underscore.
fn misses_one(setting: &Setting, rest: &str) -> bool {
    setting.key.replace('.', "_").eq_ignore_ascii_case(rest)
}

/// The command line's settings.
pub(super) fn flags(flags: &[Flag]) -> Result<Layer, Vec<SettingError>> {
    let mut layer = Layer::default();
    let mut errors = Vec::new();
    for Flag { key, value, flag } in flags {
        if Setting::of(key).is_some() {
            layer.put(key, flag, from_text(key, value));
        } else {
            errors.push(unknown(flag, key));
        }
    }
    if errors.is_empty() {
        Ok(layer)
    } else {
        Err(errors)
    }
}

/// Text from the environment or a flag; lists are written with commas.
fn from_text(key: &str, text: &str) -> ValueKind {
    let list = defaults()
        .0
        .get(key)
        .is_some_and(|v| matches!(v.kind, ValueKind::Array(_)));
    if !list {
        return ValueKind::String(text.to_owned());
    }
    let items = text
        .split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty());
    ValueKind::Array(items.map(|item| Value::new(None, item)).collect())
}

fn unknown(origin: &str, key: &str) -> SettingError {
    SettingError {
        origin: origin.to_owned(),
        key: key.to_owned(),
        problem: "unknown key".to_owned(),
        remedy: nearest(key, REFERENCE.iter().map(|setting| setting.key.to_owned())),
    }
}

/// The remedy for a misspelt name.
fn nearest(name: &str, known: impl Iterator<Item = String>) -> String {
    known
        .map(|candidate| (edit_distance(name, &candidate), candidate))
        .min()
        .filter(|(distance, _)| *distance <= 1 + name.len() / 4)
        .map_or_else(
            || "remove it; `landfall config` prints every key".to_owned(),
            |(_, candidate)| format!("did you mean `{candidate}`?"),
        )
}

/// Levenshtein distance over bytes; names are ASCII and short.
fn edit_distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// Every effective value with its origin: the last layer that has it. (Merging keeps values and
/// forgets where they came from.)
pub(super) fn effective(merged: &Config, layers: &[Layer]) -> BTreeMap<String, Effective> {
    let mut effective = BTreeMap::new();
    for setting in REFERENCE {
        let written = layers
            .iter()
            .rev()
            .find_map(|layer| layer.0.get(setting.key));
        let origin = written
            .and_then(Value::origin)
            .unwrap_or(DEFAULT)
            .to_owned();
        if let Ok(value) = merged.get::<Value>(setting.key) {
            let value = to_json(value);
            effective.insert(setting.key.to_owned(), Effective { value, origin });
        }
    }
    effective
}

impl Layer {
    fn put(&mut self, key: &str, origin: &str, kind: ValueKind) {
        self.0
            .insert(key.to_owned(), Value::new(Some(&origin.to_owned()), kind));
    }
}
