//! Label selectors.

use landfall_ipam::{LabelSelector, Requirement};

use crate::objects;
use crate::source::complaint::Complaints;

/// The selector written in `field`.
pub(super) fn selector(
    field: &str,
    written: &objects::LabelSelector,
    complaints: &mut Complaints,
) -> Option<LabelSelector> {
    let mut requirements = Vec::new();
    for (index, entry) in written.match_expressions.iter().enumerate() {
        match Requirement::parse(&entry.key, &entry.operator, &entry.values) {
            Ok(requirement) => requirements.push(requirement),
            Err(error) => {
                let field = format!("{field}.matchExpressions[{index}]");
                complaints.error_text(&field, &error.to_string());
            }
        }
    }
    match LabelSelector::new(written.match_labels.clone(), requirements) {
        Ok(selector) => Some(selector),
        Err(error) => {
            // A label has neither `key` nor `values` for a field: the whole mapping is meant.
            let text = error.to_string();
            let text = text
                .split_once(": ")
                .map_or(text.as_str(), |(_, rest)| rest);
            complaints.error_text("", &format!("{field}.matchLabels: {text}"));
            None
        }
    }
}
