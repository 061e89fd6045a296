//! The sharing rule, clause by clause, both ways round.

use super::{Incompatibility, incompatibility};
use crate::request::{
    Created, CrossNamespace, Protocol, ServiceId, ServicePort, ServiceRequest, TrafficPolicy,
};

fn sharer(namespace: &str, port: u16) -> ServiceRequest {
    let mut request = ServiceRequest::new(ServiceId::new(namespace, "service"), Created(0));
    request.sharing_key = Some("key".to_owned());
    request.ports = [ServicePort {
        protocol: Protocol::Tcp,
        number: port,
    }]
    .into();
    request
}

fn verdict(a: &ServiceRequest, b: &ServiceRequest) -> Option<Incompatibility> {
    let found = incompatibility(a, b);
    assert_eq!(found, incompatibility(b, a), "the rule is symmetric");
    found
}

#[test]
fn different_ports_of_one_key_share() {
    assert_eq!(verdict(&sharer("a", 80), &sharer("a", 443)), None);
}

#[test]
fn a_key_is_needed_and_an_empty_one_is_none() {
    let (a, mut b) = (sharer("a", 80), sharer("a", 443));
    for key in [None, Some(String::new()), Some("other".to_owned())] {
        b.sharing_key = key;
        assert_eq!(verdict(&a, &b), Some(Incompatibility::Key));
    }
    let empty = |mut request: ServiceRequest| {
        request.sharing_key = Some(String::new());
        request
    };
    assert_eq!(verdict(&empty(a), &empty(b)), Some(Incompatibility::Key));
}

#[test]
fn the_same_port_clashes_only_with_the_same_protocol() {
    let (a, mut b) = (sharer("a", 53), sharer("a", 53));
    let clash = ServicePort {
        protocol: Protocol::Tcp,
        number: 53,
    };
    assert_eq!(verdict(&a, &b), Some(Incompatibility::Port(clash)));
    b.ports = [ServicePort {
        protocol: Protocol::Udp,
        number: 53,
    }]
    .into();
    assert_eq!(verdict(&a, &b), None);
}

#[test]
fn across_namespaces_both_must_consent() {
    let (mut a, mut b) = (sharer("a", 80), sharer("b", 443));
    assert_eq!(verdict(&a, &b), Some(Incompatibility::Namespace));
    a.cross_namespace = CrossNamespace::Any;
    assert_eq!(verdict(&a, &b), Some(Incompatibility::Namespace));
    b.cross_namespace = CrossNamespace::Only(["c".to_owned()].into());
    assert_eq!(verdict(&a, &b), Some(Incompatibility::Namespace));
    b.cross_namespace = CrossNamespace::Only(["a".to_owned()].into());
    assert_eq!(verdict(&a, &b), None);
}

#[test]
fn local_traffic_policy_needs_equal_endpoints() {
    let local = |endpoints: &str| TrafficPolicy::Local {
        endpoints: endpoints.to_owned(),
    };
    let (mut a, mut b) = (sharer("a", 80), sharer("a", 443));
    a.traffic_policy = local("app=web");
    assert_eq!(verdict(&a, &b), Some(Incompatibility::TrafficPolicy));
    b.traffic_policy = local("app=mail");
    assert_eq!(verdict(&a, &b), Some(Incompatibility::Endpoints));
    b.traffic_policy = local("app=web");
    assert_eq!(verdict(&a, &b), None);
}
