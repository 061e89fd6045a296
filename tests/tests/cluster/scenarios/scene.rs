//! What a scenario of the table plays with: objects of its own, addresses of its own, and the
//! questions that it asks the API server and the LAN. What it wrote goes when it ends.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use landfall_tests::cluster::client::Client;
use landfall_tests::cluster::{Access, Resource};
use landfall_tests::lab::wait;
use landfall_tests::lab::{Lab, node::Node};
use landfall_tests::probe::neighbour::{self, NeighbourProber};
use landfall_tests::probe::web::{self, Answer};
use serde_json::{Value, json};

/// How long anything that is asked for may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often the API server is asked meanwhile.
const LOOK: Duration = Duration::from_millis(20);

/// How long something that must not happen is watched for.
const NEVER: Duration = Duration::from_millis(700);

/// The label that a scenario's Services have and its pools and policies select.
const SCENE: &str = "scene";

/// A scenario at play.
pub(super) struct Scene<'a> {
    pub(super) lab: &'a Lab,
    access: &'a Access,
    /// The third number of its addresses.
    number: u8,
    written: RefCell<Vec<Resource>>,
}

impl<'a> Scene<'a> {
    pub(super) fn new(lab: &'a Lab, access: &'a Access, number: u8) -> Self {
        Self {
            lab,
            access,
            number,
            written: RefCell::default(),
        }
    }

    pub(super) fn client(&self) -> &Client {
        self.access.client()
    }

    /// An IPv4 address of the scene's range, `10.30.SCENE.0/24`.
    pub(super) fn v4(&self, last: u8) -> IpAddr {
        IpAddr::from([10, 30, self.number, last])
    }

    /// An IPv6 address of the scene's range, `fd00:30:SCENE::/64`.
    pub(super) fn v6(&self, last: u8) -> IpAddr {
        let text = format!("fd00:30:{:x}::{last:x}", self.number);
        text.parse().expect("it is one")
    }

    /// A name of the scene's own.
    pub(super) fn name(&self, word: &str) -> String {
        format!("s{}-{word}", self.number)
    }

    fn label(&self) -> Value {
        json!({SCENE: format!("s{}", self.number)})
    }

    // What there is.

    /// Makes an object be as written until the scene ends.
    pub(super) fn apply(&self, object: &Value) -> Result<Value> {
        let resource = Resource::of(object)?;
        let applied = self.client().apply(object)?;
        let mut written = self.written.borrow_mut();
        if !written.contains(&resource) {
            written.push(resource);
        }
        Ok(applied)
    }

    pub(super) fn delete(&self, object: &Value) -> Result<()> {
        self.client().delete(&Resource::of(object)?)
    }

    /// A pool of these blocks for the scene's Services.
    pub(super) fn pool(&self, word: &str, blocks: &[(IpAddr, IpAddr)]) -> Value {
        let blocks: Vec<Value> = blocks
            .iter()
            .map(|(start, stop)| json!({"start": start, "stop": stop}))
            .collect();
        json!({
            "apiVersion": "landfall.dev/v1alpha1", "kind": "LoadBalancerIPPool",
            "metadata": {"name": self.name(word)},
            "spec": {"blocks": blocks, "serviceSelector": {"matchLabels": self.label()}},
        })
    }

    /// Applies a pool of the IPv4 addresses from `first` to `last`.
    pub(super) fn pool_v4(&self, first: u8, last: u8) -> Result<Value> {
        let pool = self.pool("four", &[(self.v4(first), self.v4(last))]);
        self.apply(&pool)?;
        Ok(pool)
    }

    /// Applies a pool of the IPv6 addresses from `first` to `last`.
    pub(super) fn pool_v6(&self, first: u8, last: u8) -> Result<Value> {
        let pool = self.pool("six", &[(self.v6(first), self.v6(last))]);
        self.apply(&pool)?;
        Ok(pool)
    }

    /// A policy that announces the Services with this label on `ens3`.
    pub(super) fn policy(&self, word: &str, label: (&str, &str)) -> Value {
        json!({
            "apiVersion": "landfall.dev/v1alpha1", "kind": "L2AnnouncementPolicy",
            "metadata": {"name": self.name(word)},
            "spec": {
                "serviceSelector": {"matchLabels": {label.0: label.1}},
                "interfaces": ["^ens3$"], "loadBalancerIPs": true,
            },
        })
    }

    /// A LoadBalancer Service in front of the web pods, which a policy announces.
    pub(super) fn service(&self, word: &str) -> Value {
        let mut labels = self.label();
        labels["color"] = json!("blue");
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": self.name(word), "namespace": "default", "labels": labels},
            "spec": {
                "type": "LoadBalancer", "allocateLoadBalancerNodePorts": false,
                "selector": {"app": "webpod"},
                "ports": [{"name": "web", "protocol": "TCP", "port": 80, "targetPort": 80}],
            },
        })
    }

    /// The same, with an annotation.
    pub(super) fn annotated(&self, word: &str, annotation: &str, value: &str) -> Value {
        let mut service = self.service(word);
        service["metadata"]["annotations"] = json!({annotation: value});
        service
    }

    /// A namespace of the scene's own.
    pub(super) fn namespace(&self, word: &str) -> Result<Value> {
        let namespace = json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.name(word)},
        });
        self.apply(&namespace)?;
        Ok(namespace)
    }

    // What the API server says.

    pub(super) fn get(&self, object: &Value) -> Result<Value> {
        self.client().get(&Resource::of(object)?)
    }

    /// The addresses in a Service's status.
    pub(super) fn ips(&self, service: &Value) -> Result<BTreeSet<IpAddr>> {
        let now = self.get(service)?;
        let ingress = now["status"]["loadBalancer"]["ingress"].as_array();
        let ips = ingress.into_iter().flatten().map(|one| {
            let ip = one["ip"].as_str().context("an ingress without ip")?;
            Ok(ip.parse()?)
        });
        ips.collect()
    }

    /// Waits until a Service has just these addresses.
    pub(super) fn gets(&self, service: &Value, wanted: &[IpAddr]) -> Result<()> {
        let wanted: BTreeSet<IpAddr> = wanted.iter().copied().collect();
        wait::until_ok(PATIENCE, "a Service's addresses", || {
            std::thread::sleep(LOOK);
            let has = self.ips(service)?;
            ensure!(has == wanted, "it has {has:?} and not {wanted:?}");
            Ok(())
        })
        .with_context(|| self.told_of(service))
    }

    /// Watches for a while that a Service has just these addresses.
    pub(super) fn keeps(&self, service: &Value, wanted: &[IpAddr]) -> Result<()> {
        let wanted: BTreeSet<IpAddr> = wanted.iter().copied().collect();
        let begun = Instant::now();
        while begun.elapsed() < NEVER {
            let has = self.ips(service)?;
            ensure!(has == wanted, "it has {has:?} and not {wanted:?}");
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Waits until the condition of a Service's request has this reason; gives its message.
    pub(super) fn reason(&self, service: &Value, wanted: &str) -> Result<String> {
        self.condition(service, "landfall.dev/IPAMRequestSatisfied", wanted)
    }

    /// Waits until a condition of an object has this reason; gives its message.
    pub(super) fn condition(&self, object: &Value, kind: &str, wanted: &str) -> Result<String> {
        self.eventually("a condition", || {
            let condition = self.condition_of(object, kind)?;
            ensure!(condition["reason"] == wanted, "{condition}, not {wanted}");
            Ok(condition["message"].as_str().unwrap_or_default().to_owned())
        })
        .with_context(|| self.told_of(object))
    }

    /// Waits until a condition of an object has this status.
    pub(super) fn condition_is(&self, object: &Value, kind: &str, wanted: &str) -> Result<()> {
        self.eventually("a condition", || {
            let condition = self.condition_of(object, kind)?;
            ensure!(condition["status"] == wanted, "{condition}, not {wanted}");
            Ok(())
        })
        .with_context(|| self.told_of(object))
    }

    /// A condition that an object has now.
    pub(super) fn condition_of(&self, object: &Value, kind: &str) -> Result<Value> {
        let now = self.get(object)?;
        let conditions = now["status"]["conditions"].as_array();
        let mut conditions = conditions.into_iter().flatten();
        let condition = conditions.find(|one| one["type"] == kind);
        let condition = condition.with_context(|| format!("no condition {kind}"))?;
        Ok(condition.clone())
    }

    /// Waits until something holds that asks the API server or the LAN.
    pub(super) fn eventually<T>(
        &self,
        what: &str,
        mut holds: impl FnMut() -> Result<T>,
    ) -> Result<T> {
        wait::until_ok(PATIENCE, what, || {
            std::thread::sleep(LOOK);
            holds()
        })
    }

    /// Waits until there is an Event for this reason about a Service.
    pub(super) fn event(&self, service: &Value, reason: &str) -> Result<()> {
        wait::until_ok(PATIENCE, "an event", || {
            std::thread::sleep(LOOK);
            let events = self.client().list("events.k8s.io/v1", "Event")?;
            let about = |event: &&Value| {
                event["regarding"]["name"] == service["metadata"]["name"]
                    && event["regarding"]["namespace"] == service["metadata"]["namespace"]
            };
            let events: Vec<&Value> = events.iter().filter(about).collect();
            let reasons: Vec<&Value> = events.iter().map(|event| &event["reason"]).collect();
            ensure!(
                reasons.iter().any(|one| **one == *reason),
                "only {reasons:?}, not {reason}"
            );
            Ok(())
        })
    }

    fn told_of(&self, object: &Value) -> String {
        match self.get(object) {
            Ok(now) => format!("status: {}", now["status"]),
            Err(error) => format!("{error:#}"),
        }
    }

    // What the LAN says.

    /// Waits until the client is answered by a pod.
    pub(super) fn answers(&self, ip: IpAddr) -> Result<Answer> {
        self.answers_at(ip, 80)
    }

    /// The same, on another port.
    pub(super) fn answers_at(&self, ip: IpAddr, port: u16) -> Result<Answer> {
        let target = (ip, port).into();
        self.lab
            .client()
            .run(|| {
                wait::until_ok(PATIENCE, "an address to answer", || {
                    let answer = web::get(target, Duration::from_secs(2))?;
                    ensure!(answer.status == 200, "status {}", answer.status);
                    Ok(answer)
                })
            })
            .with_context(|| format!("{target}"))
    }

    /// Waits until a connection from the client fails, and says how.
    pub(super) fn fails(&self, ip: IpAddr, port: u16) -> Result<String> {
        let target = (ip, port).into();
        self.lab.client().run(|| {
            wait::until_ok(PATIENCE, "a connection to fail", || {
                match web::get(target, Duration::from_millis(500)) {
                    Ok(answer) => anyhow::bail!("{} answers at {target}", answer.pod),
                    Err(error) => Ok(format!("{error:#}")),
                }
            })
        })
    }

    /// Waits until nobody answers for an address, as a new host asks.
    pub(super) fn silent(&self, ip: IpAddr) -> Result<()> {
        wait::until_ok(PATIENCE, "an address to fall silent", || {
            let asker =
                NeighbourProber::start(self.lab.watcher(), &[ip], Duration::from_millis(20))?;
            std::thread::sleep(Duration::from_millis(200));
            let macs = asker.stop().macs(ip);
            ensure!(macs.is_empty(), "{ip} is answered by {macs:?}");
            Ok(())
        })
    }

    /// Waits until one node answers for an address.
    pub(super) fn holder(&self, ip: IpAddr) -> Result<&'a Node> {
        let mac = neighbour::who_has(self.lab.watcher(), ip, PATIENCE)?;
        let node = self.lab.node_of(mac);
        node.with_context(|| format!("{ip} is answered by a stranger, {mac}"))
    }

    /// Waits until this node answers for an address.
    pub(super) fn held_by(&self, ip: IpAddr, wanted: &Node) -> Result<()> {
        wait::until_ok(PATIENCE * 3, "an address to be a node's", || {
            let node = self.holder(ip)?.name();
            ensure!(
                node == wanted.name(),
                "{node} has it, not {}",
                wanted.name()
            );
            Ok(())
        })
    }
}

impl Drop for Scene<'_> {
    fn drop(&mut self) {
        // Services first: a pool taken away under them would be one more change for nothing.
        for resource in self.written.borrow().iter().rev() {
            if let Err(error) = self.client().delete(resource) {
                println!("left behind: {error:#}");
            }
        }
    }
}
