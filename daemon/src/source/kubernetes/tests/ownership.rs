//! Which Services are ours, by class and by who wrote their status.

use landfall_core::model::ServiceType;

use super::server::{SERVICES, Server};
use super::*;
use crate::kubernetes::STATUS_MANAGER;

/// A Service whose status has an address that `manager` wrote.
fn addressed(name: &str, manager: Option<&str>) -> Value {
    let mut object = service(name);
    object["status"] = json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.70"}]}});
    let spec = json!({"manager": "kubectl", "operation": "Apply", "time": "2026-01-01T00:00:00Z",
        "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:ports": {}}}});
    let mut managed = vec![spec];
    managed.extend(manager.map(|manager| {
        json!({"manager": manager, "operation": "Update", "subresource": "status",
            "time": "2026-01-01T00:00:01Z", "fieldsType": "FieldsV1",
            "fieldsV1": {"f:status": {"f:loadBalancer": {"f:ingress": {}}}}})
    }));
    object["metadata"]["managedFields"] = managed.into();
    object
}

/// What the model has of one Service.
async fn read(object: Value) -> (ServiceType, Vec<String>, Vec<String>) {
    let (server, directory) = (Server::new(), directory());
    server.put(SERVICES, object);
    let (_source, batch) = Source::synced(&server, &directory).await;
    let told = complaints(&batch);
    let service = last_service(batch);
    let assigned = service.assigned.iter().map(ToString::to_string);
    (service.service_type, assigned.collect(), told)
}

#[tokio::test(start_paused = true)]
async fn addresses_that_we_wrote_are_ours_to_keep() {
    let (kind, assigned, told) = read(addressed("a", Some(STATUS_MANAGER))).await;
    assert_eq!(kind, ServiceType::LoadBalancer);
    assert_eq!(assigned, ["192.0.2.70"]);
    assert_eq!(told, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_service_without_a_class_whose_status_another_one_wrote_is_left_to_that_one() {
    for manager in [Some("cloud-controller-manager"), None] {
        let (kind, assigned, told) = read(addressed("a", manager)).await;
        assert_eq!(kind, ServiceType::NodePort);
        assert_eq!(assigned, Vec::<String>::new());
        assert_eq!(told.len(), 1, "{told:?}");
        let whom = manager.unwrap_or("another controller");
        assert!(told[0].contains(whom), "{told:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_in_the_status_is_another_ones_as_an_address_is() {
    let mut object = addressed("a", Some("cloud-controller-manager"));
    object["status"] = json!({"loadBalancer": {"ingress": [{"hostname": "lb.example.com"}]}});
    assert_eq!(read(object).await.0, ServiceType::NodePort);
}

#[tokio::test(start_paused = true)]
async fn a_service_of_our_class_is_ours_whoever_wrote_into_it() {
    let mut object = addressed("a", Some("cloud-controller-manager"));
    object["spec"]["loadBalancerClass"] = "landfall.dev/l2".into();
    let (kind, assigned, _) = read(object).await;
    assert_eq!(kind, ServiceType::LoadBalancer);
    assert_eq!(assigned, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_service_of_another_class_is_left_alone() {
    let mut object = service("a");
    object["spec"]["loadBalancerClass"] = "tailscale".into();
    let (kind, assigned, told) = read(object).await;
    assert_eq!(kind, ServiceType::NodePort);
    assert_eq!((assigned, told), (Vec::new(), Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn a_service_comes_to_us_when_its_status_is_cleared_and_goes_when_another_one_writes() {
    let (server, directory) = (Server::new(), directory());
    server.put(SERVICES, addressed("a", Some("metallb-controller")));
    let (mut source, _) = Source::synced(&server, &directory).await;
    server.put(SERVICES, service("a"));
    let ours = last_service(source.next().await);
    assert_eq!(ours.service_type, ServiceType::LoadBalancer);
    server.put(SERVICES, addressed("a", Some("metallb-controller")));
    let theirs = last_service(source.next().await);
    assert_eq!(theirs.service_type, ServiceType::NodePort);
}
