//! What is left of an object; pure.
//!
//! A few hundred Nodes with their images, and thousands of Services with the notes of all who ever wrote to them, would
//! take a hundred times the memory of what the model reads. What is left of `metadata.managedFields` says who wrote the
//! addresses in a Service's status, and nothing else.

use serde_json::{Map, Value, json};

use super::kind::WatchedKind;
use crate::source::convert::INGRESS;

/// The label of a slice that names its Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// What kubectl keeps for itself: the whole object once more.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Metadata that is read.
const METADATA: [&str; 7] = [
    "name",
    "namespace",
    "uid",
    "creationTimestamp",
    "labels",
    "annotations",
    "managedFields",
];
/// What of an endpoint is read.
const ENDPOINT: [&str; 5] = ["addresses", "conditions", "nodeName", "zone", "targetRef"];
/// What of an endpoint's pod is read.
const TARGET: [&str; 3] = ["kind", "namespace", "name"];

/// What no kind needs goes, so that a list never stands in memory as large as it came.
pub(super) fn on_arrival(object: &mut Value) {
    if let Some(metadata) = field(object, "metadata") {
        metadata.retain(|name, _| METADATA.contains(&name.as_str()));
        if let Some(Value::Object(notes)) = metadata.get_mut("annotations") {
            notes.remove(LAST_APPLIED);
        }
        let writers = metadata.remove("managedFields").map(|all| writers(&all));
        if let Some(writers) = writers.filter(|writers| !writers.is_empty()) {
            metadata.insert("managedFields".to_owned(), Value::Array(writers));
        }
    }
    if let Some(status) = field(object, "status") {
        status.retain(|name, _| matches!(name.as_str(), "loadBalancer" | "addresses"));
    }
}

/// What the model reads of an object of `kind`, which says what it is.
pub(super) fn to_kind(kind: WatchedKind, api_version: &str, mut object: Value) -> Value {
    match kind {
        WatchedKind::Service => {}
        WatchedKind::EndpointSlice => slice(&mut object),
        WatchedKind::Node => {
            remove(&mut object, &["spec"]);
            remove_metadata(&mut object, &["annotations"]);
        }
        WatchedKind::Pool
        | WatchedKind::Policy
        | WatchedKind::CiliumPool
        | WatchedKind::CiliumPolicy => {
            // The status is ours or Cilium's to write, and nobody's to read.
            remove(&mut object, &["status"]);
            remove_metadata(&mut object, &["annotations", "labels", "managedFields"]);
        }
    }
    if let Value::Object(fields) = &mut object {
        // The items of a list do not say it.
        fields.insert("apiVersion".to_owned(), api_version.into());
        fields.insert("kind".to_owned(), kind.name().into());
    }
    object
}

fn slice(object: &mut Value) {
    remove_metadata(object, &["annotations"]);
    if let Some(Value::Object(labels)) = object.pointer_mut("/metadata/labels") {
        labels.retain(|name, _| name == SERVICE_NAME);
    }
    let Some(Value::Array(endpoints)) = object.get_mut("endpoints") else {
        return;
    };
    for endpoint in endpoints {
        if let Value::Object(fields) = endpoint {
            fields.retain(|name, _| ENDPOINT.contains(&name.as_str()));
        }
        if let Some(target) = field(endpoint, "targetRef") {
            target.retain(|name, _| TARGET.contains(&name.as_str()));
        }
    }
}

/// Who wrote the addresses in the status, without when.
fn writers(managed: &Value) -> Vec<Value> {
    let entries = managed.as_array().into_iter().flatten();
    entries
        .filter(|entry| {
            let fields = entry.get("fieldsV1");
            fields.is_some_and(|fields| fields.pointer(INGRESS).is_some())
        })
        .map(|entry| {
            json!({
                "manager": entry.get("manager"),
                "fieldsV1": {"f:status": {"f:loadBalancer": {"f:ingress": {}}}},
            })
        })
        .collect()
}

fn field<'a>(object: &'a mut Value, name: &str) -> Option<&'a mut Map<String, Value>> {
    object.get_mut(name).and_then(Value::as_object_mut)
}

fn remove(object: &mut Value, names: &[&str]) {
    if let Value::Object(fields) = object {
        fields.retain(|name, _| !names.contains(&name.as_str()));
    }
}

fn remove_metadata(object: &mut Value, names: &[&str]) {
    if let Some(metadata) = field(object, "metadata") {
        metadata.retain(|name, _| !names.contains(&name.as_str()));
    }
}
