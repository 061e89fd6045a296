//! Prints what compiling policies costs at 1,000 NetworkPolicies and 5,000 pods, 100 of them on this node: everything from
//! nothing, single changes, what the tables hold, and the memory. Run it with `--release`.

mod memory;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use landfall_core::model::{
    Cidr, ClusterNetworkPolicy, ClusterPeer, ClusterPods, ClusterRule, IpBlock, Namespace,
    NetworkPolicy, NetworkPolicyPeer, NetworkPolicyRule, Node, NodeName, ObjectName, Pod, PodPort,
    PolicyTypes, Port, PortMatch, Protocol, RuleAction, Tier,
};
use landfall_core::policy::{Compiler, PolicyChange, PolicySettings, PolicyTables};
use landfall_ipam::LabelSelector;

use memory::resident;

const PODS: u32 = 5_000;
const LOCAL: u32 = 100;
const POLICIES: u32 = 1_000;
const NAMESPACES: u32 = 50;
/// Pods of one workload: 1,000 workloads of 5 replicas.
const REPLICAS: u32 = 5;
const CHANGES: u32 = 200;

fn labels(pairs: &[(&str, String)]) -> BTreeMap<String, String> {
    let pairs = pairs.iter();
    pairs
        .map(|(key, value)| ((*key).to_owned(), value.clone()))
        .collect()
}

fn selector(pairs: &[(&str, String)]) -> LabelSelector {
    LabelSelector::new(labels(pairs), Vec::new()).expect("labels")
}

fn namespace_name(index: u32) -> String {
    format!("namespace-{}", index % NAMESPACES)
}

fn app(workload: u32) -> String {
    format!("app-{workload}")
}

fn port(number: u16) -> Port {
    Port::new(number).expect("not 0")
}

/// Pod `index` of workload `index / REPLICAS`, whose namespace goes by its number.
fn pod(index: u32, role: &str) -> PolicyChange {
    let workload = index / REPLICAS;
    let name = ObjectName::new(namespace_name(workload), format!("pod-{index}"));
    let per_node = PODS / LOCAL;
    let pod = Pod {
        name: name.clone(),
        labels: labels(&[("app", app(workload)), ("role", role.to_owned())]),
        node: Some(NodeName::new(format!("node-{}", index % per_node))),
        ips: vec![
            IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + index)),
            IpAddr::V6(Ipv6Addr::from_bits((0xfd00 << 112) + u128::from(index))),
        ],
        ready: true,
        terminating: false,
        finished: false,
        host_network: false,
        ports: vec![PodPort {
            name: "http".into(),
            protocol: Protocol::Tcp,
            port: port(8080 + u16::try_from(workload % 3).expect("small")),
        }],
    };
    PolicyChange::Pod(name, Some(pod))
}

/// Policy `index` for one workload: from a few of its namespace, a role of a team's namespaces and a block; out to a named port,
/// to DNS and to all but private networks.
fn policy(index: u32, first: u16) -> PolicyChange {
    let name = ObjectName::new(namespace_name(index), format!("policy-{index}"));
    let tcp = |first, last| PortMatch::Range {
        protocol: Protocol::Tcp,
        first: port(first),
        last: port(last),
    };
    let of_app = |workload| NetworkPolicyPeer::Pods {
        namespace_selector: None,
        pod_selector: Some(selector(&[("app", app(workload))])),
    };
    let of_team = NetworkPolicyPeer::Pods {
        namespace_selector: Some(selector(&[("team", format!("team-{}", index % 10))])),
        pod_selector: Some(selector(&[("role", "client".to_owned())])),
    };
    let block = |cidr: &str, except: &[&str]| {
        let parse = |text: &str| text.parse::<Cidr>().expect("a CIDR");
        NetworkPolicyPeer::IpBlock(IpBlock {
            cidr: parse(cidr),
            except: except.iter().map(|text| parse(text)).collect(),
        })
    };
    let dns = PortMatch::Range {
        protocol: Protocol::Udp,
        first: port(53),
        last: port(53),
    };
    let every_namespace = NetworkPolicyPeer::Pods {
        namespace_selector: Some(LabelSelector::default()),
        pod_selector: None,
    };
    let http = PortMatch::Named {
        name: "http".into(),
        protocol: Some(Protocol::Tcp),
    };
    let rule = |peers, ports| NetworkPolicyRule { peers, ports };
    let policy = NetworkPolicy {
        name: name.clone(),
        pod_selector: selector(&[("app", app(index))]),
        policy_types: PolicyTypes {
            ingress: true,
            egress: true,
        },
        ingress: vec![
            rule(
                vec![of_app(index + NAMESPACES), of_app(index + 2 * NAMESPACES)],
                vec![http.clone()],
            ),
            rule(
                vec![of_team, block("192.168.0.0/16", &["192.168.7.0/24"])],
                vec![tcp(first, first + 99)],
            ),
        ],
        egress: vec![
            rule(vec![every_namespace], vec![http, dns]),
            rule(
                vec![block("0.0.0.0/0", &["10.0.0.0/8", "172.16.0.0/12"])],
                vec![tcp(443, 443)],
            ),
        ],
    };
    PolicyChange::NetworkPolicy(name, Some(policy))
}

fn cluster_policy(priority: u16) -> PolicyChange {
    let name: Arc<str> = "everyone".into();
    let all = ClusterPods {
        namespace_selector: LabelSelector::default(),
        pod_selector: LabelSelector::default(),
    };
    let from = ClusterPods {
        namespace_selector: selector(&[("team", "team-3".to_owned())]),
        ..all.clone()
    };
    let policy = ClusterNetworkPolicy {
        name: Arc::clone(&name),
        tier: Tier::Admin,
        priority,
        subject: all,
        ingress: vec![ClusterRule {
            name: None,
            action: RuleAction::Deny,
            peers: vec![ClusterPeer::Pods(from)],
            protocols: Vec::new(),
        }],
        egress: Vec::new(),
    };
    PolicyChange::ClusterNetworkPolicy(name, Some(policy))
}

fn namespace(index: u32, team: u32) -> PolicyChange {
    let name: Arc<str> = namespace_name(index).into();
    let labels = labels(&[("team", format!("team-{team}"))]);
    PolicyChange::Namespace(Arc::clone(&name), Some(Namespace { name, labels }))
}

fn node(index: u32) -> PolicyChange {
    let node = Node {
        name: NodeName::new(format!("node-{index}")),
        labels: BTreeMap::new(),
        addresses: vec![IpAddr::V4(Ipv4Addr::from_bits(0xc0a8_0000 + index))],
    };
    PolicyChange::Node(node.name.clone(), Some(node))
}

fn objects() -> Vec<PolicyChange> {
    let namespaces = (0..NAMESPACES).map(|index| namespace(index, index % 10));
    let nodes = (0..PODS / LOCAL).map(node);
    let pods = (0..PODS).map(|index| pod(index, if index % 7 == 0 { "client" } else { "server" }));
    let policies = (0..POLICIES).map(|index| policy(index, 9000));
    namespaces
        .chain(nodes)
        .chain(pods)
        .chain(policies)
        .collect()
}

/// Makes each change and compiles; prints the median, the longest and what the last one touched.
fn measure(what: &str, compiler: &mut Compiler, change: impl Fn(u32) -> PolicyChange) {
    let mut times: Vec<Duration> = Vec::new();
    let mut writes = 0;
    let mut touched = Default::default();
    for round in 0..CHANGES {
        let change = change(round);
        let begun = Instant::now();
        compiler.fold(change);
        let delta = compiler.compile();
        times.push(begun.elapsed());
        writes += delta.operations.len();
        touched = delta.touched;
    }
    times.sort_unstable();
    let median = times[times.len() / 2];
    let longest = times[times.len() - 1];
    let each = writes / CHANGES as usize;
    println!(
        "{what}: median {median:?}, longest {longest:?}; {each} writes each; the last touched {touched:?}"
    );
}

fn main() {
    let before = resident();
    let mut compiler = Compiler::new(PolicySettings {
        node: NodeName::new("node-7"),
        egress_to_own_node: true,
    });
    let objects = objects();
    let with_objects = resident();
    let begun = Instant::now();
    for object in &objects {
        compiler.fold(object.clone());
    }
    let folded = begun.elapsed();
    let delta = compiler.compile();
    let whole = begun.elapsed();
    println!(
        "{POLICIES} policies, {PODS} pods of which {LOCAL} are local: {whole:?}, of that folding {folded:?}"
    );
    println!(
        "touched {:?}, {} writes",
        delta.touched,
        delta.operations.len()
    );
    let PolicyTables {
        pods,
        peers,
        networks,
        verdicts,
    } = compiler.tables();
    let (pods, peers, networks, verdicts) =
        (pods.len(), peers.len(), networks.len(), verdicts.len());
    println!("entries: {pods} pods, {peers} peers, {networks} networks, {verdicts} verdicts");
    println!(
        "memory: {} KiB for the objects, {} KiB for the compiler and its first delta",
        with_objects - before,
        resident() - with_objects
    );
    drop(delta);
    // Pod 57 and workload 11 are local: 57 % 50 == 7, 57 / 5 == 11.
    let role = |round| if round % 2 == 0 { "client" } else { "server" };
    measure("a local pod's relabel", &mut compiler, |round| {
        pod(57, role(round))
    });
    measure("a remote pod's relabel", &mut compiler, |round| {
        pod(58, role(round))
    });
    measure("a policy of a local pod", &mut compiler, |round| {
        policy(11, 1000 + u16::try_from(round).expect("small"))
    });
    measure("a policy of no local pod", &mut compiler, |round| {
        policy(12, 1000 + u16::try_from(round).expect("small"))
    });
    measure("a namespace's relabel", &mut compiler, |round| {
        namespace(11, round % 10)
    });
    measure(
        "a ClusterNetworkPolicy of every pod",
        &mut compiler,
        |round| cluster_policy(u16::try_from(round).expect("small")),
    );
}
