//! From a document's tree to the API's structs.
//!
//! Decides by `apiVersion` and `kind` what a document is, takes lists apart, and turns serde's
//! errors into complaints that name the field. Fed by `document`; feeds `convert`.

use k8s_openapi::api::core::v1::{Namespace, Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use landfall_core::model::ObjectRef;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::complaint::Complaints;
use super::document::Document;
use crate::objects::{
    CILIUM_GROUP, CILIUM_VERSIONS, GROUP, L2AnnouncementPolicy, LoadBalancerIPPool, VERSION,
};

/// An object as the API has it.
pub(super) enum Raw {
    Service(Box<Service>),
    EndpointSlice(Box<EndpointSlice>),
    Pod(Box<Pod>),
    Node(Box<Node>),
    Namespace(Box<Namespace>),
    Pool(Box<LoadBalancerIPPool>),
    Policy(Box<L2AnnouncementPolicy>),
}

/// A kind that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Service,
    EndpointSlice,
    Pod,
    Node,
    Namespace,
    Pool,
    Policy,
}

/// An object of a document, not yet looked into.
pub(super) struct Item {
    /// Where it was read: the file and the document, and the place in a list.
    pub(super) origin: String,
    pub(super) value: Value,
}

impl Item {
    /// What it says it is, as far as it says so.
    pub(super) fn object(&self) -> ObjectRef {
        let text = |pointer: &str| {
            self.value
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
        let kind = text("/kind");
        let namespaced = matches!(kind.as_str(), "Service" | "EndpointSlice" | "Pod");
        let name = match (namespaced && !name.is_empty(), namespace.as_str()) {
            (false, _) => name,
            (true, "") => format!("default/{name}"),
            (true, namespace) => format!("{namespace}/{name}"),
        };
        ObjectRef { kind, name }
    }
}

/// The objects of a document: itself, or the items if it is a list (`kind: List`, `ServiceList`).
pub(super) fn items(file: &str, document: Document) -> Vec<Item> {
    let origin = format!("{file}, document {}", document.number);
    let mut value = document.value;
    let list = value
        .get("kind")
        .and_then(Value::as_str)
        .is_some_and(|kind| kind.ends_with("List"));
    match value.get_mut("items").map(Value::take) {
        Some(Value::Array(values)) if list => values
            .into_iter()
            .enumerate()
            .map(|(index, value)| Item {
                origin: format!("{origin}, item {}", index + 1),
                value,
            })
            .collect(),
        Some(other) => {
            value["items"] = other;
            vec![Item { origin, value }]
        }
        None => vec![Item { origin, value }],
    }
}

/// The kind of an object by its `apiVersion` and `kind`.
///
/// Complains and returns nothing where it has none or is not read.
pub(super) fn kind(value: &Value, cilium: bool, complaints: &mut Complaints) -> Option<Kind> {
    let Value::Object(fields) = value else {
        complaints.error("", "is no object", "begin it with apiVersion and kind");
        return None;
    };
    let version = text(fields, "apiVersion", "v1", complaints)?;
    let name = text(fields, "kind", "Service", complaints)?;
    let own = (GROUP, &[VERSION][..]);
    let twin = (CILIUM_GROUP, &CILIUM_VERSIONS[..]);
    let (kind, (group, versions)) = match name {
        "Service" => (Kind::Service, ("", &["v1"][..])),
        "Pod" => (Kind::Pod, ("", &["v1"][..])),
        "Node" => (Kind::Node, ("", &["v1"][..])),
        "Namespace" => (Kind::Namespace, ("", &["v1"][..])),
        "EndpointSlice" => (Kind::EndpointSlice, ("discovery.k8s.io", &["v1"][..])),
        "LoadBalancerIPPool" => (Kind::Pool, own),
        "L2AnnouncementPolicy" => (Kind::Policy, own),
        "CiliumLoadBalancerIPPool" => (Kind::Pool, twin),
        "CiliumL2AnnouncementPolicy" => (Kind::Policy, twin),
        _ => return unread(version, name, value, complaints),
    };
    let (written_group, written_version) = version.rsplit_once('/').unwrap_or(("", version));
    if written_group != group && group.is_empty() {
        // Another group's kind of the same name, such as Knative's Service.
        return unread(version, name, value, complaints);
    }
    if written_group != group || !versions.contains(&written_version) {
        let newest = versions.last().copied().unwrap_or_default();
        let slash = if group.is_empty() { "" } else { "/" };
        complaints.error(
            "apiVersion",
            format!("`{version}` is not read"),
            format!("write {group}{slash}{newest}"),
        );
        return None;
    }
    if group == CILIUM_GROUP && !cilium {
        complaints.warning(
            "kind",
            format!("{name} is not read, as services.cilium is off"),
            "switch it on, or write Landfall's own kind",
        );
        return None;
    }
    Some(kind)
}

/// An object of an unknown kind is skipped; what has not even a name is no object, but perhaps the
/// beginning of one, in a file that was cut off.
fn unread(version: &str, name: &str, value: &Value, complaints: &mut Complaints) -> Option<Kind> {
    if !value
        .pointer("/metadata/name")
        .is_some_and(Value::is_string)
    {
        complaints.error("metadata.name", "is missing", "give the object a name");
    }
    complaints.warning(
        "kind",
        format!("{name} of {version} is unknown and was skipped"),
        "remove it from here unless its kind is misspelt",
    );
    None
}

fn text<'a>(
    fields: &'a Map<String, Value>,
    field: &str,
    example: &str,
    complaints: &mut Complaints,
) -> Option<&'a str> {
    match fields.get(field) {
        Some(Value::String(text)) if !text.is_empty() => return Some(text),
        None | Some(Value::Null) => {
            complaints.error(
                field,
                "is missing",
                format!("add it, such as {field}: {example}"),
            );
        }
        Some(_) => complaints.error(field, "is no text", format!("write for example {example}")),
    }
    None
}

/// The structs of an object of `kind`.
///
/// Complains and returns nothing where a field has the wrong type or, in a strict kind, is unknown.
pub(super) fn decode(kind: Kind, value: Value, complaints: &mut Complaints) -> Option<Raw> {
    Some(match kind {
        Kind::Service => Raw::Service(Box::new(typed(value, complaints)?)),
        Kind::EndpointSlice => Raw::EndpointSlice(Box::new(typed(value, complaints)?)),
        Kind::Pod => Raw::Pod(Box::new(typed(value, complaints)?)),
        Kind::Node => Raw::Node(Box::new(typed(value, complaints)?)),
        Kind::Namespace => Raw::Namespace(Box::new(typed(value, complaints)?)),
        Kind::Pool => Raw::Pool(Box::new(strict(value, complaints)?)),
        Kind::Policy => Raw::Policy(Box::new(strict(value, complaints)?)),
    })
}

/// Custom kinds deny unknown fields within `spec` and `status` by their structs, and here beside
/// them.
fn strict<T: DeserializeOwned>(value: Value, complaints: &mut Complaints) -> Option<T> {
    const FIELDS: [&str; 5] = ["apiVersion", "kind", "metadata", "spec", "status"];
    for field in value
        .as_object()?
        .keys()
        .filter(|field| !FIELDS.contains(&field.as_str()))
    {
        complaints.error(field, "is unknown", "remove it, or write it within spec");
    }
    if complaints.fatal() {
        return None;
    }
    typed(value, complaints)
}

fn typed<T: DeserializeOwned>(value: Value, complaints: &mut Complaints) -> Option<T> {
    match serde_path_to_error::deserialize(value) {
        Ok(object) => Some(object),
        Err(error) => {
            let path = error.path().to_string();
            let path = if path == "." { "" } else { &path };
            let (field, problem, remedy) = explain(path, &error.inner().to_string());
            complaints.error(field, problem, remedy);
            None
        }
    }
}

/// What serde says in the words of a manifest's author.
fn explain(path: &str, error: &str) -> (String, String, String) {
    let field = path.to_owned();
    if let Some(rest) = error.strip_prefix("unknown field `") {
        let (name, choices) = rest.split_once('`').unwrap_or((rest, ""));
        let field = if path.ends_with(name) {
            field
        } else if path.is_empty() {
            name.to_owned()
        } else {
            format!("{path}.{name}")
        };
        let choices = choices
            .trim_start_matches(", expected ")
            .trim_start_matches("one of ");
        return (
            field,
            "is unknown".into(),
            format!("remove it, or write one of {choices}"),
        );
    }
    if let Some(rest) = error.strip_prefix("missing field `") {
        let name = rest.trim_end_matches('`');
        let field = if path.is_empty() {
            name.to_owned()
        } else {
            format!("{path}.{name}")
        };
        return (field, "is missing".into(), "add it".into());
    }
    if let Some(rest) = error.strip_prefix("unknown variant `") {
        let (name, choices) = rest.split_once("`, expected ").unwrap_or((rest, ""));
        let choices = choices.trim_start_matches("one of ");
        return (
            field,
            format!("`{name}` is not one of the choices"),
            format!("write {choices}"),
        );
    }
    let found = error
        .strip_prefix("invalid type: ")
        .or(error.strip_prefix("invalid value: "));
    if let Some((found, expected)) = found.and_then(|rest| rest.rsplit_once(", expected ")) {
        return (
            field,
            format!("{found} stands here"),
            format!("write {}", plain(expected)),
        );
    }
    (
        field,
        error.to_owned(),
        "write it as Kubernetes has it".into(),
    )
}

/// A Rust type in plain words.
fn plain(expected: &str) -> &str {
    match expected {
        "i32" | "i64" | "u16" | "u32" | "u64" | "f64" => "a number",
        "a string" | "string" => "text, in quotes if it looks like a number",
        "a boolean" | "bool" => "true or false",
        "a sequence" => "a list",
        "a map" => "a mapping of names to values",
        expected if expected.starts_with("struct ") => "a mapping of its fields",
        // k8s-openapi names its types.
        expected if expected.starts_with(char::is_uppercase) => "a mapping of its fields",
        expected => expected,
    }
}
