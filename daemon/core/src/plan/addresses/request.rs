//! A Service as the allocator sees it.

use std::collections::BTreeSet;
use std::net::IpAddr;

use landfall_ipam::{
    Created, CrossNamespace, Family, FamilyRequest, Protocol as IpamProtocol, ServiceId,
    ServicePort, ServiceRequest, TrafficPolicy as Sharers,
};

use crate::model::{IpFamily, IpFamilyPolicy, Protocol, Service, TrafficPolicy};

/// The request of `service`, which counts as created at `created` (seconds since the Unix epoch) and has
/// the addresses `current`.
pub fn request(service: &Service, created: u64, current: Vec<IpAddr>) -> ServiceRequest {
    let id = ServiceId::new(&service.name.namespace, &service.name.name);
    let mut request = ServiceRequest::new(id, Created(created));
    request.labels.clone_from(&service.labels);
    request.families = families(service);
    request.requested.clone_from(&service.requested_ips);
    request.sharing_key.clone_from(&service.sharing_key);
    request.cross_namespace = cross_namespace(&service.sharing_namespaces);
    request.ports = service
        .ports
        .iter()
        .map(|port| ServicePort {
            protocol: match port.protocol {
                Protocol::Tcp => IpamProtocol::Tcp,
                Protocol::Udp => IpamProtocol::Udp,
                Protocol::Sctp => IpamProtocol::Sctp,
            },
            number: port.port.get(),
        })
        .collect();
    request.traffic_policy = match service.external_traffic_policy {
        TrafficPolicy::Cluster => Sharers::Cluster,
        TrafficPolicy::Local => Sharers::Local {
            endpoints: endpoints_text(service),
        },
    };
    request.pool.clone_from(&service.requested_pool);
    request.current = current;
    request
}

fn families(service: &Service) -> FamilyRequest {
    let first = match service.ip_families.first() {
        Some(IpFamily::V6) => Family::V6,
        Some(IpFamily::V4) | None => Family::V4,
    };
    match service.ip_family_policy {
        IpFamilyPolicy::SingleStack => FamilyRequest::SingleStack(first),
        IpFamilyPolicy::PreferDualStack => FamilyRequest::PreferDualStack(first),
        IpFamilyPolicy::RequireDualStack => FamilyRequest::RequireDualStack(first),
    }
}

fn cross_namespace(listed: &[String]) -> CrossNamespace {
    if listed.iter().any(|namespace| namespace == "*") {
        return CrossNamespace::Any;
    }
    let listed: BTreeSet<String> = listed.iter().cloned().collect();
    if listed.is_empty() {
        CrossNamespace::Never
    } else {
        CrossNamespace::Only(listed)
    }
}

/// Equal for Services with equal endpoints: the namespace and the selector; without one, the Service itself.
fn endpoints_text(service: &Service) -> String {
    if service.selector.is_empty() {
        return format!("service {}", service.name);
    }
    let pairs: Vec<String> = service
        .selector
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    format!("{} {}", service.name.namespace, pairs.join(","))
}
