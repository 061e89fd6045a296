//! The allocator's lease among those of VIPs.

use std::time::Duration;

use super::cluster::*;
use crate::election::*;

#[test]
fn the_allocators_lease_does_not_count_towards_a_nodes_share() {
    // Preference goes by name, so every case has names of its own.
    for case in 0..20 {
        let mut cluster = Cluster::new(3, case);
        let vips: Vec<_> = ["a", "b", "c"]
            .map(|name| LeaseName::of_service(&format!("case-{case}"), name))
            .into();
        let all: Vec<_> = vips
            .iter()
            .cloned()
            .chain([LeaseName::allocator()])
            .collect();
        let desired = everywhere(&all, &cluster);
        for node in 0..3 {
            cluster.desire(node, desired.clone(), Duration::ZERO);
            cluster.start(node);
        }
        // Long enough for the slow rebalancing of what nodes took at the same instant.
        cluster.run(Duration::from_secs(30));
        assert_eq!(
            cluster.answering(&LeaseName::allocator()).len(),
            1,
            "one node allocates, case {case}"
        );
        let mut holders: Vec<_> = vips.iter().map(|vip| cluster.answering(vip)).collect();
        holders.sort();
        assert_eq!(holders, [[0], [1], [2]], "a VIP each, case {case}");
    }
}
