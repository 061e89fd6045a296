//! Ports and protocols.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1 as api;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use landfall_core::model::{Port, Protocol, ServicePort, TargetPort};

use super::metadata::{is_label, shortened};
use crate::source::complaint::Complaints;

/// A port's number.
pub(super) fn number(field: &str, number: i32, complaints: &mut Complaints) -> Option<Port> {
    let port = u16::try_from(number).ok().and_then(Port::new);
    if port.is_none() {
        complaints.error(
            field,
            format!("{number} is no port"),
            "write a number from 1 to 65535",
        );
    }
    port
}

/// A protocol by name; TCP where absent.
pub(super) fn protocol(
    field: &str,
    name: Option<&str>,
    complaints: &mut Complaints,
) -> Option<Protocol> {
    match name {
        None | Some("TCP" | "") => Some(Protocol::Tcp),
        Some("UDP") => Some(Protocol::Udp),
        Some("SCTP") => Some(Protocol::Sctp),
        Some(other) => {
            let problem = format!("`{}` is no protocol", shortened(other));
            complaints.error(field, problem, "write TCP, UDP or SCTP");
            None
        }
    }
}

/// A Service's ports: legal, named where there are several, and each frontend port once.
pub(super) fn service_ports(
    ports: &[api::ServicePort],
    complaints: &mut Complaints,
) -> Vec<ServicePort> {
    let mut converted = Vec::new();
    let mut names = BTreeMap::new();
    let mut frontends = BTreeMap::new();
    let mut node_ports = BTreeMap::new();
    for (index, written) in ports.iter().enumerate() {
        let at = |field: &str| format!("spec.ports[{index}].{field}");
        let name = name(
            &at("name"),
            written.name.as_deref(),
            ports.len(),
            complaints,
        );
        if let Some(earlier) = names.insert(name.clone(), index)
            && !name.is_empty()
        {
            complaints.error(
                at("name"),
                format!("`{name}` is the name of spec.ports[{earlier}] too"),
                "give each port a name of its own",
            );
        }
        let protocol = protocol(&at("protocol"), written.protocol.as_deref(), complaints);
        let port = number(&at("port"), written.port, complaints);
        let node_port = written
            .node_port
            .filter(|port| *port != 0)
            .and_then(|port| number(&at("nodePort"), port, complaints));
        let target = target(
            &at("targetPort"),
            written.target_port.as_ref(),
            port,
            complaints,
        );
        let (Some(protocol), Some(port), Some(target)) = (protocol, port, target) else {
            continue;
        };
        if let Some(earlier) = frontends.insert((protocol, port), index) {
            complaints.error(
                at("port"),
                format!("{port}/{protocol} is the port of spec.ports[{earlier}] too"),
                "remove one of the two, or give it another port or protocol",
            );
        }
        if let Some(node_port) = node_port
            && let Some(earlier) = node_ports.insert((protocol, node_port), index)
        {
            complaints.error(
                at("nodePort"),
                format!("{node_port}/{protocol} is the node port of spec.ports[{earlier}] too"),
                "give it another",
            );
        }
        converted.push(ServicePort {
            name,
            protocol,
            port,
            target,
            node_port,
        });
    }
    converted
}

fn name(field: &str, name: Option<&str>, ports: usize, complaints: &mut Complaints) -> Arc<str> {
    let name = name.unwrap_or_default();
    if name.is_empty() && ports > 1 {
        let problem = "is missing, and there are several ports";
        complaints.error(field, problem, "give each port a name of its own");
    } else if !name.is_empty() && !is_label(name) {
        complaints.error(
            field,
            format!("`{}` is no port's name", shortened(name)),
            "write lower-case letters, digits and `-`, at most 63",
        );
    }
    name.into()
}

/// The port of the endpoints: the frontend's where nothing is written.
fn target(
    field: &str,
    written: Option<&IntOrString>,
    port: Option<Port>,
    complaints: &mut Complaints,
) -> Option<TargetPort> {
    match written {
        None | Some(IntOrString::Int(0)) => port.map(TargetPort::Number),
        Some(IntOrString::Int(written)) => {
            number(field, *written, complaints).map(TargetPort::Number)
        }
        Some(IntOrString::String(name)) if is_service_name(name) => {
            Some(TargetPort::Name(name.as_str().into()))
        }
        Some(IntOrString::String(name)) => {
            complaints.error(
                field,
                format!(
                    "`{}` is neither a number nor the name of a port",
                    shortened(name)
                ),
                "write a number without quotes, or a container port's name",
            );
            None
        }
    }
}

/// A service name in the sense of RFC 6335, section 5.1, as containers name their ports.
pub(super) fn is_service_name(name: &str) -> bool {
    is_label(name)
        && name.len() <= 15
        && name.bytes().any(|byte| byte.is_ascii_lowercase())
        && !name.contains("--")
}
