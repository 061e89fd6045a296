//! Over random clusters and histories, the tables say what the evaluator says, and only what a fresh compilation would.

use crate::policy::Verdict;

use super::random::Dice;
use super::world::Followed;

const CLUSTERS: u64 = 2_000;
const PACKETS: usize = 500;

#[test]
fn a_million_packets_in_random_clusters_get_the_evaluators_verdict() {
    let mut asked = 0;
    let mut denied = 0;
    let mut seed = 0;
    while asked < CLUSTERS * PACKETS as u64 {
        seed += 1;
        let mut dice = Dice::new(seed);
        let changes = 10 + dice.rng.place(60);
        let followed = Followed::new(dice.world(changes));
        for probe in dice.probes(&followed.world, PACKETS) {
            if let Err(difference) = followed.check(&probe) {
                panic!("seed {seed}: {difference}\n{:#?}", followed.world);
            }
            asked += 1;
            denied += u64::from(followed.decide(&probe).verdict == Verdict::Deny);
        }
    }
    // The clusters are worth asking about.
    assert!(
        (asked / 5..asked * 4 / 5).contains(&denied),
        "{denied} of {asked} denied"
    );
}

#[test]
fn a_history_of_changes_leaves_what_a_fresh_compilation_makes() {
    for seed in 0..1_500 {
        let mut dice = Dice::new(1_000_000 + seed);
        let mut followed = Followed::new(dice.world(20));
        for round in 0..12 {
            for _ in 0..=dice.rng.place(3) {
                let change = dice.change(&followed.world);
                followed.change(change);
            }
            followed.compile();
            for probe in dice.probes(&followed.world, 15) {
                if let Err(difference) = followed.check(&probe) {
                    panic!(
                        "seed {seed}, round {round}: {difference}\n{:#?}",
                        followed.world
                    );
                }
            }
        }
        assert_eq!(followed.maps, followed.compiler.tables(), "seed {seed}");
        let fresh = Followed::new(followed.world.clone());
        assert_eq!(
            followed.compiler.canonical(),
            fresh.compiler.canonical(),
            "seed {seed}"
        );
    }
}

#[test]
fn a_cluster_that_is_taken_down_leaves_empty_tables() {
    for seed in 0..200 {
        let mut dice = Dice::new(2_000_000 + seed);
        let mut followed = Followed::new(dice.world(40));
        let world = followed.world.clone();
        for change in world.changes() {
            followed.change(without(change));
            if dice.rng.chance(2_000) {
                followed.compile();
            }
        }
        followed.compile();
        assert_eq!(
            followed.maps,
            crate::policy::PolicyTables::default(),
            "seed {seed}"
        );
        let nothing = Followed::new(followed.world.clone());
        assert_eq!(followed.compiler.canonical(), nothing.compiler.canonical());
    }
}

fn without(change: crate::policy::PolicyChange) -> crate::policy::PolicyChange {
    use crate::policy::PolicyChange as C;
    match change {
        C::Pod(name, _) => C::Pod(name, None),
        C::Namespace(name, _) => C::Namespace(name, None),
        C::Node(name, _) => C::Node(name, None),
        C::OwnAddresses(_) => C::OwnAddresses(Default::default()),
        C::NetworkPolicy(name, _) => C::NetworkPolicy(name, None),
        C::ClusterNetworkPolicy(name, _) => C::ClusterNetworkPolicy(name, None),
    }
}
