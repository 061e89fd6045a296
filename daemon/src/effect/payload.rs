//! What a node tells its peers of itself, in its own lease: its interfaces, which is what L2 DSR needs to reach it, and which
//! VIPs it could not prove, so that nobody hands them to it, and which ones other machines have, so that every node can say so.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use landfall_core::election::LeaseName;
use landfall_core::model::{Link, LinkAddress, LinkIndex, LinkKind, MacAddress};
use serde::{Deserialize, Serialize};

use super::announce::{Conflicts, Resigned};

/// Version of the format; newer ones only add fields.
const VERSION: u32 = 1;
/// Conflicts named at most: more than any person looks at.
const MOST_CONFLICTS: usize = 64;
/// Leases named at most. More are not left to others one by one, but with the interface.
const MOST_RESIGNED: usize = 256;

/// A node's word on itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payload {
    version: u32,
    /// The agent's version.
    agent: String,
    links: Vec<PublishedLink>,
    /// Leases that the node leaves to others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    resigned: Vec<String>,
    /// Addresses that it holds and other machines on the LAN have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    conflicts: Vec<(IpAddr, [u8; 6])>,
}

/// A node's word, read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Word {
    /// Its interfaces. One on which its answers are not heard is told as one without carrier.
    pub links: Vec<Link>,
    /// Leases that it leaves to others.
    pub resigned: BTreeSet<LeaseName>,
    /// Addresses that it holds and other machines on the LAN have.
    pub conflicts: Conflicts,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct PublishedLink {
    name: String,
    index: u32,
    mac: [u8; 6],
    mtu: u32,
    up: bool,
    addresses: Vec<(IpAddr, u8)>,
}

impl Payload {
    /// The word of a node with these interfaces, of which it has resigned some. Only those that may be uplinks are told.
    pub fn of(links: &[Link], resigned: &Resigned, conflicts: &Conflicts) -> Self {
        let links = links
            .iter()
            .filter(|link| link.kind == LinkKind::Uplink)
            .filter_map(|link| {
                Some(PublishedLink {
                    name: link.name.to_string(),
                    index: link.index.0,
                    mac: link.mac?.0,
                    mtu: link.mtu,
                    up: link.up && !resigned.interfaces.contains(&link.index),
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
            resigned: resigned
                .leases
                .iter()
                .take(MOST_RESIGNED)
                .map(|lease| lease.as_str().to_owned())
                .collect(),
            conflicts: conflicts
                .iter()
                .take(MOST_CONFLICTS)
                .map(|(address, mac)| (*address, mac.0))
                .collect(),
        }
    }

    /// The form it has in the lease.
    pub fn encode(&self) -> String {
        serde_json::to_string(self).expect("plain data has a JSON form")
    }

    /// What a peer's lease tells.
    ///
    /// # Errors
    /// The text is not a payload of any version.
    pub fn decode(text: &str) -> Result<Word, serde_json::Error> {
        let payload: Self = serde_json::from_str(text)?;
        let resigned = payload.resigned.iter();
        let resigned = resigned.filter_map(|name| LeaseName::parse(name));
        let resigned = resigned.collect();
        let links = payload
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
            .collect();
        let conflicts = payload.conflicts.into_iter();
        let conflicts = conflicts.map(|(address, mac)| (address, MacAddress(mac)));
        Ok(Word {
            links,
            resigned,
            conflicts: conflicts.collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uplink() -> Link {
        Link {
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
        }
    }

    #[test]
    fn uplinks_survive_the_round_trip_and_other_links_are_not_told() {
        let pod = Link {
            kind: LinkKind::Pod,
            name: "veth0".into(),
            ..uplink()
        };
        let text = Payload::of(&[uplink(), pod], &Resigned::default(), &Conflicts::new()).encode();
        let word = Payload::decode(&text).expect("its own form");
        assert_eq!(word.links, [uplink()]);
        assert_eq!(word.resigned, BTreeSet::new());
    }

    #[test]
    fn what_is_resigned_is_told_as_carrier_lost_and_by_lease() {
        let lease = LeaseName::parse("landfall-l2-default.svc1").expect("a lease's name");
        let resigned = Resigned {
            interfaces: BTreeSet::from([LinkIndex(2)]),
            leases: BTreeSet::from([lease.clone()]),
        };
        let text = Payload::of(&[uplink()], &resigned, &Conflicts::new()).encode();
        let word = Payload::decode(&text).expect("its own form");
        assert!(!word.links[0].up);
        assert_eq!(word.resigned, BTreeSet::from([lease]));
    }

    #[test]
    fn what_other_machines_have_is_told() {
        let address = "2001:db8::80".parse().expect("an address");
        let conflicts = Conflicts::from([(address, MacAddress([2, 0, 0, 0, 0, 9]))]);
        let text = Payload::of(&[uplink()], &Resigned::default(), &conflicts).encode();
        assert_eq!(
            Payload::decode(&text).expect("its own form").conflicts,
            conflicts
        );
    }

    #[test]
    fn fields_of_a_newer_version_are_let_be() {
        let text = r#"{"version":2,"agent":"9.9.9","links":[],"mood":"good"}"#;
        let word = Payload::decode(text).expect("still a payload");
        assert_eq!(word, Word::default());
    }
}
