//! `metadata`: names and times.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use landfall_core::model::{ObjectName, ObjectRef};

use super::Context;
use crate::source::complaint::Complaints;

/// What a name may look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NameForm {
    /// RFC 1123 label: Services and Namespaces.
    Label,
    /// RFC 1123 subdomain: everything else.
    Subdomain,
}

/// Complaints about the object with this metadata.
pub(super) fn complaints(
    metadata: &ObjectMeta,
    namespaced: bool,
    context: &Context<'_>,
) -> Complaints {
    let name = metadata.name.as_deref().unwrap_or_default();
    let name = if namespaced && !name.is_empty() {
        format!("{}/{name}", namespace_or_default(metadata))
    } else {
        name.to_owned()
    };
    Complaints::new(
        context.origin,
        ObjectRef {
            kind: context.kind.to_owned(),
            name,
        },
    )
}

/// `metadata.name` of an object without a namespace.
pub(super) fn name(
    metadata: &ObjectMeta,
    form: NameForm,
    complaints: &mut Complaints,
) -> Option<Arc<str>> {
    let name = metadata.name.as_deref().unwrap_or_default();
    if name.is_empty() {
        complaints.error("metadata.name", "is missing", "give the object a name");
        return None;
    }
    check("metadata.name", name, form, complaints).then(|| name.into())
}

/// `metadata.namespace` and `metadata.name`.
pub(super) fn object_name(
    metadata: &ObjectMeta,
    form: NameForm,
    complaints: &mut Complaints,
) -> Option<ObjectName> {
    let namespace = namespace_or_default(metadata);
    let legal = check("metadata.namespace", namespace, NameForm::Label, complaints);
    let name = name(metadata, form, complaints)?;
    legal.then(|| ObjectName::new(namespace, name))
}

fn namespace_or_default(metadata: &ObjectMeta) -> &str {
    metadata
        .namespace
        .as_deref()
        .filter(|name| !name.is_empty())
        .unwrap_or("default")
}

fn check(field: &str, name: &str, form: NameForm, complaints: &mut Complaints) -> bool {
    let (legal, most, dots) = match form {
        NameForm::Label => (is_label(name), 63, ""),
        NameForm::Subdomain => (
            name.len() <= 253 && name.split('.').all(is_label),
            253,
            " and `.`",
        ),
    };
    if !legal {
        complaints.error(
            field,
            format!("`{}` is no legal name (RFC 1123)", shortened(name)),
            format!(
                "write lower-case letters, digits, `-`{dots}, at most {most}, a letter or digit at \
                 both ends"
            ),
        );
    }
    legal
}

/// Whether `text` is an RFC 1123 label.
pub(super) fn is_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// `text`, cut where it would fill the screen.
pub(super) fn shortened(text: &str) -> String {
    const MOST: usize = 80;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// `metadata.creationTimestamp`, else when the object was first seen; seconds since the epoch.
pub(super) fn created(metadata: &ObjectMeta, context: &Context<'_>) -> u64 {
    metadata
        .creation_timestamp
        .as_ref()
        .and_then(|time| u64::try_from(time.0.as_second()).ok())
        .unwrap_or(context.first_seen)
}
