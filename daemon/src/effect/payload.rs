//! What a node tells its peers of itself, in its own lease: its interfaces, which is what L2 DSR needs to reach it.

use std::sync::Arc;

use landfall_core::model::{Link, LinkAddress, LinkIndex, LinkKind, MacAddress};
use serde::{Deserialize, Serialize};

/// Version of the format; newer ones only add fields.
const VERSION: u32 = 1;

/// A node's word on itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payload {
    version: u32,
    /// The agent's version.
    agent: String,
    links: Vec<PublishedLink>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct PublishedLink {
    name: String,
    index: u32,
    mac: [u8; 6],
    mtu: u32,
    up: bool,
    addresses: Vec<(std::net::IpAddr, u8)>,
}

impl Payload {
    /// The word of a node with these interfaces. Only those that may be uplinks are told.
    pub fn of(links: &[Link]) -> Self {
        let links = links
            .iter()
            .filter(|link| link.kind == LinkKind::Uplink)
            .filter_map(|link| {
                Some(PublishedLink {
                    name: link.name.to_string(),
                    index: link.index.0,
                    mac: link.mac?.0,
                    mtu: link.mtu,
                    up: link.up,
                    addresses: link
                        .addresses
                        .iter()
                        .map(|held| (held.address, held.prefix_len))
                        .collect(),
                })
            });
        Self {
            version: VERSION,
            agent: env!("CARGO_PKG_VERSION").to_owned(),
            links: links.collect(),
        }
    }

    /// The form it has in the lease.
    pub fn encode(&self) -> String {
        serde_json::to_string(self).expect("plain data has a JSON form")
    }

    /// The interfaces that a peer's lease tells of.
    ///
    /// # Errors
    /// The text is not a payload of any version.
    pub fn decode(text: &str) -> Result<Vec<Link>, serde_json::Error> {
        let payload: Self = serde_json::from_str(text)?;
        Ok(payload
            .links
            .into_iter()
            .map(|link| Link {
                index: LinkIndex(link.index),
                name: Arc::from(link.name),
                mac: Some(MacAddress(link.mac)),
                up: link.up,
                kind: LinkKind::Uplink,
                mtu: link.mtu,
                addresses: link
                    .addresses
                    .into_iter()
                    .map(|(address, prefix_len)| LinkAddress {
                        address,
                        prefix_len,
                    })
                    .collect(),
            })
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uplinks_survive_the_round_trip_and_other_links_are_not_told() {
        let uplink = Link {
            index: LinkIndex(2),
            name: "ens3".into(),
            mac: Some(MacAddress([2, 0, 0, 0, 0, 1])),
            up: true,
            kind: LinkKind::Uplink,
            mtu: 1500,
            addresses: vec![LinkAddress {
                address: "10.10.200.11".parse().expect("an address"),
                prefix_len: 24,
            }],
        };
        let pod = Link {
            kind: LinkKind::Pod,
            name: "veth0".into(),
            ..uplink.clone()
        };
        let text = Payload::of(&[uplink.clone(), pod]).encode();
        assert_eq!(Payload::decode(&text).expect("its own form"), [uplink]);
    }

    #[test]
    fn fields_of_a_newer_version_are_let_be() {
        let text = r#"{"version":2,"agent":"9.9.9","links":[],"mood":"good"}"#;
        assert_eq!(Payload::decode(text).expect("still a payload"), []);
    }
}
