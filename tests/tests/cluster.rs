//! The cluster itself: it comes up whole and quickly, its pods are on the LAN, each component may do
//! what its role says and no more, and nothing is left of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use landfall_tests::cluster::programs::Programs;
use landfall_tests::cluster::{AGNHOST_IMAGE, API_PORT, Cluster, Component};
use landfall_tests::figures;
use landfall_tests::lab::manifests::{labels, service};
use landfall_tests::lab::pod::{PodSpec, PodState};
use landfall_tests::lab::switch::{Lan, Port};
use landfall_tests::lab::traces::{traces, traces_of};
use landfall_tests::lab::{programs, registry, wait};
use serde_json::{Value, json};

const SECOND: Duration = Duration::from_secs(1);

/// Where a cluster would leave something if its nodes' files were not their own.
const PLACES: [&str; 8] = [
    "/etc/cni",
    "/run/containerd",
    "/usr/libexec/kubernetes",
    "/var/lib/cni",
    "/var/lib/containerd",
    "/var/lib/kubelet",
    "/var/log/containers",
    "/var/log/pods",
];

fn start() -> Result<Cluster> {
    Cluster::builder().start(&Programs::find_or_build()?)
}

/// Pods of Kubernetes' test image that a Deployment makes, one on each node, and the Service
/// that selects them. The pods call the API server by its address: nothing serves cluster IPs yet.
fn web(cluster: &Cluster, replicas: usize) -> Result<()> {
    let api = [
        json!({"name": "KUBERNETES_SERVICE_HOST", "value": cluster.control_plane().address()}),
        json!({"name": "KUBERNETES_SERVICE_PORT", "value": API_PORT.to_string()}),
    ];
    let labels = json!({"app": "web"});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {
                "terminationGracePeriodSeconds": 0,
                "topologySpreadConstraints": [{
                    "maxSkew": 1, "topologyKey": "kubernetes.io/hostname",
                    "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": labels},
                }],
                "containers": [
                    {"name": "web", "image": AGNHOST_IMAGE, "args": ["netexec", "--http-port=8080"],
                     "readinessProbe": {"httpGet": {"port": 8080}, "periodSeconds": 1}},
                    {"name": "caller", "image": AGNHOST_IMAGE, "args": ["inclusterclient", "--poll-interval=1"], "env": api},
                ],
            }},
        },
    });
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {
            "selector": labels, "ports": [{"port": 80, "targetPort": 8080}],
            "ipFamilyPolicy": "RequireDualStack",
        },
    });
    cluster
        .kubectl()
        .apply(&format!("{deployment}\n---\n{service}"))?;
    let words = "rollout status deployment web --timeout=60s";
    cluster.kubectl().run(words).map(drop)
}

fn items(list: &Value) -> &[Value] {
    list["items"].as_array().map_or(&[], Vec::as_slice)
}

fn texts<'a>(list: &'a Value, key: &str) -> Vec<&'a str> {
    let list = list.as_array().map_or(&[][..], Vec::as_slice);
    list.iter().filter_map(|one| one[key].as_str()).collect()
}

/// A pod's IPv4 and IPv6 address, and its node.
fn whereabouts(pod: &Value) -> Result<([IpAddr; 2], &str)> {
    let ips: Result<Vec<IpAddr>, _> = texts(&pod["status"]["podIPs"], "ip")
        .into_iter()
        .map(str::parse)
        .collect();
    let ips = ips?.try_into().ok().context("a pod has two addresses")?;
    Ok((ips, pod["spec"]["nodeName"].as_str().context("a node")?))
}

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

#[test]
fn the_api_goes_and_comes_and_a_node_reboots() -> Result<()> {
    let programs = Programs::find_or_build()?;
    let mut cluster = Cluster::builder().nodes(2).start(&programs)?;
    web(&cluster, 2)?;
    let kubectl = cluster.kubectl();
    let begun = Instant::now();
    let outage = cluster.control_plane();
    outage.kill(Component::ApiServer)?;
    kubectl
        .run("get nodes")
        .expect_err("there is no API server");
    outage.kill(Component::Etcd)?;
    outage.start(Component::Etcd)?;
    outage.start(Component::ApiServer)?;
    outage.wait_ready()?;
    println!("the API server was gone for {:?}", begun.elapsed());
    kubectl.run("rollout status deployment web --timeout=60s")?;

    // Cut off, it does not answer at all: nobody is told that a connection is over.
    let switch = cluster.lab().switch();
    let node = cluster.lab().node(0).host().clone();
    let (host, api) = (outage.host().name().to_owned(), outage.url());
    let ask = || {
        node.output(&format!(
            "curl --silent --insecure --max-time 2 {api}/readyz"
        ))
    };
    assert_eq!(ask()?, "ok");
    switch.set_port(&host, Lan::First, Port::Cut)?;
    let said = ask().expect_err("it is cut off").to_string();
    // curl(1): the time is up.
    assert!(said.contains("exit status: 28"), "{said}");
    switch.set_port(&host, Lan::First, Port::Open)?;
    assert_eq!(ask()?, "ok");

    let boot = |name: &str| -> Result<String> {
        let words = format!("get node {name} -o jsonpath={{.status.nodeInfo.bootID}}");
        kubectl.run(&words)
    };
    let pod = cluster.lab().add_pod(1, PodSpec::app("lab", "lab"))?;
    let before = (boot("node1")?, boot("node2")?);
    let begun = Instant::now();
    cluster.lab_mut().reboot(1)?;
    println!("node2 was ready {:?} after its death", begun.elapsed());
    assert_eq!(boot("node1")?, before.0);
    assert_ne!(boot("node2")?, before.1);
    let pods = cluster.lab().pods();
    assert_eq!((pods.len(), pods[0].name()), (1, "lab"));
    assert_ne!(
        pods[0].host().cgroup().path(),
        pod.host().cgroup().path(),
        "a new container"
    );
    let answer = cluster
        .lab()
        .node(0)
        .host()
        .http_get((pods[0].host().ipv4(), 80))?;
    assert!(answer.body.starts_with("lab saw "), "{}", answer.body);
    // The API says ready of what ran before until the kubelet has looked; the addresses are new.
    let asker = cluster.control_plane().host();
    wait::until_ok(60 * SECOND, "all pods to serve after the reboot", || {
        let pods = kubectl.json("get pods --selector app=web")?;
        ensure!(items(&pods).len() == 2, "two pods");
        items(&pods).iter().try_for_each(|pod| {
            let (ips, _) = whereabouts(pod)?;
            let target = format!("http://{}:8080/hostname", ips[0]);
            let said = asker.output(&format!("curl --silent --fail --max-time 2 {target}"))?;
            ensure!(pod["metadata"]["name"] == said, "{said} at {}", ips[0]);
            Ok(())
        })
    })?;
    Ok(())
}

#[test]
fn components_may_do_what_their_roles_say_and_no_more() -> Result<()> {
    let cluster = start()?;
    let kubectl = cluster.kubectl();
    let may = |user: &str, words: &str| -> Result<bool> {
        // `can-i` fails where the answer is no.
        let said = kubectl.run(&format!("auth can-i {words} --as={user} --quiet"));
        Ok(said.is_ok())
    };
    let scheduler = "system:kube-scheduler";
    assert!(may(scheduler, "create pods --subresource=binding")?);
    assert!(!may(scheduler, "get secrets")?);
    let node = "system:node:node1 --as-group=system:nodes";
    assert!(may(node, "create nodes")?);
    assert!(!may(node, "list secrets")?);
    assert!(!may("kube-apiserver-kubelet-client", "get pods")?);
    let default = "system:serviceaccount:default:default";
    assert!(!may(default, "list services")?);
    // Only the person who runs the cluster is bound to what may all.
    let bindings = kubectl.json("get clusterrolebindings")?;
    let masters: Vec<&Value> = items(&bindings)
        .iter()
        .filter(|binding| binding["roleRef"]["name"] == "cluster-admin")
        .collect();
    assert_eq!(masters.len(), 1);
    assert_eq!(texts(&masters[0]["subjects"], "name"), ["system:masters"]);
    Ok(())
}

#[test]
fn the_examples_are_taken_unchanged() -> Result<()> {
    let cluster = start()?;
    let kubectl = cluster.kubectl();
    let landfall = Command::new(programs::landfall()?)
        .args(["crds", "--compat", "cilium"])
        .output()?;
    ensure!(
        landfall.status.success(),
        "landfall crds: {}",
        landfall.status
    );
    kubectl.apply(&String::from_utf8(landfall.stdout)?)?;
    kubectl.run("wait --for=condition=Established crd --all --timeout=20s")?;
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    for example in ["l2-announcement.yaml", "webpods.yaml"] {
        kubectl.run(&format!("apply -f {}", examples.join(example).display()))?;
    }
    kubectl.run("wait --for=condition=Ready pod --all --timeout=60s")?;
    let pools = kubectl.json("get ciliumloadbalancerippools")?;
    assert_eq!(
        items(&pools)[0]["spec"]["blocks"],
        json!([{"cidr": "10.10.200.0/29"}])
    );
    let services = kubectl.json("get services --selector color=blue")?;
    let types: Vec<&Value> = items(&services)
        .iter()
        .map(|one| &one["spec"]["type"])
        .collect();
    assert_eq!(types, ["LoadBalancer"; 3]);
    Ok(())
}

#[test]
fn a_cluster_leaves_nothing_behind() -> Result<()> {
    let there = || PLACES.map(|place| Path::new(place).exists());
    let before = there();
    let cluster = start()?;
    web(&cluster, 3)?;
    let id = cluster.lab().id().to_owned();
    let mut inside = BTreeSet::new();
    let mut processes = Vec::new();
    for process in processes_of(&id)? {
        if let Ok(net) = fs::read_link(format!("/proc/{process}/ns/net")) {
            inside.insert(net.display().to_string());
        }
        processes.push(process);
    }
    // 3 nodes with containerd and kubelet, the control plane's 4, and 3 pods' 3 containers at least.
    assert!(processes.len() >= 3 * 2 + 4 + 3 * 3, "{processes:?}");
    assert!(inside.len() >= 3 + 1 + 3, "{inside:?}");
    drop(cluster);
    assert_eq!(traces_of(&id)?, Vec::<String>::new());
    let left: Vec<String> = traces()?.intersection(&inside).cloned().collect();
    assert_eq!(left, Vec::<String>::new(), "namespaces are left");
    for process in processes {
        assert!(
            !Path::new("/proc").join(process.to_string()).exists(),
            "process {process}"
        );
    }
    assert_eq!(there(), before);
    Ok(())
}

/// The processes in the control groups of a lab.
fn processes_of(id: &str) -> Result<Vec<u32>> {
    fn walk(dir: &Path, found: &mut Vec<u32>) -> Result<()> {
        let procs = fs::read_to_string(dir.join("cgroup.procs"))?;
        found.extend(procs.lines().filter_map(|line| line.parse::<u32>().ok()));
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                walk(&entry.path(), found)?;
            }
        }
        Ok(())
    }
    let mut found = Vec::new();
    let root = landfall_tests::lab::cgroup::root()?;
    walk(&root.join(format!("landfall-lab-{id}")), &mut found)?;
    Ok(found)
}

#[test]
fn a_cluster_left_standing_goes_when_told_and_when_its_holder_is_killed() -> Result<()> {
    let program = env!("CARGO_BIN_EXE_landfall-lab");
    let up = || -> Result<String> {
        let before = labs();
        let status = Command::new(program)
            .args(["cluster", "up", "--nodes", "1"])
            .status()?;
        ensure!(status.success(), "cluster up: {status}");
        let mut new = labs().into_iter().filter(|lab| !before.contains(lab));
        new.next().context("a new lab")
    };
    let told = up()?;
    assert!(!traces_of(&told)?.is_empty());
    let status = Command::new(program).args(["cluster", "down"]).status()?;
    assert!(status.success());
    assert_eq!(traces_of(&told)?, Vec::<String>::new());

    let killed = up()?;
    let holder = killed.split('-').next().context("a process id")?.parse()?;
    let holder = nix::unistd::Pid::from_raw(holder);
    nix::sys::signal::kill(holder, nix::sys::signal::Signal::SIGKILL)?;
    wait::until(5 * SECOND, "the holder to end", || {
        Ok(nix::sys::signal::kill(holder, None).is_err())
    })?;
    assert!(
        !traces_of(&killed)?.is_empty(),
        "nobody was there to clean up"
    );
    registry::sweep()?;
    assert_eq!(traces_of(&killed)?, Vec::<String>::new());
    Ok(())
}

fn labs() -> BTreeSet<String> {
    let entries = fs::read_dir(registry::BASE).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}
