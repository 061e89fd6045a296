//! Label selectors, as in `metav1.LabelSelector`.
//!
//! Owns validation and matching. Fed by pools' `serviceSelector` and by any other selector of the
//! model; feeds the allocator's index of which pools admit a service.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt;

/// Something with labels. Lets a selector see labels that are not stored as such.
pub trait Labelled {
    /// The value of the label `key`, if there is one.
    fn label(&self, key: &str) -> Option<&str>;
}

impl Labelled for BTreeMap<String, String> {
    fn label(&self, key: &str) -> Option<&str> {
        self.get(key).map(String::as_str)
    }
}

/// The operator and values of one entry of `matchExpressions`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operator {
    /// The label is there and has one of the values.
    In(BTreeSet<String>),
    /// The label is not there, or has none of the values.
    NotIn(BTreeSet<String>),
    /// The label is there.
    Exists,
    /// The label is not there.
    DoesNotExist,
}

/// One entry of `matchExpressions`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Requirement {
    key: String,
    operator: Operator,
}

impl Requirement {
    /// Reads an entry from its fields.
    ///
    /// # Errors
    /// The key or a value is no label key or value, the operator is unknown, `In` or `NotIn` has no
    /// values, or `Exists` or `DoesNotExist` has some.
    pub fn parse<V: AsRef<str>>(
        key: &str,
        operator: &str,
        values: &[V],
    ) -> Result<Self, SelectorError> {
        check_key(key)?;
        let listed = || -> Result<BTreeSet<String>, SelectorError> {
            if values.is_empty() {
                let (key, operator) = (key.to_owned(), operator.to_owned());
                return Err(SelectorError::NoValues { key, operator });
            }
            values
                .iter()
                .map(|value| check_value(key, value.as_ref()).map(|()| value.as_ref().to_owned()))
                .collect()
        };
        let bare = |parsed: Operator| {
            if values.is_empty() {
                return Ok(parsed);
            }
            let (key, operator) = (key.to_owned(), operator.to_owned());
            Err(SelectorError::UnexpectedValues { key, operator })
        };
        let operator = match operator {
            "In" => Operator::In(listed()?),
            "NotIn" => Operator::NotIn(listed()?),
            "Exists" => bare(Operator::Exists)?,
            "DoesNotExist" => bare(Operator::DoesNotExist)?,
            _ => {
                let (key, operator) = (key.to_owned(), operator.to_owned());
                return Err(SelectorError::UnknownOperator { key, operator });
            }
        };
        Ok(Self {
            key: key.to_owned(),
            operator,
        })
    }

    fn matches(&self, labels: &(impl Labelled + ?Sized)) -> bool {
        let value = labels.label(&self.key);
        match &self.operator {
            Operator::In(values) => value.is_some_and(|value| values.contains(value)),
            Operator::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}

/// A label selector: every label and every requirement must match. The empty one matches all.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LabelSelector {
    labels: BTreeMap<String, String>,
    requirements: Vec<Requirement>,
}

impl LabelSelector {
    /// A selector of `matchLabels` and `matchExpressions`.
    ///
    /// # Errors
    /// A key or a value of `labels` is no label key or value.
    pub fn new(
        labels: BTreeMap<String, String>,
        requirements: Vec<Requirement>,
    ) -> Result<Self, SelectorError> {
        for (key, value) in &labels {
            check_key(key)?;
            check_value(key, value)?;
        }
        Ok(Self {
            labels,
            requirements,
        })
    }

    /// Whether everything is selected.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.requirements.is_empty()
    }

    /// Whether `labels` are selected.
    pub fn matches(&self, labels: &(impl Labelled + ?Sized)) -> bool {
        self.labels
            .iter()
            .all(|(key, value)| labels.label(key) == Some(value.as_str()))
            && self
                .requirements
                .iter()
                .all(|requirement| requirement.matches(labels))
    }

    /// A label of which whatever is selected has one of the values: a key for indexes. `None` when
    /// the selector names no value.
    pub(crate) fn anchor(&self) -> Option<(&str, Vec<&str>)> {
        if let Some((key, value)) = self.labels.first_key_value() {
            return Some((key, vec![value]));
        }
        self.requirements
            .iter()
            .find_map(|requirement| match &requirement.operator {
                Operator::In(values) => Some((
                    requirement.key.as_str(),
                    values.iter().map(String::as_str).collect(),
                )),
                _ => None,
            })
    }
}

/// Why a selector is refused. The text begins with the field and ends with the remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SelectorError {
    /// The key is no qualified name.
    BadKey {
        /// What was written.
        key: String,
    },
    /// The value is no label value.
    BadValue {
        /// The label's key.
        key: String,
        /// What was written.
        value: String,
    },
    /// The operator is none of the four.
    UnknownOperator {
        /// The requirement's key.
        key: String,
        /// What was written.
        operator: String,
    },
    /// `In` or `NotIn` without values.
    NoValues {
        /// The requirement's key.
        key: String,
        /// The operator.
        operator: String,
    },
    /// `Exists` or `DoesNotExist` with values.
    UnexpectedValues {
        /// The requirement's key.
        key: String,
        /// The operator.
        operator: String,
    },
}

impl fmt::Display for SelectorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadKey { key } => write!(
                f,
                "key: \"{key}\" is no label key; write an optional DNS prefix and a slash, then \
                 at most 63 letters, digits, '-', '_' or '.', a letter or digit at both ends"
            ),
            Self::BadValue { key, value } => write!(
                f,
                "values: \"{value}\" of \"{key}\" is no label value; write at most 63 letters, \
                 digits, '-', '_' or '.', a letter or digit at both ends"
            ),
            Self::UnknownOperator { key, operator } => write!(
                f,
                "operator: \"{operator}\" of \"{key}\" is unknown; write In, NotIn, Exists or \
                 DoesNotExist"
            ),
            Self::NoValues { key, operator } => {
                write!(
                    f,
                    "values: {operator} of \"{key}\" has none; list at least one value"
                )
            }
            Self::UnexpectedValues { key, operator } => write!(
                f,
                "values: {operator} of \"{key}\" takes none; remove them, or write In or NotIn"
            ),
        }
    }
}

impl Error for SelectorError {}

/// A name of at most 63 characters, alphanumeric at both ends (Kubernetes' label syntax).
fn is_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    (1..=63).contains(&bytes.len())
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
        && bytes[0].is_ascii_alphanumeric()
        && bytes[bytes.len() - 1].is_ascii_alphanumeric()
}

/// A DNS subdomain in the sense of RFC 1123.
fn is_subdomain(text: &str) -> bool {
    text.len() <= 253
        && text.split('.').all(|part| {
            part.bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
                && !part.is_empty()
                && !part.starts_with('-')
                && !part.ends_with('-')
        })
}

fn check_key(key: &str) -> Result<(), SelectorError> {
    let valid = match key.split_once('/') {
        Some((prefix, name)) => is_subdomain(prefix) && is_name(name),
        None => is_name(key),
    };
    if valid {
        Ok(())
    } else {
        Err(SelectorError::BadKey {
            key: key.to_owned(),
        })
    }
}

fn check_value(key: &str, value: &str) -> Result<(), SelectorError> {
    if value.is_empty() || is_name(value) {
        return Ok(());
    }
    Err(SelectorError::BadValue {
        key: key.to_owned(),
        value: value.to_owned(),
    })
}

#[cfg(test)]
mod tests;
