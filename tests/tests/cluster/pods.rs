//! Pods that Kubernetes makes, and those that scenarios hold.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use anyhow::{Context, Result};
use landfall_tests::cluster::Cluster;
use landfall_tests::cluster::programs::Programs;
use landfall_tests::figures;
use landfall_tests::lab::manifests::{labels, service};
use landfall_tests::lab::pod::{PodSpec, PodState};
use landfall_tests::lab::wait;
use serde_json::{Value, json};

use crate::{SECOND, items, web, whereabouts};

#[test]
fn pods_of_a_deployment_reach_each_other_and_the_api() -> Result<()> {
    let programs = Programs::find_or_build()?;
    let begun = Instant::now();
    let cluster = Cluster::builder().start(&programs)?;
    let up = begun.elapsed();
    figures::record_times("cluster.up", &[up])?;
    assert!(up < 60 * SECOND, "{up:?}");

    let kubectl = cluster.kubectl();
    let nodes = kubectl.json("get nodes")?;
    assert_eq!(items(&nodes).len(), 3);
    for (node, number) in items(&nodes).iter().zip(1..) {
        let version = node["status"]["nodeInfo"]["kubeletVersion"].as_str();
        assert!(
            version.is_some_and(|version| version.starts_with("v1.36.")),
            "{version:?}"
        );
        let networks = json!([
            format!("10.244.{number}.0/24"),
            format!("fd00:244:{number}::/64")
        ]);
        assert_eq!(node["spec"]["podCIDRs"], networks);
        let conditions = node["status"]["conditions"]
            .as_array()
            .context("conditions")?;
        let ready = conditions.iter().find(|one| one["type"] == "Ready");
        assert_eq!(ready.context("Ready")?["status"], "True");
    }
    let boots = items(&nodes)
        .iter()
        .map(|node| node["status"]["nodeInfo"]["bootID"].to_string());
    assert_eq!(
        boots.collect::<BTreeSet<String>>().len(),
        3,
        "nodes boot by themselves"
    );

    web(&cluster, 3)?;
    let pods = kubectl.json("get pods --selector app=web")?;
    let places: Result<Vec<_>> = items(&pods).iter().map(whereabouts).collect();
    let places = places?;
    let on: BTreeSet<&str> = places.iter().map(|(_, node)| *node).collect();
    assert_eq!(on, BTreeSet::from(["node1", "node2", "node3"]));

    // Each pod asks each other for the address that it is seen with.
    let asker = cluster.control_plane().host();
    for (from, node) in &places {
        let number: u8 = node.trim_start_matches("node").parse()?;
        let prefix = [format!("10.244.{number}."), format!("fd00:244:{number}::")];
        for (to, _) in &places {
            for family in 0..2 {
                let answer = asker.output(&format!(
                    "curl --silent --fail --max-time 5 --globoff \
                     http://{}:8080/dial?host={}&port=8080&protocol=http&request=clientip",
                    from[0], to[family]
                ))?;
                let answer: Value = serde_json::from_str(&answer)?;
                let seen = answer["responses"][0].as_str().context("an answer")?;
                assert!(
                    seen.trim_start_matches('[').starts_with(&prefix[family]),
                    "{from:?} to {to:?}: {answer}"
                );
            }
        }
    }
    // The caller says when it calls with a token, and when a call has failed.
    for pod in items(&pods) {
        let name = pod["metadata"]["name"].as_str().context("a name")?;
        let log = || kubectl.run(&format!("logs {name} --container caller"));
        wait::until(20 * SECOND, "a pod to call the API server", || {
            let log = log()?;
            let with_token = log.lines().filter(|line| line.contains("authz_header="));
            Ok(with_token.count() > 1)
        })?;
        assert!(!log()?.contains("status=failed"), "{}", log()?);
    }
    wait::until(10 * SECOND, "the Service's endpoints", || {
        let slices =
            kubectl.json("get endpointslices --selector kubernetes.io/service-name=web")?;
        let listed: BTreeSet<String> = items(&slices)
            .iter()
            .flat_map(|slice| slice["endpoints"].as_array().into_iter().flatten())
            .filter_map(|endpoint| endpoint["addresses"][0].as_str().map(ToOwned::to_owned))
            .collect();
        Ok(listed
            == places
                .iter()
                .flat_map(|(ips, _)| ips)
                .map(ToString::to_string)
                .collect())
    })?;
    for node in cluster.lab().nodes() {
        for address in node.addresses() {
            cluster.lab().client().ping(address, 56, SECOND)?;
        }
    }
    Ok(())
}

/// The endpoints of a Service by the names of their pods, with what the API says of them.
fn endpoints(cluster: &Cluster, service: &str) -> Result<BTreeMap<String, Endpoint>> {
    let words = format!("get endpointslices --selector kubernetes.io/service-name={service}");
    let slices = cluster.kubectl().json(&words)?;
    let mut found = BTreeMap::new();
    let slices = items(&slices).iter();
    for endpoint in slices.flat_map(|slice| slice["endpoints"].as_array().into_iter().flatten()) {
        let name = endpoint["targetRef"]["name"]
            .as_str()
            .context("a pod's name")?;
        let is = |condition: &str| endpoint["conditions"][condition] == true;
        let is = (is("ready"), is("serving"), is("terminating"));
        found.insert(name.to_owned(), is);
    }
    Ok(found)
}

/// Whether it is ready, serving, terminating.
type Endpoint = (bool, bool, bool);

#[test]
fn pods_are_what_scenarios_say_of_them() -> Result<()> {
    let programs = Programs::find_or_build()?;
    let cluster = Cluster::builder().nodes(2).start(&programs)?;
    let service = service(
        "svc",
        &labels(&[]),
        &labels(&[("app", "web")]),
        &[("http", "TCP", 80)],
    );
    let lab = cluster.lab();
    lab.objects().write_object("svc.yaml", &service)?;
    let a = lab.add_pod(0, PodSpec::app("a", "web"))?;
    let b = lab.add_unlisted_pod(1, PodSpec::app("b", "web"))?;
    let expect = |what: &str, wanted: &[(&str, Endpoint)]| {
        let wanted = wanted.iter().map(|(name, is)| ((*name).to_owned(), *is));
        let wanted: BTreeMap<String, Endpoint> = wanted.collect();
        wait::until(10 * SECOND, what, || {
            Ok(endpoints(&cluster, "svc")? == wanted)
        })
    };
    let (ready, unready) = ((true, true, false), (false, false, false));
    expect("one ready endpoint", &[("a", ready), ("b", unready)])?;
    lab.list_pod(&b, PodState::Ready)?;
    expect("two ready endpoints", &[("a", ready), ("b", ready)])?;
    lab.list_pod(&b, PodState::Unready)?;
    expect("one ready endpoint again", &[("a", ready), ("b", unready)])?;
    lab.unlist_pod(&b)?;
    expect("one endpoint", &[("a", ready)])?;
    lab.list_pod(&b, PodState::Ready)?;
    expect("two endpoints again", &[("a", ready), ("b", ready)])?;

    for (from, to) in [(&a, &b), (&b, &a)] {
        let (from, to) = (from.host(), to.host());
        assert_eq!(from.http_get((to.ipv4(), 80))?.client.ip(), from.ipv4());
        assert_eq!(from.http_get((to.ipv6(), 80))?.client.ip(), from.ipv6());
    }
    for (pod, index) in [(&a, 0), (&b, 1)] {
        let node = cluster.lab().node(index).host();
        assert!(pod.host().cgroup().path().starts_with(node.cgroup().path()));
        // The node reaches the pod by this wire, whose other end has this MAC.
        let route = node.output(&format!("ip route get {}", pod.host().ipv4()))?;
        assert!(route.contains(&format!("dev {} ", pod.veth())), "{route}");
        node.ping(pod.host().ipv4().into(), 56, SECOND)?;
        let neighbour = node.output(&format!("ip neigh show {}", pod.host().ipv4()))?;
        assert!(
            neighbour.contains(&pod.host().mac().to_string()),
            "{neighbour}"
        );
    }

    lab.list_pod(&a, PodState::Terminating)?;
    expect(
        "a terminating endpoint",
        &[("a", (false, true, true)), ("b", ready)],
    )?;
    assert_eq!(b.host().http_get((a.host().ipv4(), 80))?.status, 200);
    lab.remove_pod(&a)?;
    expect("the other endpoint", &[("b", ready)])?;
    assert_eq!(lab.pods().len(), 1);

    // A file that is written anew or removed takes what it held with it.
    let pair = |names: [&str; 2]| {
        let settings = names.map(|name| {
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}).to_string()
        });
        settings.join("\n---\n")
    };
    let there = || -> Result<Vec<String>> {
        let all = cluster.kubectl().json("get configmaps")?;
        let names = items(&all)
            .iter()
            .filter_map(|one| one["metadata"]["name"].as_str());
        Ok(names
            .filter(|name| *name != "kube-root-ca.crt")
            .map(ToOwned::to_owned)
            .collect())
    };
    lab.objects().write("pair.yaml", &pair(["one", "two"]))?;
    assert_eq!(there()?, ["one", "two"]);
    lab.objects().write("pair.yaml", &pair(["two", "three"]))?;
    assert_eq!(there()?, ["three", "two"]);
    lab.objects().remove("pair.yaml")?;
    assert_eq!(there()?, Vec::<String>::new());
    Ok(())
}
