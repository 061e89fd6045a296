//! The nodes, their interfaces, and what policies make of them.
//!
//! Built anew whenever a policy, a Node, an interface or the set of peers changes, so that a VIP costs a
//! look at each policy's interfaces and no regular expression.

use std::collections::BTreeSet;
use std::net::IpAddr;

use landfall_ipam::Labelled;

use super::Hindrance;
use crate::model::{
    DesiredState, L2AnnouncementPolicy, Link, LinkIndex, LinkKind, NodeName, Observed,
};

/// This node and its peers as policies see them.
#[derive(Debug, Default)]
pub struct Ground {
    policies: Vec<L2AnnouncementPolicy>,
    /// This node first.
    nodes: Vec<NodeView>,
    own: BTreeSet<IpAddr>,
}

#[derive(Debug)]
struct NodeView {
    name: NodeName,
    excluded: bool,
    links: Vec<Link>,
    /// By position in `policies`: nothing where the policy does not select the node.
    selected: Vec<Option<Interfaces>>,
}

/// The interfaces a policy asks for on one node.
#[derive(Debug)]
enum Interfaces {
    /// These, by position in the node's links.
    Named(Vec<usize>),
    /// Those on the address's subnet.
    OnSubnet,
}

/// What one Service that has an address allows.
#[derive(Debug)]
pub(super) struct Claim<'a> {
    /// Policies that select the Service, by position, and whether they are for this kind of address.
    policies: Vec<(usize, bool)>,
    /// With traffic policy `Local`, the nodes that can serve it.
    local: Option<&'a BTreeSet<NodeName>>,
}

impl Ground {
    /// The ground as `me` sees it; `own` are addresses that belong to nodes.
    pub fn new(
        me: &NodeName,
        state: &DesiredState,
        observed: &Observed,
        own: &BTreeSet<IpAddr>,
    ) -> Self {
        let policies: Vec<L2AnnouncementPolicy> = state.policies.values().cloned().collect();
        let peers = observed.peers.iter().filter(|(name, _)| *name != me);
        let nodes = std::iter::once((me, &state.links)).chain(peers);
        let nodes = nodes.map(|(name, links)| NodeView::new(name, links, state, &policies));
        Self {
            nodes: nodes.collect(),
            policies,
            own: own.clone(),
        }
    }

    /// What a Service allows for an address that is `assigned` to it, or external.
    pub(super) fn claim<'a>(
        &self,
        labels: &impl Labelled,
        assigned: bool,
        local: Option<&'a BTreeSet<NodeName>>,
    ) -> Claim<'a> {
        let selecting = self.policies.iter().enumerate().filter(|(_, policy)| {
            policy
                .service_selector
                .as_ref()
                .is_none_or(|selector| selector.matches(labels))
        });
        let policies = selecting.map(|(index, policy)| {
            (
                index,
                if assigned {
                    policy.load_balancer_ips
                } else {
                    policy.external_ips
                },
            )
        });
        Claim {
            policies: policies.collect(),
            local,
        }
    }

    /// The interfaces on which this node would announce `address`, ascending.
    pub(super) fn interfaces(
        &self,
        address: IpAddr,
        claims: &[Claim<'_>],
    ) -> Result<Vec<LinkIndex>, Hindrance> {
        let Some(me) = self.nodes.first() else {
            return Err(Hindrance::NoInterface);
        };
        if self.own.contains(&address) {
            return Err(Hindrance::NodeAddress);
        }
        let mut links = BTreeSet::new();
        let mut hindrance = Hindrance::NoPolicy;
        for claim in claims {
            match me.interfaces(address, claim) {
                Ok(found) => links.extend(found),
                Err(found) => hindrance = hindrance.max(found),
            }
        }
        if links.is_empty() {
            Err(hindrance)
        } else {
            Ok(links.into_iter().collect())
        }
    }

    /// The nodes that can announce `address`.
    pub(super) fn announcers<'a>(
        &'a self,
        address: IpAddr,
        claims: &'a [Claim<'_>],
    ) -> impl Iterator<Item = &'a NodeName> {
        let nodes = self
            .nodes
            .iter()
            .filter(move |_| !self.own.contains(&address));
        let able = nodes.filter(move |node| {
            claims
                .iter()
                .any(|claim| node.interfaces(address, claim).is_ok())
        });
        able.map(|node| &node.name)
    }
}

impl NodeView {
    fn new(
        name: &NodeName,
        links: &[Link],
        state: &DesiredState,
        policies: &[L2AnnouncementPolicy],
    ) -> Self {
        let node = state.nodes.get(name);
        let no_labels = std::collections::BTreeMap::new();
        let labels = node.map_or(&no_labels, |node| &node.labels);
        let selected = policies.iter().map(|policy| {
            let selects = policy
                .node_selector
                .as_ref()
                .is_none_or(|selector| selector.matches(labels));
            selects.then(|| Interfaces::of(policy, links))
        });
        Self {
            name: name.clone(),
            excluded: node.is_some_and(|node| node.excluded_from_load_balancers()),
            links: links.to_vec(),
            selected: selected.collect(),
        }
    }

    /// The interfaces for `address`, or the last thing that is in the way.
    fn interfaces(&self, address: IpAddr, claim: &Claim<'_>) -> Result<Vec<LinkIndex>, Hindrance> {
        if claim.policies.is_empty() {
            return Err(Hindrance::NoPolicy);
        }
        let mut of_kind = claim.policies.iter().filter(|(_, fits)| *fits).peekable();
        if of_kind.peek().is_none() {
            return Err(Hindrance::KindNotAnnounced);
        }
        let mut selected = of_kind
            .filter_map(|(index, _)| self.selected.get(*index)?.as_ref())
            .peekable();
        if selected.peek().is_none() {
            return Err(Hindrance::NodeNotSelected);
        }
        if self.excluded {
            return Err(Hindrance::NodeExcluded);
        }
        let mut links: Vec<&Link> = Vec::new();
        for interfaces in selected {
            match interfaces {
                Interfaces::Named(named) => {
                    links.extend(named.iter().filter_map(|index| self.links.get(*index)));
                }
                Interfaces::OnSubnet => {
                    links.extend(self.links.iter().filter(|link| is_on_subnet(link, address)));
                }
            }
        }
        if links.is_empty() {
            return Err(Hindrance::NoInterface);
        }
        // Who asks for the address is on its subnet. A node that is cut off from there is of no use to them, whatever other
        // interfaces the policy names.
        let mut at_home = links
            .iter()
            .filter(|link| is_on_subnet(link, address))
            .peekable();
        let cut_off = at_home.peek().is_some() && at_home.all(|link| !link.up);
        links.retain(|link| link.up);
        if links.is_empty() || cut_off {
            return Err(Hindrance::InterfaceDown);
        }
        if claim.local.is_some_and(|local| !local.contains(&self.name)) {
            return Err(Hindrance::NoLocalEndpoint);
        }
        Ok(links.into_iter().map(|link| link.index).collect())
    }
}

impl Interfaces {
    fn of(policy: &L2AnnouncementPolicy, links: &[Link]) -> Self {
        if policy.interfaces.is_empty() {
            return Self::OnSubnet;
        }
        let can = |link: &Link| match link.kind {
            LinkKind::Uplink | LinkKind::Other => link.mac.is_some(),
            LinkKind::Port | LinkKind::Pod => false,
        };
        let asked = |link: &Link| {
            policy
                .interfaces
                .iter()
                .any(|regex| regex.is_match(&link.name))
        };
        let named = links
            .iter()
            .enumerate()
            .filter(|(_, link)| can(link) && asked(link));
        Self::Named(named.map(|(index, _)| index).collect())
    }
}

fn is_on_subnet(link: &Link, address: IpAddr) -> bool {
    link.kind == LinkKind::Uplink
        && link.mac.is_some()
        && link.addresses.iter().any(|own| own.holds(address))
}
