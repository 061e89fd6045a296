//! Nodes and Namespaces.

use k8s_openapi::api::core::v1 as api;
use landfall_core::model::{Namespace, Node, NodeName};

use super::metadata::NameForm;
use super::{Context, addresses, metadata};
use crate::source::complaint::Converted;

/// Converts a Node: its labels and its internal and external addresses.
pub fn node(object: &api::Node, context: &Context<'_>) -> Converted<Node> {
    let mut found = metadata::complaints(&object.metadata, false, context);
    let name = metadata::name(&object.metadata, NameForm::Subdomain, &mut found);
    let listed = object
        .status
        .iter()
        .flat_map(|status| status.addresses.iter().flatten());
    let mut addresses = Vec::new();
    for (index, entry) in listed.enumerate() {
        if matches!(entry.type_.as_str(), "InternalIP" | "ExternalIP") {
            let field = format!("status.addresses[{index}].address");
            addresses.extend(addresses::unicast(&field, &entry.address, &mut found));
        }
    }
    let labels = object.metadata.labels.clone().unwrap_or_default();
    let node = name.map(|name| Node {
        name: NodeName::new(name),
        labels,
        addresses,
    });
    found.finish(node)
}

/// Converts a Namespace: its labels.
pub fn namespace(object: &api::Namespace, context: &Context<'_>) -> Converted<Namespace> {
    let mut found = metadata::complaints(&object.metadata, false, context);
    let name = metadata::name(&object.metadata, NameForm::Label, &mut found);
    let labels = object.metadata.labels.clone().unwrap_or_default();
    found.finish(name.map(|name| Namespace { name, labels }))
}
