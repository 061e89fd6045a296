//! Reports as text for people. Pure: what is shown depends on the arguments alone.

pub(super) mod conntrack;
pub(super) mod history;
pub(super) mod l2;
pub(super) mod lb;
pub(super) mod lease;
pub(super) mod pool;
pub(super) mod service;
pub(super) mod status;

/// A value, or a dash where there is none.
fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// The name of an IP protocol (IANA).
fn protocol(number: u8) -> String {
    match number {
        6 => "TCP".to_owned(),
        17 => "UDP".to_owned(),
        132 => "SCTP".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
