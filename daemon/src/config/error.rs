//! What can be wrong with settings.

use std::collections::BTreeMap;
use std::fmt;

use ::config::ConfigError;

use super::Effective;
use super::reference::Setting;

/// One complaint: where, which key, what, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingError {
    /// A file's path, an environment variable or a flag; empty where several are involved.
    pub origin: String,
    /// The key; empty where the whole layer is meant.
    pub key: String,
    /// What is wrong.
    pub problem: String,
    /// What to write instead.
    pub remedy: String,
}

impl SettingError {
    /// Translates what the `config` crate reports while it merges or deserialises.
    pub(super) fn from_config(
        error: &ConfigError,
        effective: &BTreeMap<String, Effective>,
    ) -> Self {
        let (mut key, mut cause) = (None, error);
        while let ConfigError::At {
            error, key: outer, ..
        } = cause
        {
            key = key.or(outer.as_deref());
            cause = error;
        }
        let problem = match cause {
            ConfigError::Type {
                key: inner,
                unexpected,
                expected,
                ..
            } => {
                key = key.or(inner.as_deref());
                format!("found {unexpected}, expected {expected}")
            }
            other => other.to_string(),
        };
        let key = key.unwrap_or_default().to_owned();
        let effective = effective.get(key.split('[').next().unwrap_or_default());
        let problem = match effective {
            // The crate says "enum AttachMode does not have variant constructor ebpf".
            Some(Effective { value, .. }) if problem.starts_with("enum ") => {
                format!("{value} is not one of the choices")
            }
            _ => problem,
        };
        let remedy = Setting::of(&key).map_or_else(
            || "`landfall config` prints every key".to_owned(),
            |setting| format!("write {}", setting.expects),
        );
        let origin = effective
            .map(|value| value.origin.clone())
            .unwrap_or_default();
        Self {
            origin,
            key,
            problem,
            remedy,
        }
    }
}

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.origin.is_empty() {
            write!(f, "{}: ", self.origin)?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        write!(f, "{}; {}", self.problem, self.remedy)
    }
}

/// Everything that is wrong, one line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadError(pub Vec<SettingError>);

impl std::error::Error for LoadError {}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}
