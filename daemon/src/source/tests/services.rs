//! What Services ask for, in the words of Landfall, Cilium and MetalLB, and what is defaulted.

use std::fs;

use landfall_core::model::{Change, IpFamily, IpFamilyPolicy, Service};

use super::{Directory, GOOD};

/// The Service that the good one becomes with `annotations` (flow style) and more lines of spec.
fn service(annotations: &str, spec: &str) -> Service {
    let mut directory = Directory::with_good();
    let text = GOOD
        .replace(
            "name: good",
            &format!("name: web, annotations: {{{annotations}}}"),
        )
        .replace("spec:\n", &format!("spec:\n{spec}"));
    fs::write(directory.path("web.yaml"), text).unwrap();
    let batch = directory.written("web.yaml");
    match batch.as_slice() {
        [Change::Service(_, Some(service)), ..] => service.clone(),
        other => panic!("{other:?}"),
    }
}

fn requested(annotations: &str, spec: &str) -> Vec<String> {
    service(annotations, spec)
        .requested_ips
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn addresses_are_asked_for_in_anybodys_words() {
    for name in [
        "landfall.dev/ips",
        "lbipam.cilium.io/ips",
        "io.cilium/lb-ipam-ips",
        "metallb.io/loadBalancerIPs",
        "metallb.universe.tf/loadBalancerIPs",
    ] {
        let annotations = format!("{name}: \"10.0.0.1, 10.0.0.2,10.0.0.1\"");
        assert_eq!(
            requested(&annotations, ""),
            ["10.0.0.1", "10.0.0.2"],
            "{name}"
        );
    }
    assert_eq!(requested("", "  loadBalancerIP: 10.0.0.3\n"), ["10.0.0.3"]);
}

#[test]
fn landfalls_own_words_come_first() {
    let both = "lbipam.cilium.io/ips: 10.0.0.2, landfall.dev/ips: 10.0.0.1";
    assert_eq!(
        requested(both, "  loadBalancerIP: 10.0.0.3\n"),
        ["10.0.0.1"]
    );
}

#[test]
fn a_sharing_key_of_metallb_is_good_across_namespaces_and_others_need_consent() {
    let sharing = |annotations: &str| {
        let service = service(annotations, "");
        (service.sharing_key.unwrap(), service.sharing_namespaces)
    };
    let key = "k".to_owned();
    assert_eq!(
        sharing("metallb.io/allow-shared-ip: k"),
        (key.clone(), vec!["*".to_owned()])
    );
    assert_eq!(
        sharing("landfall.dev/sharing-key: k"),
        (key.clone(), vec![])
    );
    for prefix in [
        "landfall.dev/sharing",
        "lbipam.cilium.io/sharing",
        "io.cilium/lb-ipam-sharing",
    ] {
        let annotations = format!("{prefix}-key: k, {prefix}-cross-namespace: \"a, b\"");
        assert_eq!(
            sharing(&annotations),
            (key.clone(), vec!["a".to_owned(), "b".to_owned()])
        );
    }
}

#[test]
fn a_pool_is_asked_for_in_two_vocabularies() {
    for name in ["landfall.dev/pool", "metallb.io/address-pool"] {
        assert_eq!(
            service(&format!("{name}: lan"), "")
                .requested_pool
                .as_deref(),
            Some("lan")
        );
    }
}

#[test]
fn families_are_defaulted_as_the_api_server_does() {
    use IpFamily::{V4, V6};
    use IpFamilyPolicy::{PreferDualStack, RequireDualStack, SingleStack};
    let families = |spec: &str| {
        let service = service("", spec);
        (service.ip_families, service.ip_family_policy)
    };
    assert_eq!(families(""), (vec![V4], SingleStack));
    assert_eq!(families("  ipFamilies: [IPv6]\n"), (vec![V6], SingleStack));
    assert_eq!(
        families("  clusterIPs: [\"fd00::1\"]\n"),
        (vec![V6], SingleStack)
    );
    assert_eq!(
        families("  loadBalancerIP: \"2001:db8::1\"\n"),
        (vec![V6], SingleStack)
    );
    assert_eq!(
        families("  ipFamilies: [IPv6, IPv4]\n"),
        (vec![V6, V4], RequireDualStack)
    );
    assert_eq!(
        families("  ipFamilyPolicy: PreferDualStack\n"),
        (vec![V4, V6], PreferDualStack)
    );
}

#[test]
fn the_older_annotation_for_source_ranges_counts_where_the_field_is_not_there() {
    let note =
        "service.beta.kubernetes.io/load-balancer-source-ranges: \"10.0.0.0/8, 192.0.2.0/24\"";
    let ranges = |spec: &str| {
        let ranges = service(note, spec).source_ranges;
        ranges.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(ranges(""), ["10.0.0.0/8", "192.0.2.0/24"]);
    assert_eq!(
        ranges("  loadBalancerSourceRanges: [172.16.0.0/12]\n"),
        ["172.16.0.0/12"]
    );
}

#[test]
fn a_service_keeps_its_age_while_its_file_is_edited() {
    let mut directory = Directory::with_good();
    let path = directory.path("web.yaml");
    let mut ages = Vec::new();
    for port in ["80", "81"] {
        fs::write(&path, GOOD.replace("good", "web").replace("80", port)).unwrap();
        let modified = std::time::UNIX_EPOCH
            + std::time::Duration::from_secs(if port == "80" { 1000 } else { 2000 });
        fs::File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(modified)
            .unwrap();
        match directory.written("web.yaml").as_slice() {
            [Change::Service(_, Some(service))] => ages.push(service.created),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(ages, [1000, 1000]);
}
