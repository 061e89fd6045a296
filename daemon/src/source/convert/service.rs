//! Services.

use std::net::IpAddr;
use std::time::Duration;

use k8s_openapi::api::core::v1 as api;
use landfall_core::model::{IpFamily, IpFamilyPolicy, Port, Service, ServiceType, TrafficPolicy};
use landfall_ipam::Block;

use super::metadata::NameForm;
use super::ownership::{self, Author};
use super::{Context, addresses, annotations, metadata, ports};
use crate::source::complaint::{Complaints, Converted};

/// Where the API server does not say for how long affinity lasts (`v1.ClientIPConfig`).
const AFFINITY_SECONDS: i32 = 10_800;
/// Longest affinity, in seconds.
const AFFINITY_MOST: i32 = 86_400;
/// The older way to write `spec.loadBalancerSourceRanges`.
const RANGES_ANNOTATION: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";

/// Converts a Service.
///
/// A LoadBalancer Service that another controller serves, by its class or by having written its
/// status, becomes a NodePort Service without addresses: that is what it is to us, so that a
/// LoadBalancer in the model is one of ours.
pub fn service(object: &api::Service, context: &Context<'_>) -> Converted<Service> {
    let mut found = metadata::complaints(&object.metadata, true, context);
    let converted = convert(object, context, &mut found);
    found.finish(converted)
}

fn convert(
    object: &api::Service,
    context: &Context<'_>,
    found: &mut Complaints,
) -> Option<Service> {
    let name = metadata::object_name(&object.metadata, NameForm::Label, found);
    let Some(spec) = &object.spec else {
        found.error("spec", "is missing", "add it, with type and ports");
        return None;
    };
    let no_annotations = Default::default();
    let notes = object
        .metadata
        .annotations
        .as_ref()
        .unwrap_or(&no_annotations);

    let written_type = service_type(spec, found);
    let cluster_ips = cluster_ips(spec, found);
    let (wish_field, requested_ips) = annotations::requested_ips(notes, spec, found);
    let (ip_families, ip_family_policy) = families(spec, &cluster_ips, &requested_ips, found);
    mixed_families(&ip_families, "spec.clusterIPs", &cluster_ips, found);
    mixed_families(&ip_families, &wish_field, &requested_ips, found);
    let (sharing_key, sharing_namespaces) = annotations::sharing(notes, found);
    let ports = ports::service_ports(spec.ports.as_deref().unwrap_or_default(), found);
    let service_type = written_type.unwrap_or(ServiceType::ClusterIp);
    no_ports(spec, service_type, found);

    let class = spec
        .load_balancer_class
        .as_deref()
        .filter(|class| !class.is_empty());
    let (service_type, assigned) = match service_type {
        ServiceType::LoadBalancer if !context.class.owns(class) => {
            (ServiceType::NodePort, Vec::new())
        }
        ServiceType::LoadBalancer => match ownership::author(object, context.status) {
            Author::Us => (service_type, assigned(object, found)),
            Author::Nobody => (service_type, Vec::new()),
            // Ours by its class, whoever wrote into it.
            Author::Other(_) if class.is_some() => (service_type, Vec::new()),
            Author::Other(manager) => {
                ownership::left_alone(&manager, found);
                (ServiceType::NodePort, Vec::new())
            }
        },
        other => (other, Vec::new()),
    };
    let external_ips =
        spec.external_ips
            .iter()
            .flatten()
            .enumerate()
            .filter_map(|(index, text)| {
                addresses::unicast(&format!("spec.externalIPs[{index}]"), text, found)
            });
    Some(Service {
        created: metadata::created(&object.metadata, context),
        labels: object.metadata.labels.clone().unwrap_or_default(),
        service_type,
        class: class.map(Into::into),
        external_ips: external_ips.collect(),
        cluster_ips,
        ip_families,
        ip_family_policy,
        requested_ips,
        requested_pool: annotations::requested_pool(notes),
        sharing_key,
        sharing_namespaces,
        source_ranges: source_ranges(spec, notes.get(RANGES_ANNOTATION), found),
        ports,
        selector: spec.selector.clone().unwrap_or_default(),
        external_traffic_policy: traffic_policy(
            "spec.externalTrafficPolicy",
            spec.external_traffic_policy.as_deref(),
            found,
        ),
        internal_traffic_policy: traffic_policy(
            "spec.internalTrafficPolicy",
            spec.internal_traffic_policy.as_deref(),
            found,
        ),
        affinity: affinity(spec, found),
        publish_not_ready: spec.publish_not_ready_addresses.unwrap_or_default(),
        health_check_node_port: health_check(spec, found),
        assigned,
        name: name?,
    })
}

fn service_type(spec: &api::ServiceSpec, found: &mut Complaints) -> Option<ServiceType> {
    match spec.type_.as_deref() {
        None | Some("ClusterIP" | "") => Some(ServiceType::ClusterIp),
        Some("NodePort") => Some(ServiceType::NodePort),
        Some("LoadBalancer") => Some(ServiceType::LoadBalancer),
        Some("ExternalName") => Some(ServiceType::ExternalName),
        Some(other) => {
            found.error(
                "spec.type",
                format!("`{}` is no type of Service", metadata::shortened(other)),
                "write LoadBalancer, NodePort, ClusterIP or ExternalName",
            );
            None
        }
    }
}

/// As in Kubernetes, only headless Services and aliases may do without ports.
fn no_ports(spec: &api::ServiceSpec, service_type: ServiceType, found: &mut Complaints) {
    let headless = spec.cluster_ip.as_deref() == Some("None");
    let none = spec.ports.as_ref().is_none_or(Vec::is_empty);
    if none && !headless && service_type != ServiceType::ExternalName {
        found.error(
            "spec.ports",
            "is missing",
            "add at least one port, such as - port: 80",
        );
    }
}

fn cluster_ips(spec: &api::ServiceSpec, found: &mut Complaints) -> Vec<IpAddr> {
    let (field, texts) = match (&spec.cluster_ips, &spec.cluster_ip) {
        (Some(list), _) if !list.is_empty() => ("spec.clusterIPs", list.clone()),
        (_, Some(one)) if !one.is_empty() => ("spec.clusterIP", vec![one.clone()]),
        _ => return Vec::new(),
    };
    if texts == ["None"] {
        return Vec::new();
    }
    texts
        .iter()
        .filter_map(|text| addresses::unicast(field, text, found))
        .collect()
}

/// `spec.ipFamilies` and `spec.ipFamilyPolicy`, defaulted as the API server would: by the addresses
/// that are written, else IPv4.
fn families(
    spec: &api::ServiceSpec,
    cluster_ips: &[IpAddr],
    requested: &[IpAddr],
    found: &mut Complaints,
) -> (Vec<IpFamily>, IpFamilyPolicy) {
    let mut families = Vec::new();
    for (index, text) in spec.ip_families.iter().flatten().enumerate() {
        let field = format!("spec.ipFamilies[{index}]");
        let family = match text.as_str() {
            "IPv4" => IpFamily::V4,
            "IPv6" => IpFamily::V6,
            other => {
                let problem = format!("`{}` is no family", metadata::shortened(other));
                found.error(field, problem, "write IPv4 or IPv6");
                continue;
            }
        };
        if families.contains(&family) {
            found.error(
                field,
                format!("{text} stands there twice"),
                "write each family once",
            );
        } else {
            families.push(family);
        }
    }
    let policy = match spec.ip_family_policy.as_deref() {
        Some("SingleStack") => IpFamilyPolicy::SingleStack,
        Some("PreferDualStack") => IpFamilyPolicy::PreferDualStack,
        Some("RequireDualStack") => IpFamilyPolicy::RequireDualStack,
        None | Some("") if families.len() > 1 || addresses::families(cluster_ips).len() > 1 => {
            IpFamilyPolicy::RequireDualStack
        }
        None | Some("") => IpFamilyPolicy::SingleStack,
        Some(other) => {
            found.error(
                "spec.ipFamilyPolicy",
                format!("`{}` is no policy", metadata::shortened(other)),
                "write SingleStack, PreferDualStack or RequireDualStack",
            );
            IpFamilyPolicy::SingleStack
        }
    };
    if policy == IpFamilyPolicy::SingleStack && families.len() > 1 {
        found.error(
            "spec.ipFamilies",
            "lists two families, and ipFamilyPolicy is SingleStack",
            "keep one, or write ipFamilyPolicy: PreferDualStack",
        );
    }
    if families.is_empty() {
        let written = if cluster_ips.is_empty() {
            requested
        } else {
            cluster_ips
        };
        families.extend(
            addresses::families(written)
                .first()
                .copied()
                .or(Some(IpFamily::V4)),
        );
    }
    if policy != IpFamilyPolicy::SingleStack && families.len() == 1 {
        families.push(if families[0] == IpFamily::V4 {
            IpFamily::V6
        } else {
            IpFamily::V4
        });
    }
    (families, policy)
}

/// Complains of addresses whose family the Service does not have.
fn mixed_families(
    families: &[IpFamily],
    field: &str,
    addresses: &[IpAddr],
    found: &mut Complaints,
) {
    let Some(stranger) = addresses
        .iter()
        .find(|it| !families.contains(&IpFamily::of(**it)))
    else {
        return;
    };
    let (has, is) = if stranger.is_ipv4() {
        ("IPv6", "IPv4")
    } else {
        ("IPv4", "IPv6")
    };
    found.error(
        field,
        format!("{stranger} is {is}, and the Service is {has} alone (mixed families)"),
        format!("write an {has} address, or set ipFamilyPolicy: PreferDualStack"),
    );
}

fn source_ranges(
    spec: &api::ServiceSpec,
    annotation: Option<&String>,
    found: &mut Complaints,
) -> Vec<Block> {
    let listed = spec.load_balancer_source_ranges.iter().flatten();
    match (
        spec.load_balancer_source_ranges
            .as_ref()
            .is_some_and(|l| !l.is_empty()),
        annotation,
    ) {
        (false, Some(list)) => addresses::ranges(
            |_| annotations::field(RANGES_ANNOTATION),
            list.split(',')
                .map(str::trim)
                .filter(|part| !part.is_empty()),
            found,
        ),
        _ => addresses::ranges(
            |index| format!("spec.loadBalancerSourceRanges[{index}]"),
            listed.map(String::as_str),
            found,
        ),
    }
}

fn traffic_policy(field: &str, written: Option<&str>, found: &mut Complaints) -> TrafficPolicy {
    match written {
        None | Some("Cluster" | "") => TrafficPolicy::Cluster,
        Some("Local") => TrafficPolicy::Local,
        Some(other) => {
            let problem = format!("`{}` is no traffic policy", metadata::shortened(other));
            found.error(field, problem, "write Cluster or Local");
            TrafficPolicy::Cluster
        }
    }
}

fn affinity(spec: &api::ServiceSpec, found: &mut Complaints) -> Option<Duration> {
    match spec.session_affinity.as_deref() {
        None | Some("None" | "") => return None,
        Some("ClientIP") => {}
        Some(other) => {
            let problem = format!("`{}` is no affinity", metadata::shortened(other));
            found.error("spec.sessionAffinity", problem, "write None or ClientIP");
            return None;
        }
    }
    let seconds = spec
        .session_affinity_config
        .as_ref()
        .and_then(|config| config.client_ip.as_ref()?.timeout_seconds)
        .unwrap_or(AFFINITY_SECONDS);
    match u64::try_from(seconds) {
        Ok(whole @ 1..) if seconds <= AFFINITY_MOST => Some(Duration::from_secs(whole)),
        _ => {
            found.error(
                "spec.sessionAffinityConfig.clientIP.timeoutSeconds",
                format!("{seconds} is out of range"),
                "write a number from 1 to 86400",
            );
            None
        }
    }
}

fn health_check(spec: &api::ServiceSpec, found: &mut Complaints) -> Option<Port> {
    let port = spec.health_check_node_port.filter(|port| *port != 0)?;
    ports::number("spec.healthCheckNodePort", port, found)
}

/// Addresses in the status, which are kept as long as they are legal.
fn assigned(object: &api::Service, found: &mut Complaints) -> Vec<IpAddr> {
    let ingress = object
        .status
        .iter()
        .flat_map(|status| &status.load_balancer)
        .flat_map(|balancer| balancer.ingress.iter().flatten());
    let mut assigned = Vec::new();
    for (index, entry) in ingress.enumerate() {
        if let Some(text) = entry.ip.as_deref().filter(|text| !text.is_empty()) {
            let field = format!("status.loadBalancer.ingress[{index}].ip");
            assigned.extend(addresses::address(&field, text, found));
        }
    }
    assigned
}
