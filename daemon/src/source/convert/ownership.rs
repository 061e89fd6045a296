//! Who wrote the addresses in a Service's status.
//!
//! `metadata.managedFields` tells: the API server keeps there, per field manager, which fields it wrote last. The list of
//! addresses is atomic, so it has one author, or several that wrote the very same.

use k8s_openapi::api::core::v1::Service;

use super::StatusWriter;
use crate::source::complaint::Complaints;

/// The list of addresses as `fieldsV1` has it.
pub(in crate::source) const INGRESS: &str = "/f:status/f:loadBalancer/f:ingress";

/// Whose addresses a Service's status holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Author {
    /// It holds none.
    Nobody,
    /// Ours.
    Us,
    /// Those of another field manager; its name may be empty where nothing is known of it.
    Other(String),
}

/// Whose addresses `service` has in its status, where those of `writer` are ours.
pub(super) fn author(service: &Service, writer: StatusWriter) -> Author {
    let balancer = service
        .status
        .as_ref()
        .and_then(|status| status.load_balancer.as_ref());
    let ingress = balancer.and_then(|balancer| balancer.ingress.as_ref());
    if ingress.is_none_or(Vec::is_empty) {
        return Author::Nobody;
    }
    let StatusWriter::Manager(ours) = writer else {
        return Author::Us;
    };
    let writers: Vec<&str> = service
        .metadata
        .managed_fields
        .iter()
        .flatten()
        .filter(|entry| {
            let fields = entry.fields_v1.as_ref();
            fields.is_some_and(|fields| fields.0.pointer(INGRESS).is_some())
        })
        .map(|entry| entry.manager.as_deref().unwrap_or_default())
        .collect();
    if writers.contains(&ours) {
        Author::Us
    } else {
        Author::Other(writers.first().copied().unwrap_or_default().to_owned())
    }
}

/// Tells that a Service without a class is left to the controller that wrote its status.
pub(super) fn left_alone(manager: &str, found: &mut Complaints) {
    let whom = match manager {
        "" => "another controller".to_owned(),
        manager => format!("`{manager}`"),
    };
    found.warning(
        "status.loadBalancer.ingress",
        format!("was written by {whom}, so that the Service is left to that one"),
        "clear the status, or make the Service anew with loadBalancerClass: landfall.dev/l2, to have it served here",
    );
}
