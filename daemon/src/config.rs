//! The settings: what they are, where they come from, and what is wrong with them.
//!
//! Four layers, the later ones winning: built-in defaults, the file (`/etc/landfall/landfall.toml`),
//! the environment (`LANDFALL_L2__LEASE_DURATION` for `l2.lease_duration`), flags. They are read,
//! merged and checked once, before anything else starts; what comes out is a plain [`Settings`]
//! that the rest of the daemon takes for granted. Every complaint names the key, the place it was
//! written in, and what to write instead; all of them are reported together.

mod error;
mod layer;
mod reference;
mod settings;
mod validate;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ::config::{Config, Value};

pub use error::{LoadError, SettingError};
pub use reference::{REFERENCE, Setting, environment_variable};
pub use settings::{
    Api, AttachMode, Datapath, ForwardMode, L2, LogFormat, LogSettings, Metrics, MetricsListen,
    Node, Responder, ServiceSettings, Settings, SourceKind, SourceSettings, State,
};

/// Where the file is looked for when none is named.
pub const DEFAULT_FILE: &str = "/etc/landfall/landfall.toml";

/// What to read settings from.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// The file asked for with `--config`; it must exist. Without one, [`DEFAULT_FILE`] is read if
    /// it is there.
    pub file: Option<PathBuf>,
    /// The process environment, as name and value.
    pub environment: Vec<(String, String)>,
    /// Settings given as flags: the key, its value as written, and the flag's name for messages.
    pub flags: Vec<Flag>,
}

/// One setting given on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flag {
    /// The key it sets, such as `node.name`.
    pub key: String,
    /// The value as written.
    pub value: String,
    /// The flag, such as `--node-name`.
    pub flag: String,
}

/// The effective settings, with where each came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// By key: the effective value and its origin.
    pub effective: BTreeMap<String, Effective>,
}

/// One effective value.
#[derive(Clone, Debug, PartialEq)]
pub struct Effective {
    /// The value.
    pub value: serde_json::Value,
    /// `default`, a file's path, an environment variable or a flag.
    pub origin: String,
}

/// Reads, merges and checks the settings.
///
/// # Errors
/// Everything that is wrong in any layer, as one [`LoadError`].
pub fn load(inputs: &Inputs) -> Result<Loaded, LoadError> {
    let file = match &inputs.file {
        Some(path) => Some(path.as_path()),
        None => Some(Path::new(DEFAULT_FILE)).filter(|path| path.exists()),
    };
    let mut layers = vec![layer::defaults()];
    let mut errors = Vec::new();
    for layer in [
        file.map(layer::file),
        Some(layer::environment(&inputs.environment)),
        Some(layer::flags(&inputs.flags)),
    ]
    .into_iter()
    .flatten()
    {
        match layer {
            Ok(layer) => layers.push(layer),
            Err(mut found) => errors.append(&mut found),
        }
    }
    if !errors.is_empty() {
        return Err(LoadError(errors));
    }
    // Two defaults follow from elsewhere: the lease directory from the state directory, the node's
    // name from the kernel.
    let derived = layer::derived(&merge(&layers)?);
    layers.insert(0, derived);
    let merged = merge(&layers)?;

    let effective = layer::effective(&merged, &layers);
    let settings: Settings = merged
        .try_deserialize()
        .map_err(|error| LoadError(vec![SettingError::from_config(&error, &effective)]))?;
    let found = validate::check(&settings, &effective);
    if !found.is_empty() {
        return Err(LoadError(found));
    }
    Ok(Loaded {
        settings,
        effective,
    })
}

fn merge(layers: &[layer::Layer]) -> Result<Config, LoadError> {
    let mut builder = Config::builder();
    for layer in layers {
        builder = builder.add_source(layer.clone());
    }
    let untold = BTreeMap::new();
    builder
        .build()
        .map_err(|error| LoadError(vec![SettingError::from_config(&error, &untold)]))
}

/// A value as JSON, for display.
fn to_json(value: Value) -> serde_json::Value {
    value.try_deserialize().unwrap_or(serde_json::Value::Null)
}
