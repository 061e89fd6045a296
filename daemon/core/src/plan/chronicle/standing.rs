//! Where an address stands, as this node sees it, and what is news about that.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::News;
use crate::election::{Cause, LeaseName};
use crate::model::{
    AnnounceReport, AnnouncedVip, Holdings, LinkIndex, MacAddress, NodeName, VipState,
};
use crate::plan::announcement::{Hindrance, Vip};
use crate::report::{ConditionStatus, EventKind};

/// What the announce effect reports, to be looked up by address.
#[derive(Debug, Default)]
pub(super) struct Places {
    report: Arc<AnnounceReport>,
    index: BTreeMap<(IpAddr, LinkIndex), usize>,
}

impl Places {
    /// An index of `report`.
    pub(super) fn of(report: &Arc<AnnounceReport>) -> Self {
        let vips = report.vips.iter().enumerate();
        let index = vips.map(|(position, vip)| ((vip.ip, vip.index), position));
        Self {
            index: index.collect(),
            report: Arc::clone(report),
        }
    }

    /// Where an address is on each interface.
    fn at(&self, address: IpAddr) -> impl Iterator<Item = &AnnouncedVip> {
        let all = (address, LinkIndex(0))..=(address, LinkIndex(u32::MAX));
        let positions = self.index.range(all).map(|(_, position)| *position);
        positions.filter_map(|position| self.report.vips.get(position))
    }

    /// Interfaces of `links` on which peers do not hear this node answer for an address.
    fn unheard(&self, address: IpAddr, links: &[LinkIndex]) -> BTreeSet<String> {
        let unproved = self.report.unproved.iter();
        let concerns = unproved.filter(|unproved| {
            links.contains(&unproved.index) && unproved.ip.is_none_or(|ip| ip == address)
        });
        concerns.map(|one| one.interface.clone()).collect()
    }

    /// Whether `report` is what this was made of.
    pub(super) fn is_of(&self, report: &Arc<AnnounceReport>) -> bool {
        Arc::ptr_eq(&self.report, report)
    }

    /// Leases with an address that stands otherwise in `after`.
    pub(super) fn changed(&self, after: &Self) -> BTreeSet<LeaseName> {
        let mut leases = BTreeSet::new();
        for (one, other) in [(self, after), (after, self)] {
            for ((address, link), position) in &one.index {
                let vip = &one.report.vips[*position];
                let known = other.index.get(&(*address, *link));
                if known.map(|known| &other.report.vips[*known]) != Some(vip) {
                    leases.insert(vip.lease.clone());
                }
            }
        }
        leases
    }

    /// Whether something else is unheard in `after`.
    pub(super) fn unheard_changed(&self, after: &Self) -> bool {
        self.report.unproved != after.report.unproved
    }
}

/// An address as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) standing: Standing,
    /// Why its lease is this node's, where it is.
    held: Option<Cause>,
    /// Interfaces on which peers do not hear this node answer for it.
    unheard: BTreeSet<String>,
}

/// Where an address stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// This node answers for it on these interfaces.
    Announcing(BTreeSet<String>),
    /// A node that lives holds its lease.
    Elsewhere(NodeName),
    /// That node says that another machine on the LAN has it.
    ConflictElsewhere(NodeName, MacAddress),
    /// This node asks whether another machine has it, before it answers.
    Probing,
    /// This node holds its lease, and does not answer yet, or no longer.
    Beginning,
    /// Nodes can announce it, and none holds its lease.
    Unheld,
    /// No node can announce it; here for this reason.
    Unable(Hindrance),
    /// This node holds it, and peers do not hear its answers.
    Unheard,
    /// Another machine on the LAN has it.
    Conflict(MacAddress, String),
}

impl Standing {
    /// The greater, the more it needs a person.
    pub(super) fn rank(&self) -> u8 {
        match self {
            Self::Announcing(_) => 0,
            Self::Elsewhere(_) => 1,
            Self::Probing => 2,
            Self::Beginning => 3,
            Self::Unheld => 4,
            Self::Unable(_) => 5,
            Self::Unheard => 6,
            Self::Conflict(..) | Self::ConflictElsewhere(..) => 7,
        }
    }

    pub(super) fn status(&self) -> ConditionStatus {
        match self {
            Self::Announcing(_) | Self::Elsewhere(_) => ConditionStatus::True,
            _ => ConditionStatus::False,
        }
    }

    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Announcing(_) => "announcing",
            Self::Elsewhere(_) => "elsewhere",
            Self::Probing => "probing",
            Self::Beginning => "pending",
            Self::Unheld => "no_holder",
            Self::Unable(hindrance) => match hindrance {
                Hindrance::NodeAddress => "node_address",
                Hindrance::NoPolicy | Hindrance::KindNotAnnounced => "no_policy",
                Hindrance::NodeNotSelected | Hindrance::NodeExcluded => "no_eligible_node",
                Hindrance::NoInterface | Hindrance::InterfaceDown => "no_eligible_interface",
                Hindrance::NoLocalEndpoint => "no_ready_endpoint",
            },
            Self::Unheard => "self_proof_failed",
            Self::Conflict(..) | Self::ConflictElsewhere(..) => "address_conflict",
        }
    }
}

/// Where an address stands in the words of every node.
pub(super) struct Told {
    /// The greater, the more it needs a person.
    pub(super) rank: u8,
    pub(super) status: ConditionStatus,
    pub(super) reason: &'static str,
    pub(super) sentence: String,
}

impl Standing {
    /// What is told on the object: nothing that only this node can know, nor which node it is.
    pub(super) fn by_any(&self, address: IpAddr) -> Told {
        let (rank, reason, sentence) = match self {
            Self::Announcing(_) | Self::Elsewhere(_) => {
                (0, "announced", format!("a node answers for {address}"))
            }
            Self::Probing | Self::Beginning | Self::Unheld | Self::Unheard => {
                (1, "pending", format!("no node answers for {address} yet"))
            }
            Self::Unable(Hindrance::NodeAddress) => (
                2,
                "node_address",
                format!("{address} is a node's own address; ask for another one"),
            ),
            Self::Unable(Hindrance::NoPolicy | Hindrance::KindNotAnnounced) => (
                2,
                "no_policy",
                format!("no L2AnnouncementPolicy has {address} of this Service announced"),
            ),
            Self::Unable(_) => (
                2,
                "no_eligible_node",
                format!(
                    "no node can announce {address}: it takes one that a policy selects, with an interface for the address that is \
                     up, and under externalTrafficPolicy: Local with a ready endpoint"
                ),
            ),
            Self::Conflict(mac, _) | Self::ConflictElsewhere(_, mac) => (
                3,
                "address_conflict",
                format!("{mac} has {address}; it is not announced while that lasts"),
            ),
        };
        Told {
            rank,
            status: self.status(),
            reason,
            sentence,
        }
    }
}

impl Found {
    /// Where `address` of a VIP stands; `here` is what the plan says of it on this node, `told` what a peer says of the
    /// machine that has it.
    pub(super) fn of(
        address: IpAddr,
        (lease, vip, here): (&LeaseName, &Vip, &Result<Vec<LinkIndex>, Hindrance>),
        (me, holdings, places): (&NodeName, &Holdings, &Places),
        told: Option<&(NodeName, MacAddress)>,
    ) -> Self {
        let held = holdings.held.get(lease).copied();
        let unheard = places.unheard(address, here.as_deref().unwrap_or_default());
        let holder = holdings.holders.get(lease);
        let standing = match (holder.filter(|node| holdings.live.contains(*node)), here) {
            _ if held.is_some() => here_at(places.at(address), &unheard),
            (Some(node), _) if node == me => Standing::Beginning,
            (Some(node), _) => match told.filter(|(teller, _)| teller == node) {
                Some((_, mac)) => Standing::ConflictElsewhere(node.clone(), *mac),
                None => Standing::Elsewhere(node.clone()),
            },
            (None, Err(hindrance)) if vip.candidates.is_empty() => Standing::Unable(*hindrance),
            (None, _) => Standing::Unheld,
        };
        Self {
            standing,
            held,
            unheard,
        }
    }

    /// What a person is told.
    pub(super) fn sentence(&self, address: IpAddr, me: &NodeName) -> String {
        let on = |interfaces: &BTreeSet<String>| {
            let all: Vec<&str> = interfaces.iter().map(String::as_str).collect();
            all.join(" and ")
        };
        let unheard = on(&self.unheard);
        match &self.standing {
            Standing::Announcing(interfaces) => {
                format!("{me} answers for {address} on {}", on(interfaces))
            }
            Standing::Elsewhere(node) if self.unheard.is_empty() => {
                format!("{node} holds the lease of {address}")
            }
            Standing::Elsewhere(node) => format!(
                "{node} holds the lease of {address}; other nodes do not hear {me} answer on {unheard}"
            ),
            Standing::ConflictElsewhere(node, mac) => {
                format!("{mac} has {address}, says {node}; it is not announced while that lasts")
            }
            Standing::Probing => format!("{me} asks whether another machine has {address}"),
            Standing::Beginning => {
                format!("{me} holds the lease of {address} and does not answer yet")
            }
            Standing::Unheld => format!("no node holds the lease of {address}"),
            Standing::Unable(hindrance) => {
                format!("no node can announce {address}; on {me}, {hindrance}")
            }
            Standing::Unheard => {
                format!("other nodes do not hear {me} answer for {address} on {unheard}")
            }
            Standing::Conflict(mac, interface) => {
                format!("{mac} has {address} on {interface}; it is not announced while that lasts")
            }
        }
    }

    /// What has happened since it was found as `before`.
    pub(super) fn news(&self, before: Option<&Self>, address: IpAddr, me: &NodeName) -> Vec<News> {
        let mut news = Vec::new();
        let same = before.is_some_and(|before| before.standing == self.standing);
        match (&self.standing, self.held) {
            _ if same => {}
            // An agent that was restarted goes on with what its node never stopped.
            (Standing::Announcing(_), Some(Cause::Continued))
                if !before.is_some_and(Self::is_here) => {}
            (Standing::Announcing(_), Some(cause)) => {
                let message = format!("{} ({cause})", self.sentence(address, me));
                news.push((EventKind::Normal, "Announcing", message));
            }
            (Standing::Conflict(..), _) => {
                let message = self.sentence(address, me);
                news.push((EventKind::Warning, "AddressConflict", message));
            }
            _ => {}
        }
        let was_held = before.is_some_and(|before| before.held.is_some());
        let known =
            |interface: &&String| !before.is_some_and(|before| before.unheard.contains(*interface));
        if was_held || self.held.is_some() {
            for interface in self.unheard.iter().filter(known) {
                let message = format!(
                    "other nodes do not hear {me} answer for {address} on {interface}; it is left to them"
                );
                news.push((EventKind::Warning, "SelfProofFailed", message));
            }
        }
        news
    }

    /// Whether this node had found out where it stands with the address.
    fn is_here(&self) -> bool {
        use Standing::{Announcing, Conflict, Probing, Unheard};
        matches!(
            self.standing,
            Announcing(_) | Conflict(..) | Probing | Unheard
        )
    }
}

/// Where an address stands that this node holds, by its places on interfaces.
fn here_at<'a>(
    places: impl Iterator<Item = &'a AnnouncedVip>,
    unheard: &BTreeSet<String>,
) -> Standing {
    let (mut announcing, mut probing) = (BTreeSet::new(), false);
    for place in places {
        match place.state {
            VipState::Conflict(mac) => return Standing::Conflict(mac, place.interface.clone()),
            VipState::Announcing => _ = announcing.insert(place.interface.clone()),
            VipState::Probing => probing = true,
        }
    }
    if announcing.is_empty() {
        let probes = probing.then_some(Standing::Probing);
        probes.unwrap_or(Standing::Beginning)
    } else if announcing.is_subset(unheard) {
        Standing::Unheard
    } else {
        Standing::Announcing(announcing)
    }
}
