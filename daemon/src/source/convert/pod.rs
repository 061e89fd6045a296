//! Pods.

use std::net::IpAddr;

use k8s_openapi::api::core::v1 as api;
use landfall_core::model::{NodeName, Pod, PodPort};

use super::metadata::{NameForm, shortened};
use super::{Context, addresses, metadata, ports};
use crate::source::complaint::{Complaints, Converted};

/// Converts a Pod.
///
/// Its status counts wherever it comes from. A Pod without any condition, which is one that a
/// person wrote, is ready as soon as it has an address.
pub fn pod(object: &api::Pod, context: &Context<'_>) -> Converted<Pod> {
    let mut found = metadata::complaints(&object.metadata, true, context);
    let converted = convert(object, &mut found);
    found.finish(converted)
}

fn convert(object: &api::Pod, found: &mut Complaints) -> Option<Pod> {
    let name = metadata::object_name(&object.metadata, NameForm::Subdomain, found);
    let spec = object.spec.as_ref();
    let ips = ips(object, found);
    let status = object.status.as_ref();
    let conditions = status
        .and_then(|status| status.conditions.as_deref())
        .unwrap_or_default();
    let ready = if conditions.is_empty() {
        !ips.is_empty()
    } else {
        conditions
            .iter()
            .any(|it| it.type_ == "Ready" && it.status == "True")
    };
    let phase = status.and_then(|status| status.phase.as_deref());
    Some(Pod {
        labels: object.metadata.labels.clone().unwrap_or_default(),
        node: spec
            .and_then(|spec| spec.node_name.as_deref())
            .filter(|node| !node.is_empty())
            .map(NodeName::new),
        ips,
        ready,
        terminating: object.metadata.deletion_timestamp.is_some(),
        finished: matches!(phase, Some("Succeeded" | "Failed")),
        host_network: spec.and_then(|spec| spec.host_network).unwrap_or_default(),
        ports: spec
            .map(|spec| container_ports(spec, found))
            .unwrap_or_default(),
        name: name?,
    })
}

fn ips(object: &api::Pod, found: &mut Complaints) -> Vec<IpAddr> {
    let Some(status) = &object.status else {
        return Vec::new();
    };
    let mut ips = Vec::new();
    for (index, entry) in status.pod_ips.iter().flatten().enumerate() {
        let field = format!("status.podIPs[{index}].ip");
        ips.extend(addresses::unicast(&field, &entry.ip, found));
    }
    if ips.is_empty()
        && let Some(text) = status.pod_ip.as_deref().filter(|text| !text.is_empty())
    {
        ips.extend(addresses::unicast("status.podIP", text, found));
    }
    ips
}

/// Named ports of containers, and of init containers that go on running (sidecars, KEP-753).
fn container_ports(spec: &api::PodSpec, found: &mut Complaints) -> Vec<PodPort> {
    let containers = spec
        .containers
        .iter()
        .enumerate()
        .map(|it| ("containers", it));
    let sidecars = spec
        .init_containers
        .iter()
        .flatten()
        .enumerate()
        .filter(|(_, container)| container.restart_policy.as_deref() == Some("Always"))
        .map(|it| ("initContainers", it));
    let mut converted = Vec::new();
    for (list, (index, container)) in containers.chain(sidecars) {
        for (place, written) in container.ports.iter().flatten().enumerate() {
            let at = |field: &str| format!("spec.{list}[{index}].ports[{place}].{field}");
            let protocol = ports::protocol(&at("protocol"), written.protocol.as_deref(), found);
            let port = ports::number(&at("containerPort"), written.container_port, found);
            let Some(name) = written.name.as_deref().filter(|name| !name.is_empty()) else {
                continue;
            };
            if !ports::is_service_name(name) {
                found.error(
                    at("name"),
                    format!("`{}` is no port's name", shortened(name)),
                    "write lower-case letters, digits and `-`, at most 15, one of them a letter",
                );
            }
            if let (Some(protocol), Some(port)) = (protocol, port) {
                converted.push(PodPort {
                    name: name.into(),
                    protocol,
                    port,
                });
            }
        }
    }
    converted
}
