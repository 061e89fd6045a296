//! EndpointSlices.

use std::net::IpAddr;

use k8s_openapi::api::discovery::v1 as api;
use landfall_core::model::{
    Endpoint, EndpointPort, EndpointSlice, NodeName, ObjectName, PodName, ServiceName,
};

use super::metadata::NameForm;
use super::{Context, addresses, metadata, ports};
use crate::source::complaint::{Complaints, Converted};

/// The label that names the Service a slice belongs to.
const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// Converts an EndpointSlice. Slices of names (`addressType: FQDN`) have no endpoints to forward to.
pub fn endpoint_slice(
    object: &api::EndpointSlice,
    context: &Context<'_>,
) -> Converted<EndpointSlice> {
    let mut found = metadata::complaints(&object.metadata, true, context);
    let converted = convert(object, &mut found);
    found.finish(converted)
}

fn convert(object: &api::EndpointSlice, found: &mut Complaints) -> Option<EndpointSlice> {
    let name = metadata::object_name(&object.metadata, NameForm::Subdomain, found);
    let labels = object.metadata.labels.as_ref();
    let service = labels.and_then(|labels| labels.get(SERVICE_LABEL));
    if service.is_none_or(String::is_empty) {
        found.error(
            format!("metadata.labels[{SERVICE_LABEL}]"),
            "is missing",
            "write the name of the Service the slice belongs to",
        );
    }
    let v4 = match object.address_type.as_str() {
        "IPv4" => Some(true),
        "IPv6" => Some(false),
        "FQDN" => {
            found.warning(
                "addressType",
                "names are not resolved, so the slice has no endpoints",
                "list addresses, with addressType IPv4 or IPv6",
            );
            None
        }
        other => {
            let problem = format!("`{}` is no address type", metadata::shortened(other));
            found.error("addressType", problem, "write IPv4 or IPv6");
            None
        }
    };
    let ports = ports(object, found);
    let mut endpoints = Vec::new();
    let listed = v4.map(|_| object.endpoints.as_slice()).unwrap_or_default();
    for (index, endpoint) in listed.iter().enumerate() {
        for (place, text) in endpoint.addresses.iter().enumerate() {
            let field = format!("endpoints[{index}].addresses[{place}]");
            let Some(address) = addresses::unicast(&field, text, found) else {
                continue;
            };
            if Some(address.is_ipv4()) != v4 {
                found.error(
                    field,
                    format!(
                        "{address} is not of addressType {} (mixed families)",
                        object.address_type
                    ),
                    "put each family into a slice of its own",
                );
                continue;
            }
            endpoints.push(converted(endpoint, address, name.as_ref()));
        }
    }
    let name = name?;
    let service = ServiceName::new(name.namespace.clone(), service?.as_str());
    Some(EndpointSlice {
        name,
        service,
        ports,
        endpoints,
    })
}

/// Ports with numbers. A port without one means all ports, which no Service port can have.
fn ports(object: &api::EndpointSlice, found: &mut Complaints) -> Vec<EndpointPort> {
    let mut converted = Vec::new();
    for (index, written) in object.ports.iter().flatten().enumerate() {
        let at = |field: &str| format!("ports[{index}].{field}");
        let protocol = ports::protocol(&at("protocol"), written.protocol.as_deref(), found);
        let port = written
            .port
            .and_then(|port| ports::number(&at("port"), port, found));
        if let (Some(protocol), Some(port)) = (protocol, port) {
            let name = written.name.as_deref().unwrap_or_default().into();
            converted.push(EndpointPort {
                name,
                protocol,
                port,
            });
        }
    }
    converted
}

fn converted(endpoint: &api::Endpoint, address: IpAddr, slice: Option<&ObjectName>) -> Endpoint {
    let conditions = endpoint.conditions.clone().unwrap_or_default();
    let ready = conditions.ready.unwrap_or(true);
    let pod = endpoint
        .target_ref
        .as_ref()
        .filter(|it| it.kind.as_deref() == Some("Pod"));
    Endpoint {
        address,
        node: endpoint.node_name.as_deref().map(NodeName::new),
        ready,
        serving: conditions.serving.unwrap_or(ready),
        terminating: conditions.terminating.unwrap_or_default(),
        zone: endpoint.zone.as_deref().map(Into::into),
        pod: pod.and_then(|pod| {
            let namespace = pod
                .namespace
                .as_deref()
                .or(slice.map(|name| &*name.namespace))?;
            Some(PodName::new(namespace, pod.name.as_deref()?))
        }),
    }
}
