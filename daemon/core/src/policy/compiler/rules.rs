//! A set's rules in the order in which they are asked, with peers as selections and ports as spans.

use std::collections::BTreeSet;
use std::sync::Arc;

use landfall_ipam::LabelSelector;

use crate::model::{
    ClusterPeer, ClusterPods, ClusterRule, Direction, IpBlock, NetworkPolicy, NetworkPolicyPeer,
    NetworkPolicyRule, PortMatch, Protocol, RuleAction, Tier,
};
use crate::policy::decision::RuleRef;
use crate::policy::table::{TierWord, Words};

use super::applied::Applied;
use super::identity::{NamedPort, resolve};
use super::ports::Span;
use super::selections::{Scope, Selection};

/// Whom a rule names by labels: everyone of a kind, or a selection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Whom<S> {
    AnyPod,
    AnyNode,
    Selected(S),
}

/// The ports a rule speaks of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ports {
    /// It names none: all traffic.
    pub(super) all: bool,
    /// By number.
    pub(super) spans: Vec<Span>,
    /// By name, to be resolved at the destination; only in rules for egress.
    pub(super) named: Vec<(Arc<str>, Option<Protocol>)>,
}

/// A rule of a set. `S` is a [`Selection`], or its number once it has one.
#[derive(Clone, Debug)]
pub(super) struct SetRule<S> {
    pub(super) reference: RuleRef,
    /// Its word in its tier.
    pub(super) words: Words,
    /// It names no peers.
    pub(super) everyone: bool,
    pub(super) whom: Vec<Whom<S>>,
    /// Who has a port of a name the rule names: identities where the rule selects namespaces, named ports where it has all pods.
    pub(super) owners: Vec<S>,
    pub(super) blocks: Vec<IpBlock>,
    pub(super) ports: Ports,
}

/// The rules of these policies. `applied` is in the order in which policies are asked; `own_ports` are the pod's, at which named
/// ports for ingress are resolved.
pub(super) fn rules(
    applied: &[Applied],
    direction: Direction,
    own_ports: &[NamedPort],
) -> Vec<SetRule<Selection>> {
    let mut rules = Vec::new();
    for policy in applied {
        let reference = |rule, name| RuleRef {
            policy: policy.reference(),
            rule,
            name,
        };
        let ports = |ports: &[PortMatch]| Ports::of(ports, direction, own_ports);
        match policy {
            Applied::Cluster(policy) => {
                for (index, rule) in policy.rules(direction).iter().enumerate() {
                    let reference = reference(index, rule.name.clone());
                    rules.push(SetRule::of_cluster(
                        policy.tier,
                        rule,
                        reference,
                        ports(&rule.protocols),
                    ));
                }
            }
            Applied::Namespaced(policy) => {
                let of_direction = policy.rules(direction).unwrap_or_default();
                for (index, rule) in of_direction.iter().enumerate() {
                    let ports = ports(&rule.ports);
                    rules.push(SetRule::of_namespaced(
                        policy,
                        rule,
                        reference(index, None),
                        ports,
                    ));
                }
            }
        }
    }
    for (rank, rule) in (0..).zip(&mut rules) {
        rule.words = rule.words.ranked(rank);
    }
    rules
}

impl Ports {
    fn of(ports: &[PortMatch], direction: Direction, own: &[NamedPort]) -> Self {
        let mut all = Self {
            all: ports.is_empty(),
            ..Self::default()
        };
        for port in ports {
            match port {
                PortMatch::Protocol(protocol) => all.spans.push(Span {
                    protocol: *protocol,
                    first: 0,
                    last: u16::MAX,
                }),
                PortMatch::Range {
                    protocol,
                    first,
                    last,
                } => all.spans.push(Span {
                    protocol: *protocol,
                    first: first.get(),
                    last: last.get(),
                }),
                PortMatch::Named { name, protocol } if direction == Direction::Ingress => {
                    all.spans.extend(resolve(own, name, *protocol));
                }
                PortMatch::Named { name, protocol } => {
                    all.named.push((Arc::clone(name), *protocol));
                }
            }
        }
        all
    }
}

impl SetRule<Selection> {
    fn new(reference: RuleRef, words: Words, ports: Ports) -> Self {
        Self {
            reference,
            words,
            everyone: false,
            whom: Vec::new(),
            owners: Vec::new(),
            blocks: Vec::new(),
            ports,
        }
    }

    fn of_namespaced(
        policy: &NetworkPolicy,
        rule: &NetworkPolicyRule,
        reference: RuleRef,
        ports: Ports,
    ) -> Self {
        let words = Words {
            network_policy: TierWord::new(0, RuleAction::Accept),
            ..Words::NONE
        };
        let mut set_rule = Self::new(reference, words, ports);
        set_rule.everyone = rule.peers.is_empty();
        for peer in &rule.peers {
            match peer {
                NetworkPolicyPeer::IpBlock(block) => set_rule.blocks.push(block.clone()),
                NetworkPolicyPeer::Pods {
                    namespace_selector,
                    pod_selector,
                } => {
                    let scope = match namespace_selector {
                        None => Scope::Named(Arc::clone(&policy.name.namespace)),
                        Some(selector) => Scope::Selected(selector.clone()),
                    };
                    set_rule.add_pods(scope, pod_selector.clone().unwrap_or_default());
                }
            }
        }
        set_rule.add_owners_anywhere();
        set_rule
    }

    fn of_cluster(tier: Tier, rule: &ClusterRule, reference: RuleRef, ports: Ports) -> Self {
        let closed = rule.fails_closed();
        let action = match rule.action {
            RuleAction::Pass if closed => RuleAction::Deny,
            action => action,
        };
        let word = TierWord::new(0, action);
        let words = match tier {
            Tier::Admin => Words {
                admin: word,
                ..Words::NONE
            },
            Tier::Baseline => Words {
                baseline: word,
                ..Words::NONE
            },
        };
        if closed {
            // An Accept that fails closed keeps its rank and names nobody.
            let ports = Ports {
                all: true,
                ..Ports::default()
            };
            let mut set_rule = Self::new(reference, words, ports);
            set_rule.everyone = action != RuleAction::Accept;
            return set_rule;
        }
        let mut set_rule = Self::new(reference, words, ports);
        for peer in &rule.peers {
            match peer {
                ClusterPeer::Pods(ClusterPods {
                    namespace_selector,
                    pod_selector,
                }) => set_rule.add_pods(
                    Scope::Selected(namespace_selector.clone()),
                    pod_selector.clone(),
                ),
                ClusterPeer::Nodes(selector) if selector.is_empty() => {
                    set_rule.whom.push(Whom::AnyNode);
                }
                ClusterPeer::Nodes(selector) => {
                    set_rule
                        .whom
                        .push(Whom::Selected(Selection::Nodes(selector.clone())));
                }
                ClusterPeer::Networks(networks) => {
                    set_rule
                        .blocks
                        .extend(networks.iter().map(|network| IpBlock {
                            cidr: *network,
                            except: Vec::new(),
                        }));
                }
                ClusterPeer::Unrecognised => {}
            }
        }
        set_rule
    }

    fn add_pods(&mut self, scope: Scope, pods: LabelSelector) {
        if !pods.is_empty() {
            let port = None;
            self.whom
                .push(Whom::Selected(Selection::Pods { scope, pods, port }));
            return;
        }
        self.add_owners(&scope);
        self.whom.push(match scope {
            Scope::Selected(selector) if selector.is_empty() => Whom::AnyPod,
            scope => Whom::Selected(Selection::Namespaces(scope)),
        });
    }

    fn add_owners_anywhere(&mut self) {
        if self.everyone {
            self.add_owners(&Scope::Selected(LabelSelector::default()));
        }
    }

    fn add_owners(&mut self, scope: &Scope) {
        let names: BTreeSet<&Arc<str>> = self.ports.named.iter().map(|(name, _)| name).collect();
        if matches!(scope, Scope::Selected(selector) if selector.is_empty()) {
            let names = names.into_iter().map(Arc::clone);
            self.owners.extend(names.map(Selection::Ports));
            return;
        }
        self.owners
            .extend(names.into_iter().map(|name| Selection::Pods {
                scope: scope.clone(),
                pods: LabelSelector::default(),
                port: Some(Arc::clone(name)),
            }));
    }
}

impl<S> SetRule<S> {
    /// The same rule with its selections by number.
    pub(super) fn numbered<T>(self, mut number: impl FnMut(S) -> T) -> SetRule<T> {
        let mut whom = Vec::with_capacity(self.whom.len());
        for named in self.whom {
            whom.push(match named {
                Whom::AnyPod => Whom::AnyPod,
                Whom::AnyNode => Whom::AnyNode,
                Whom::Selected(selection) => Whom::Selected(number(selection)),
            });
        }
        SetRule {
            owners: self.owners.into_iter().map(number).collect(),
            reference: self.reference,
            words: self.words,
            everyone: self.everyone,
            whom,
            blocks: self.blocks,
            ports: self.ports,
        }
    }

    /// Whether it names ports by name for all pods.
    pub(super) fn names_ports_of_all_pods(&self) -> bool {
        let any_pod = self.whom.iter().any(|whom| matches!(whom, Whom::AnyPod));
        !self.ports.named.is_empty() && (self.everyone || any_pod)
    }

    /// Whether a port's number depends on which pod in a block of the rule is the destination.
    pub(super) fn names_ports_in_blocks(&self) -> bool {
        !self.ports.named.is_empty() && !self.blocks.is_empty()
    }
}
