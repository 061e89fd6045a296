//! What the agents say through the command line, as far as scenarios read it. Every field of the
//! command line's JSON that the lab depends on is here.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::node::Node;

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
    /// The node that announces it.
    pub node: String,
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

    fn list<T: DeserializeOwned>(&self, words: &str) -> Result<Vec<T>> {
        let value = self.landfall_json(words)?;
        serde_json::from_value(value).with_context(|| format!("{}: {words} -o json", self.name()))
    }
}
