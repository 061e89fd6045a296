//! What the agents say through the command line, as far as scenarios read it. Every field of the
//! command line's JSON that the lab depends on is here.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::process::Stdio;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::node::Node;

/// Where agents serve metrics unless set otherwise.
const METRICS: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 9465);

/// A frontend, as `landfall service list -o json` tells of it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Frontend {
    /// What clients address.
    pub address: IpAddr,
    /// The port.
    pub port: u16,
    /// `ClusterIP`, `LoadBalancer` or `ExternalIP`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The Service, `namespace/name`.
    pub service: String,
}

/// An announced address, as `landfall l2 list -o json` tells of it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Announcement {
    /// The address.
    pub address: IpAddr,
    /// The Services behind it, `namespace/name`.
    pub services: Vec<String>,
    /// The node that announces it.
    pub node: String,
    /// On which interface; known on the announcing node only.
    pub interface: Option<String>,
    /// `kernel` or `socket`; known on the announcing node only.
    pub responder: Option<String>,
}

/// What needs a person, as `landfall status -o json` tells of it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Complaint {
    /// A file, or the part of the agent that complains.
    pub origin: String,
    /// What it is about.
    pub object: String,
    /// The field, where one is meant.
    pub field: String,
    /// What is wrong.
    pub problem: String,
    /// What to do about it.
    pub remedy: String,
    /// `warning` or `error`.
    pub severity: String,
}

impl std::fmt::Display for Complaint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            origin,
            object,
            field,
            problem,
            remedy,
            ..
        } = self;
        write!(f, "{origin}: {object} {field}: {problem}; {remedy}")
    }
}

/// An interface of the data path, as `landfall status -o json` tells of it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// `xdp`, `xdp-generic`, `tcx` or `clsact`; none where nothing is attached.
    pub attached: Option<String>,
    /// Carrier.
    pub up: bool,
}

/// How full a map is, as `landfall status -o json` tells of it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct MapFill {
    /// The map.
    pub name: String,
    /// Entries in it.
    pub entries: u64,
    /// Entries it has room for.
    pub capacity: u64,
}

/// A condition of a Service, as `landfall service describe -o json` tells of it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Condition {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// A word.
    pub reason: String,
    /// A sentence.
    pub message: String,
}

/// Something that happened to a Service, as `landfall service describe -o json` tells of it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Event {
    /// `Normal` or `Warning`.
    #[serde(rename = "type")]
    pub kind: String,
    /// A word.
    pub reason: String,
    /// A sentence.
    pub message: String,
    /// How often it happened.
    pub count: u32,
}

/// A Service, as `landfall service describe -o json` tells of it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Service {
    /// What holds of it.
    pub conditions: Vec<Condition>,
    /// What the node saw happen to it.
    pub events: Vec<Event>,
}

impl Service {
    /// The condition `landfall.dev/KIND`.
    ///
    /// # Errors
    /// When there is none.
    pub fn condition(&self, kind: &str) -> Result<&Condition> {
        let wanted = format!("landfall.dev/{kind}");
        let mut found = self.conditions.iter().filter(|c| c.kind == wanted);
        found
            .next()
            .with_context(|| format!("no condition {wanted} in {self:?}"))
    }

    /// The last event for that reason.
    ///
    /// # Errors
    /// When there is none.
    pub fn event(&self, reason: &str) -> Result<&Event> {
        let mut found = self.events.iter().rev().filter(|e| e.reason == reason);
        found
            .next()
            .with_context(|| format!("no event {reason} in {self:?}"))
    }
}

/// A VIP that came to a node, as `landfall l2 history -o json` tells of it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct HandOver {
    /// When, RFC 3339.
    pub at: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Who had it before.
    pub from: Option<String>,
    /// Who has it now.
    pub to: Option<String>,
    /// Why.
    pub cause: String,
    /// For how long at most nobody answered, where that is known.
    pub silence_ms: Option<u64>,
}

/// A member of the cluster, as `landfall status -o json` tells of it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Member {
    /// The node.
    pub node: String,
    /// Its grants count.
    pub grants: bool,
    /// `self`, `heard`, `silent` or `refused`.
    pub state: String,
}

/// What the right to answer rests on, as `landfall status -o json` tells of it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Ground {
    /// `quorum`, `lease`, both or `none`.
    pub kind: String,
    /// For how long the node may still answer.
    pub holds_ms: Option<u64>,
    /// All members.
    pub members: Vec<Member>,
}

/// The data path, as `landfall status -o json` tells of it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Datapath {
    /// Its interfaces.
    pub interfaces: Vec<Interface>,
    /// Its maps.
    pub maps: Vec<MapFill>,
}

/// The agent at a glance, as `landfall status -o json` tells of it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Status {
    /// What the right to answer rests on.
    pub ground: Ground,
    /// The data path.
    pub datapath: Datapath,
    /// Everything that needs a person.
    pub complaints: Vec<Complaint>,
}

impl Node {
    /// The frontends that the node's agent knows.
    ///
    /// # Errors
    /// When the agent does not answer, or not as documented.
    pub fn frontends(&self) -> Result<Vec<Frontend>> {
        self.list("service list")
    }

    /// The announced addresses that the node's agent knows, its own and others'.
    ///
    /// # Errors
    /// When the agent does not answer, or not as documented.
    pub fn announcements(&self) -> Result<Vec<Announcement>> {
        self.list("l2 list")
    }

    /// What the node's agent says of a Service of the namespace `default`.
    ///
    /// # Errors
    /// When the agent does not answer, or has no such Service.
    pub fn service(&self, name: &str) -> Result<Service> {
        let value = self.landfall_json(&format!("service describe {name}"))?;
        serde_json::from_value(value).with_context(|| format!("{}: {name}", self.name()))
    }

    /// The VIPs that came to the node, the latest first.
    ///
    /// # Errors
    /// When the agent does not answer, or not as documented.
    pub fn history(&self) -> Result<Vec<HandOver>> {
        self.list("l2 history")
    }

    /// The load balancer addresses of the services of the namespace `default` with these names.
    ///
    /// # Errors
    /// When one of them has none yet, or the agent does not answer.
    pub fn vips<'a>(&self, services: &[&'a str]) -> Result<BTreeMap<&'a str, Vec<IpAddr>>> {
        let frontends = self.frontends()?;
        let mut vips = BTreeMap::new();
        for name in services {
            let service = format!("default/{name}");
            let mut ips: Vec<IpAddr> = frontends
                .iter()
                .filter(|f| f.service == service && f.kind == "LoadBalancer")
                .map(|f| f.address)
                .collect();
            ips.sort();
            ips.dedup();
            if ips.is_empty() {
                bail!("{name} has no address yet");
            }
            vips.insert(*name, ips);
        }
        Ok(vips)
    }

    /// The agent at a glance.
    ///
    /// # Errors
    /// When the agent does not answer, or not as documented.
    pub fn status(&self) -> Result<Status> {
        // Says by its exit code that something needs a person.
        const NEEDS_PERSON: i32 = 4;
        let output = self
            .host()
            .command(self.program()?)?
            .args(["status", "-o", "json", "--config"])
            .arg(&self.paths().settings)
            .stdin(Stdio::null())
            .output()?;
        ensure!(
            matches!(output.status.code(), Some(0 | NEEDS_PERSON)),
            "{}: landfall status: {}: {}",
            self.name(),
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout)
            .with_context(|| format!("{}: landfall status -o json", self.name()))
    }

    /// The first complaint of the agent that reads as `wanted` asks for, if there is one.
    ///
    /// # Errors
    /// When the agent does not answer.
    pub fn complaint(&self, wanted: impl Fn(&Complaint) -> bool) -> Result<Option<Complaint>> {
        Ok(self.status()?.complaints.into_iter().find(wanted))
    }

    /// Where the data path is attached on an interface; nothing where it is not.
    ///
    /// # Errors
    /// When the agent does not answer.
    pub fn attached(&self, interface: &str) -> Result<Option<String>> {
        let interfaces = self.status()?.datapath.interfaces.into_iter();
        let mut wanted = interfaces.filter(|entry| entry.name == interface);
        Ok(wanted.next().and_then(|entry| entry.attached))
    }

    /// The value of a metric, with its labels as they are written.
    ///
    /// # Errors
    /// When the agent does not serve metrics, or has none of that name.
    pub fn metric(&self, name: &str) -> Result<f64> {
        let page = self.host().run(metrics_page)?;
        let value = page
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
            .with_context(|| format!("{}: no metric {name} in\n{page}", self.name()))?;
        Ok(value.parse()?)
    }

    fn list<T: DeserializeOwned>(&self, words: &str) -> Result<Vec<T>> {
        let value = self.landfall_json(words)?;
        serde_json::from_value(value).with_context(|| format!("{}: {words} -o json", self.name()))
    }
}

/// The page of metrics of the agent in the calling thread's network namespace.
fn metrics_page() -> Result<String> {
    let mut stream = TcpStream::connect(METRICS).context("the metrics endpoint")?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut page = String::new();
    stream.read_to_string(&mut page)?;
    Ok(page)
}
