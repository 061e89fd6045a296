//! Reports as text for people. Pure: what is shown depends on the arguments alone.

pub(super) mod l2;
pub(super) mod lease;
pub(super) mod pool;
pub(super) mod service;
pub(super) mod status;

#[cfg(test)]
mod tests;

/// A value, or a dash where there is none.
fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}
