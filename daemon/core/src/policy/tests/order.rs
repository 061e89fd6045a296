//! While a change's writes are made one by one, each packet gets the verdict of before or that of after.

use crate::model::{ClusterPeer, Direction, Namespace, Protocol, RuleAction, Tier};
use crate::policy::{PolicyChange, PolicyTables, Transport, Verdict};

use super::fixtures::{Case, cluster, cluster_pods, cluster_rule, labels, name};
use super::random::Dice;
use super::world::{Followed, Probe};

fn verdicts(maps: &PolicyTables, probes: &[Probe]) -> Vec<Verdict> {
    let verdict = |(pod, direction, own, peer, transport): &Probe| {
        let found = maps.lookup(pod, *direction, *own, *peer, *transport);
        found.verdict()
    };
    probes.iter().map(verdict).collect()
}

/// Makes a change's writes one by one and asks after each. How many writes there were, and how many verdicts changed.
fn watch(followed: &mut Followed, change: PolicyChange, probes: &[Probe]) -> (usize, usize) {
    let what = format!("{change:?}");
    let mut maps = followed.maps.clone();
    let before = verdicts(&maps, probes);
    let delta = followed.step(change);
    let after = verdicts(&followed.maps, probes);
    for operation in &delta.operations {
        maps.apply(operation.clone());
        for (index, now) in verdicts(&maps, probes).into_iter().enumerate() {
            assert!(
                now == before[index] || now == after[index],
                "{:?} gets {now} after {operation:?}, of {what}",
                probes[index]
            );
        }
    }
    let changed = before.iter().zip(&after).filter(|(b, a)| b != a).count();
    (delta.operations.len(), changed)
}

#[test]
fn no_packet_sees_anything_between_before_and_after() {
    let (mut writes, mut changed) = (0, 0);
    for seed in 0..400 {
        let mut dice = Dice::new(3_000_000 + seed);
        // A port by name in a block depends on two maps at once; decision 12 says what that costs.
        dice.names_in_blocks = false;
        let mut followed = Followed::new(dice.world(40));
        for _ in 0..6 {
            let change = dice.change(&followed.world);
            let probes = dice.probes(&followed.world, 60);
            let counts = watch(&mut followed, change, &probes);
            writes += counts.0;
            changed += counts.1;
        }
    }
    assert!(
        writes > 10_000 && changed > 2_500,
        "{writes} writes, {changed} verdicts changed"
    );
}

/// Accepts pods `b` of team b and denies the team's others; then the team is no team any more, and nobody is denied.
#[test]
fn of_two_peers_that_are_told_nothing_any_more_the_wide_one_goes_first() {
    let mut case = Case::new();
    let of_team = |pods| vec![ClusterPeer::Pods(cluster_pods("team=b", pods))];
    let mut policy = cluster("c", Tier::Admin, 1);
    policy.subject = cluster_pods("team=a", "");
    policy.ingress = vec![
        cluster_rule(RuleAction::Accept, of_team("app=b")),
        cluster_rule(RuleAction::Deny, of_team("")),
    ];
    case.cluster(policy);
    let probe = |peer: &str| -> Probe {
        let (own, peer) = ("10.0.0.1".parse().unwrap(), peer.parse().unwrap());
        let transport = Transport::Port(Protocol::Tcp, 80);
        (name("x/a"), Direction::Ingress, own, peer, transport)
    };
    let namespace = Namespace {
        name: "y".into(),
        labels: labels("team=c"),
    };
    let change = PolicyChange::Namespace("y".into(), Some(namespace));
    let probes = [probe("10.0.0.4"), probe("10.0.0.3")];
    assert_eq!(watch(&mut case.followed, change, &probes), (2, 1));
}
