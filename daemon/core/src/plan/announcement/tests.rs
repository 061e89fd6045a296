use super::*;
use crate::model::{Change, L2AnnouncementPolicy, LinkKind, ServiceType};
use crate::plan::Plan;
use crate::plan::fixtures::{
    Cluster, endpoint, ip, labels, lacking, link, name, node, policy, pool, selector, service,
    slice,
};

/// A cluster of three nodes with one Service that has 10.10.200.1.
fn cluster(policies: &[L2AnnouncementPolicy]) -> Cluster {
    let mut cluster = Cluster::new();
    cluster.add_pool(pool("lan", "10.10.200.0/29"));
    cluster.add_service(service("svc1"));
    for policy in policies {
        cluster.add_policy(policy.clone());
    }
    cluster
}

fn vip(plan: &Plan) -> &Vip {
    assert_eq!(plan.announcements.vips.len(), 1);
    plan.announcements.vips.values().next().expect("one VIP")
}

fn here(plan: &Plan) -> Result<Vec<u32>, Hindrance> {
    let addresses = &vip(plan).addresses;
    assert_eq!(addresses.len(), 1);
    let links = addresses.values().next().expect("one address").clone()?;
    Ok(links.into_iter().map(|index| index.0).collect())
}

fn candidates(plan: &Plan) -> Vec<&str> {
    vip(plan).candidates.iter().map(NodeName::as_str).collect()
}

fn on_ens() -> L2AnnouncementPolicy {
    let regex = regex::Regex::new("^ens[0-9]+").expect("a regular expression");
    L2AnnouncementPolicy {
        interfaces: vec![regex],
        ..policy("p")
    }
}

#[test]
fn a_vip_is_announced_by_every_node_with_an_interface_on_its_subnet() {
    let mut cluster = cluster(&[policy("p")]);
    let plan = cluster.plan();
    assert_eq!(here(&plan), Ok(vec![2]));
    assert_eq!(candidates(&plan), ["n1", "n2", "n3"]);
    let lease = LeaseName::of_service("default", "svc1");
    assert_eq!(plan.announcements.desired_vips()[&lease].len(), 3);
    let interfaces = plan.announcements.interfaces_here();
    let links = BTreeSet::from([LinkIndex(2)]);
    assert_eq!(
        interfaces[&lease],
        BTreeMap::from([(ip("10.10.200.1"), links)])
    );
}

#[test]
fn without_a_policy_nothing_is_announced() {
    let plan = cluster(&[]).plan();
    assert_eq!(here(&plan), Err(Hindrance::NoPolicy));
    assert_eq!(candidates(&plan), [""; 0]);
    assert!(plan.announcements.desired_vips().is_empty());
    assert!(plan.announcements.interfaces_here().is_empty());
}

#[test]
fn a_policy_selects_by_labels_and_by_the_service_s_name_and_namespace() {
    let with = |pairs: &[(&str, &str)]| L2AnnouncementPolicy {
        service_selector: Some(selector(pairs)),
        ..policy("p")
    };
    assert_eq!(
        here(&cluster(&[with(&[("color", "blue")])]).plan()),
        Ok(vec![2])
    );
    let red = with(&[("color", "red")]);
    assert_eq!(here(&cluster(&[red]).plan()), Err(Hindrance::NoPolicy));
    let named = with(&[
        (SERVICE_NAME_LABEL, "svc1"),
        (SERVICE_NAMESPACE_LABEL, "default"),
    ]);
    assert_eq!(here(&cluster(&[named]).plan()), Ok(vec![2]));
}

#[test]
fn a_node_selector_keeps_nodes_out_here_and_elsewhere() {
    let control = "node-role.kubernetes.io/control-plane";
    let workers = L2AnnouncementPolicy {
        node_selector: Some(lacking(control)),
        ..policy("p")
    };
    let mut cluster = cluster(&[workers]);
    let mut first = node("n1", "10.10.200.11");
    first.labels = labels(&[(control, "")]);
    cluster.fold(Change::Node(first.name.clone(), Some(first)));
    let plan = cluster.plan();
    assert_eq!(here(&plan), Err(Hindrance::NodeNotSelected));
    assert_eq!(candidates(&plan), ["n2", "n3"]);
}

#[test]
fn a_node_excluded_from_load_balancers_does_not_contend() {
    let mut cluster = cluster(&[policy("p")]);
    let mut second = node("n2", "10.10.200.12");
    second.labels = labels(&[(
        "node.kubernetes.io/exclude-from-external-load-balancers",
        "",
    )]);
    cluster.fold(Change::Node(second.name.clone(), Some(second)));
    assert_eq!(candidates(&cluster.plan()), ["n1", "n3"]);
}

#[test]
fn interfaces_by_name_need_no_address_and_are_never_a_cni_s_or_a_bridge_s_ports() {
    let mut cluster = cluster(&[on_ens()]);
    let mut port = link(3, "ens4", "10.10.200.21");
    port.kind = LinkKind::Port;
    let mut pod = link(4, "ens5", "10.10.200.22");
    pod.kind = LinkKind::Pod;
    let mut bare = link(5, "ens6", "192.0.2.5");
    bare.addresses.clear();
    let other = link(6, "eth0", "10.10.200.23");
    let main = link(2, "ens3", "10.10.200.11");
    cluster.fold(Change::Links(vec![main, port, pod, bare, other]));
    assert_eq!(here(&cluster.plan()), Ok(vec![2, 5]));
}

#[test]
fn without_carrier_the_node_does_not_contend_and_says_so() {
    let mut cluster = cluster(&[on_ens()]);
    let mut down = link(2, "ens3", "10.10.200.11");
    down.up = false;
    cluster.fold(Change::Links(vec![down]));
    let plan = cluster.plan();
    assert_eq!(here(&plan), Err(Hindrance::InterfaceDown));
    assert_eq!(candidates(&plan), ["n2", "n3"]);
    cluster.fold(Change::Links(vec![link(2, "eth0", "10.10.200.11")]));
    assert_eq!(here(&cluster.plan()), Err(Hindrance::NoInterface));
}

#[test]
fn carrier_on_another_lan_does_not_make_up_for_that_of_the_vips_subnet() {
    let mut cluster = cluster(&[on_ens()]);
    let mut down = link(2, "ens3", "10.10.200.11");
    down.up = false;
    let other = link(3, "ens4", "172.20.0.11");
    cluster.fold(Change::Links(vec![down, other.clone()]));
    let plan = cluster.plan();
    assert_eq!(here(&plan), Err(Hindrance::InterfaceDown));
    assert_eq!(candidates(&plan), ["n2", "n3"]);
    cluster.fold(Change::Links(vec![link(2, "ens3", "10.10.200.11"), other]));
    assert_eq!(here(&cluster.plan()), Ok(vec![2, 3]));
}

#[test]
fn a_policy_announces_only_the_kinds_of_addresses_it_is_for() {
    let external = L2AnnouncementPolicy {
        load_balancer_ips: false,
        ..policy("p")
    };
    let mut cluster = cluster(&[external]);
    assert_eq!(here(&cluster.plan()), Err(Hindrance::KindNotAnnounced));
    let mut plain = service("svc1");
    plain.service_type = ServiceType::ClusterIp;
    plain.external_ips = vec![ip("10.10.200.77")];
    cluster.add_service(plain);
    let plan = cluster.plan();
    assert_eq!(here(&plan), Ok(vec![2]));
    assert_eq!(
        vip(&plan).addresses.keys().copied().collect::<Vec<_>>(),
        [ip("10.10.200.77")]
    );
}

#[test]
fn with_local_policy_only_nodes_with_a_ready_endpoint_contend() {
    let mut cluster = cluster(&[policy("p")]);
    let mut local = service("svc1");
    local.external_traffic_policy = TrafficPolicy::Local;
    cluster.add_service(local);
    let plan = cluster.plan();
    assert_eq!(here(&plan), Err(Hindrance::NoLocalEndpoint));
    assert_eq!(candidates(&plan), [""; 0]);
    cluster.add_slice(slice("s", "svc1", vec![endpoint("10.1.0.2", "n2")]));
    assert_eq!(candidates(&cluster.plan()), ["n2"]);
    let mut leaving = endpoint("10.1.0.2", "n2");
    (leaving.ready, leaving.terminating) = (false, true);
    cluster.add_slice(slice(
        "s",
        "svc1",
        vec![leaving.clone(), endpoint("10.1.0.1", "n1")],
    ));
    assert_eq!(candidates(&cluster.plan()), ["n1"]);
    cluster.add_slice(slice("s", "svc1", vec![leaving]));
    assert_eq!(candidates(&cluster.plan()), ["n2"]);
}

#[test]
fn a_node_s_own_address_is_never_announced() {
    let mut cluster = cluster(&[policy("p")]);
    let mut plain = service("svc1");
    plain.service_type = ServiceType::ClusterIp;
    plain.external_ips = vec![ip("10.10.200.12")];
    cluster.add_service(plain);
    let plan = cluster.plan();
    assert_eq!(here(&plan), Err(Hindrance::NodeAddress));
    assert_eq!(candidates(&plan), [""; 0]);
    assert_eq!(
        plan.table.frontends.len(),
        1,
        "as with kube-proxy, the port is served all the same"
    );
}

#[test]
fn of_a_lease_with_two_addresses_those_contend_that_can_announce_both() {
    let mut cluster = cluster(&[policy("p")]);
    let mut both = service("svc1");
    // Only n1 is on the second subnet.
    both.external_ips = vec![ip("192.0.2.77")];
    cluster.add_service(both);
    let on = |index, address| link(index, &format!("ens{index}"), address);
    cluster.fold(Change::Links(vec![
        on(2, "10.10.200.11"),
        on(3, "192.0.2.5"),
    ]));
    assert_eq!(candidates(&cluster.plan()), ["n1"]);
    cluster.fold(Change::Links(vec![on(2, "10.10.200.11")]));
    assert_eq!(candidates(&cluster.plan()), ["n1", "n2", "n3"]);
}

#[test]
fn a_pod_that_comes_or_goes_leaves_the_announcements_the_same() {
    let mut cluster = cluster(&[policy("p")]);
    let before = cluster.plan();
    cluster.add_slice(slice("s", "svc1", vec![endpoint("10.1.0.2", "n2")]));
    let after = cluster.plan();
    assert!(!Arc::ptr_eq(&before.table, &after.table));
    assert!(Arc::ptr_eq(&before.announcements, &after.announcements));
    assert!(Arc::ptr_eq(
        &before.addresses.services,
        &after.addresses.services
    ));
    assert_eq!(vip(&after).services, [name("svc1")]);
}
