//! What users do with Services, pools and policies, one thing after the other on one cluster: each
//! scenario writes objects through the API and asks the API server and a client on the LAN what
//! became of them.

mod classes;
mod families;
mod names;
mod policies;
mod pools;
mod requests;
mod scene;
mod sharing;
mod traffic;
mod types;

use std::time::Instant;

use anyhow::{Result, ensure};
use landfall_tests::cluster::Cluster;
use landfall_tests::cluster::programs::Programs;
use landfall_tests::figures;
use landfall_tests::lab::pod::PodSpec;
use landfall_tests::lab::settings::Common;

use scene::Scene;

/// A scenario: a sentence, and what shows that it is true.
type Scenario = (&'static str, fn(&Scene<'_>) -> Result<()>);

#[rustfmt::skip]
const SCENARIOS: &[Scenario] = &[
    // Families.
    ("a single-stack service gets one IPv4 address", families::single_stack_v4),
    ("a single-stack IPv6 service gets one IPv6 address", families::single_stack_v6),
    ("a service that prefers dual stack gets an address of each family", families::prefer_gets_both),
    ("a service that prefers dual stack is content where the pools have one family", families::prefer_is_content_with_one),
    ("a service that requires dual stack gets an address of each family", families::require_gets_both),
    ("a service that requires dual stack is told which family is missing until it is there", families::require_tells_what_is_missing),
    ("a service made dual-stack keeps its address and gets another", families::a_second_family_is_added),
    ("a service made single-stack gives its second address back", families::a_second_family_is_given_back),
    // Sharing.
    ("services with one sharing key and different ports share an address", sharing::one_key_and_different_ports),
    ("services with one sharing key and the same port do not share", sharing::one_key_and_one_port),
    ("services with different sharing keys do not share", sharing::different_keys),
    ("services of two namespaces share where both consent", sharing::across_namespaces_by_consent),
    ("services of two namespaces do not share where one does not consent", sharing::across_namespaces_without_consent),
    ("dual-stack services share the whole set", sharing::whole_sets),
    ("an address stays where it is when the older of two sharers goes", sharing::a_sharer_leaves),
    ("a sharer that changes its key gets an address of its own", sharing::a_change_ends_the_sharing),
    ("MetalLB's annotation for sharing is understood", sharing::metallb_s_word),
    // Requests.
    ("an address is asked for by landfall.dev/ips", requests::by_our_annotation),
    ("an address is asked for by lbipam.cilium.io/ips", requests::by_cilium_s_annotation),
    ("an address is asked for by metallb.io/loadBalancerIPs", requests::by_metallb_s_annotation),
    ("an address is asked for by spec.loadBalancerIP", requests::by_the_spec),
    ("an address of a named pool is asked for by landfall.dev/pool", requests::of_a_pool),
    ("several addresses are asked for at once", requests::several_at_once),
    ("an address outside all pools is refused, and given once a pool has it", requests::outside_all_pools),
    ("an address that another service has is refused, and given once it is free", requests::taken_already),
    ("a service that asks for another address moves to it", requests::another_one_later),
    ("a service that asks for its address no longer keeps it", requests::no_longer),
    // Classes and other controllers.
    ("a service of class landfall.dev/l2 is served", classes::ours),
    ("a service of class io.cilium/l2-announcer is served", classes::cilium_s),
    ("a service of another class is not touched", classes::another_class),
    ("a service of another class keeps the address that its controller gave", classes::another_class_with_an_address),
    ("a service without a class that another controller serves is left to it", classes::another_status_writer),
    ("a finalizer of another controller stays", classes::a_foreign_finalizer_stays),
    // Coming, changing, going.
    ("a service that becomes a load balancer gets an address", types::becomes_a_load_balancer),
    ("a service that becomes a ClusterIP gives its address back", types::becomes_a_cluster_ip),
    ("a service that becomes a NodePort leaves its address to the next", types::becomes_a_node_port),
    ("a deleted service leaves its address to the one that waits", types::is_deleted),
    ("a service that is deleted and made anew is served anew", types::is_made_anew),
    ("services go with their namespace", types::goes_with_its_namespace),
    ("a service whose port changes answers on the new one and keeps its address", types::its_ports_change),
    // Pools.
    ("a pool that is widened moves nothing", pools::widened),
    ("a pool that is shrunk around a service moves nothing", pools::shrunk_around),
    ("a pool that is shrunk past a service moves it", pools::shrunk_past),
    ("a disabled pool keeps what it gave and gives nothing new", pools::disabled),
    ("a deleted pool takes its addresses with it", pools::deleted),
    ("a service waits for a pool that is full until it is widened", pools::exhausted),
    ("the younger of two overlapping pools conflicts until the overlap is gone", pools::overlapping),
    ("a pool that selects a service no longer takes its address back", pools::selects_no_longer),
    ("a pool selects services by name and namespace", pools::selects_by_name_and_namespace),
    ("a pool tells how many addresses are left", pools::counts_what_is_left),
    ("a CiliumLoadBalancerIPPool gives addresses", pools::cilium_s_kind),
    ("the first and last address of a block are kept back where the pool says so", pools::first_and_last_are_reserved),
    // Policies and nodes.
    ("a service without a policy has an address and is silent until there is one", policies::without_a_policy),
    ("a deleted policy silences its services, which keep their addresses", policies::deleted),
    ("a policy whose selector changes silences a service and announces it again", policies::its_selector_changes),
    ("a policy that takes another's place makes no gap", policies::another_takes_its_place),
    ("a policy that selects another node moves the address there", policies::it_selects_one_node),
    ("a policy that selects no node silences its services", policies::it_selects_no_node),
    ("a policy that names no interface of the nodes silences its services", policies::it_names_no_interface_that_is_there),
    ("a policy announces external IPs and load balancer IPs each where it says so", policies::it_does_not_announce_load_balancer_ips),
    ("a CiliumL2AnnouncementPolicy announces", policies::cilium_s_kind),
    ("a node with the label that excludes it from load balancers gives its addresses away", policies::a_node_is_excluded),
    // Traffic.
    ("a service with a local traffic policy is announced where its endpoint is", traffic::local_is_announced_where_an_endpoint_is),
    ("a service with a local traffic policy follows its endpoint to another node", traffic::local_follows_its_endpoint),
    ("a service with a local traffic policy and no endpoint is silent", traffic::local_without_endpoints_is_silent),
    ("a service without endpoints refuses connections", traffic::without_endpoints_connections_are_refused),
    ("clients outside the source ranges are not answered", traffic::source_ranges_count),
    ("session affinity keeps a client with its pod", traffic::affinity_keeps_a_client_with_its_pod),
    ("an EndpointSlice that is written by hand counts", traffic::endpoints_written_by_hand_count),
    // Names.
    ("the longest legal names have addresses and leases of their own", names::the_longest),
    ("the services a-b/c and a/b-c have a lease each", names::a_dash_may_be_anywhere),
    ("the lease of a service tells who answers and goes with it", names::leases_are_collected),
];

/// The policy that announces most scenarios' Services.
const BLUE: &str = r#"{
    "apiVersion": "landfall.dev/v1alpha1", "kind": "L2AnnouncementPolicy",
    "metadata": {"name": "blue"},
    "spec": {
        "serviceSelector": {"matchLabels": {"color": "blue"}},
        "interfaces": ["^ens3$"], "loadBalancerIPs": true, "externalIPs": true
    }
}"#;

#[test]
fn every_scenario_of_the_table_plays() -> Result<()> {
    let cluster = Cluster::builder()
        .agents(Common::default())
        .start(&Programs::find_or_build()?)?;
    let (lab, access) = cluster.into_parts();
    for index in 0..lab.nodes().len() {
        lab.add_pod(
            index,
            PodSpec::app(&format!("webpod{}", index + 1), "webpod"),
        )?;
    }
    // The scenes' addresses are on the LAN, though not of its subnet.
    for host in [lab.client(), lab.watcher()] {
        host.output("ip route add 10.30.0.0/16 dev ens3")?;
        host.output("ip route add fd00:30::/32 dev ens3")?;
        // What is asked is whether an address answers, not how patiently a client asks.
        host.sysctl("ipv4/neigh/ens3/retrans_time_ms", "50")?;
        host.sysctl("ipv4/neigh/ens3/mcast_solicit", "200")?;
        host.sysctl("ipv6/neigh/ens3/retrans_time_ms", "50")?;
        host.sysctl("ipv6/neigh/ens3/mcast_solicit", "200")?;
    }
    lab.start_agents()?;
    access.client().apply(&serde_json::from_str(BLUE)?)?;
    // For a closer look at some of them.
    let only = std::env::var("LANDFALL_SCENARIOS").unwrap_or_default();
    let (mut held, mut failed) = (0, Vec::new());
    for ((name, play), number) in SCENARIOS.iter().zip(1..) {
        if !name.contains(&only) {
            continue;
        }
        let begun = Instant::now();
        let scene = Scene::new(&lab, &access, number);
        match play(&scene) {
            Ok(()) => {
                held += 1;
                println!("{number:2} holds  {name} ({:.1?})", begun.elapsed());
            }
            Err(error) => {
                println!("{number:2} FAILS  {name}: {error:#}");
                failed.push(format!("{number} {name}: {error:#}"));
            }
        }
    }
    if !failed.is_empty() {
        for node in lab.nodes() {
            println!(
                "---- the end of {}'s log\n{}",
                node.name(),
                node.log_tail(60)
            );
        }
    }
    ensure!(
        failed.is_empty(),
        "{} scenarios fail, {held} hold:\n{}",
        failed.len(),
        failed.join("\n")
    );
    if only.is_empty() {
        figures::record("cluster.scenarios", "scenarios", &[f64::from(held)])?;
    }
    Ok(())
}

#[test]
fn the_table_has_each_scenario_once() {
    let names: std::collections::BTreeSet<&str> = SCENARIOS.iter().map(|(name, _)| *name).collect();
    assert_eq!(names.len(), SCENARIOS.len());
    assert!(names.len() >= 45, "{}", names.len());
    // The number of a scenario is a number of its addresses.
    assert!(u8::try_from(SCENARIOS.len()).is_ok());
}
