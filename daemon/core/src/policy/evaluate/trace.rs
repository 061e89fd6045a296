//! A packet's whole way: out of its source by the source's policies, into its destination by the destination's.

use std::net::IpAddr;

use crate::model::{Direction, IpFamily, NodeName, PodName};
use crate::policy::decision::{Transport, Verdict};

use super::{Evaluation, Objects, evaluate};

/// An end of a packet's way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A pod, by its address in the other end's family.
    Pod(PodName),
    /// A node, likewise.
    Node(NodeName),
    /// An address, whoever has it.
    Address(IpAddr),
}

/// What policies say at both ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// The source's address.
    pub source: IpAddr,
    /// The destination's address.
    pub destination: IpAddr,
    /// At the source; nothing where it is no pod that policies apply to.
    pub egress: Option<Evaluation>,
    /// At the destination, likewise.
    pub ingress: Option<Evaluation>,
}

impl Trace {
    /// Whether the packet arrives, as far as policies go.
    pub fn verdict(&self) -> Verdict {
        let denies = |end: &Option<Evaluation>| {
            end.as_ref()
                .is_some_and(|end| end.decision.verdict == Verdict::Deny)
        };
        if denies(&self.egress) || denies(&self.ingress) {
            Verdict::Deny
        } else {
            Verdict::Accept
        }
    }
}

impl Objects<'_> {
    fn addresses(&self, place: &Place) -> Vec<IpAddr> {
        match place {
            Place::Pod(name) => self
                .pods
                .get(name)
                .map_or(Vec::new(), |pod| pod.ips.clone()),
            Place::Node(name) => {
                let listed = self.nodes.get(name).map(|node| node.addresses.clone());
                listed.unwrap_or_default()
            }
            Place::Address(address) => vec![*address],
        }
    }

    /// The pod that policies are asked about at this end.
    fn subject(&self, place: &Place, address: IpAddr) -> Option<PodName> {
        match (place, self.owner(address)) {
            (Place::Pod(name), _) => Some(name.clone()),
            (_, super::Owner::Pod(pod)) => Some(pod.name.clone()),
            _ => None,
        }
    }
}

/// Asks at both ends, for the first pair of addresses of one family; IPv4 goes first. Nothing where there is no such pair.
pub fn trace(
    objects: &Objects<'_>,
    source: &Place,
    destination: &Place,
    transport: Transport,
) -> Option<Trace> {
    let (from, to) = (objects.addresses(source), objects.addresses(destination));
    let of = |addresses: &[IpAddr], family| {
        let mut addresses = addresses.iter();
        addresses
            .find(|address| IpFamily::of(**address) == family)
            .copied()
    };
    let (from, to) = [IpFamily::V4, IpFamily::V6]
        .into_iter()
        .find_map(|family| Some((of(&from, family)?, of(&to, family)?)))?;
    let ask = |place, own, direction, peer| {
        let pod = objects.subject(place, own)?;
        evaluate(objects, &pod, direction, peer, transport)
    };
    Some(Trace {
        source: from,
        destination: to,
        egress: ask(source, from, Direction::Egress, to),
        ingress: ask(destination, to, Direction::Ingress, from),
    })
}
