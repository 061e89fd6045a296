//! Two allocators that both believe they lead: the compare-and-swap alone keeps addresses apart.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use landfall_core::model::{
    Change, IpFamily, IpFamilyPolicy, ObjectName, Observation, Service, ServiceType, SourceId,
    TrafficPolicy,
};
use landfall_core::plan::{PlanSettings, Planner};
use landfall_ipam::{Block, Created, FirstLast, Pool};

use super::*;

/// An agent: its planner, and its hand on the object.
struct Allocator {
    planner: Planner,
    object: AssignmentObject,
    /// A proposal that it was about to write when it was paused.
    held: Option<Arc<Proposal>>,
}

impl Allocator {
    fn new(server: &ApiStandIn, state: &Path, name: &str) -> Self {
        let node = NodeName::new(name);
        let mut planner = Planner::new(PlanSettings {
            node: node.clone(),
            endpoints: Default::default(),
            sources: [SourceId::Kubernetes].into(),
        });
        let block = Block::from_cidr("192.0.2.0/28").expect("a CIDR");
        let pool = Pool::new("lan", Created(1), vec![block], FirstLast::Reserved).expect("a pool");
        planner.fold(Change::Pool("lan".to_owned(), Some(pool)));
        planner.fold(Change::Synced(SourceId::Kubernetes));
        planner.observe(Observation::Allocating(true));
        Self {
            planner,
            object: AssignmentObject::new(
                server.client(),
                "landfall-system",
                "https://api",
                state,
                node,
            ),
            held: None,
        }
    }

    /// Reads the object as it is now.
    async fn look(&mut self) {
        let (publish, seen) = watch::channel(None);
        self.object.list(&publish).await.expect("read");
        let found = seen.borrow().clone().expect("it was read");
        self.planner.observe(Observation::Assignments(found));
    }

    fn proposal(&mut self) -> Option<Arc<Proposal>> {
        self.planner.plan().addresses.proposal.clone()
    }

    /// Writes `proposal`, and takes in that it is written.
    async fn write(&mut self, proposal: &Proposal) -> Written {
        let written = self.object.write(proposal.expected, &proposal.record).await;
        let written = written.expect("an answer");
        if let Written::At(revision) = written {
            self.planner
                .observe(Observation::Assignments(ObservedAssignments {
                    revision: Some(revision),
                    record: Arc::clone(&proposal.record),
                    recalled: false,
                    lost: false,
                }));
        }
        written
    }
}

fn service(name: &str) -> Service {
    Service {
        name: ObjectName::new("default", name),
        created: 1,
        labels: BTreeMap::new(),
        service_type: ServiceType::LoadBalancer,
        class: None,
        cluster_ips: Vec::new(),
        external_ips: Vec::new(),
        ip_families: vec![IpFamily::V4],
        ip_family_policy: IpFamilyPolicy::SingleStack,
        requested_ips: Vec::new(),
        requested_pool: None,
        sharing_key: None,
        sharing_namespaces: Vec::new(),
        source_ranges: Vec::new(),
        ports: Vec::new(),
        selector: BTreeMap::new(),
        external_traffic_policy: TrafficPolicy::Cluster,
        internal_traffic_policy: TrafficPolicy::Cluster,
        affinity: None,
        publish_not_ready: false,
        health_check_node_port: None,
        assigned: Vec::new(),
    }
}

/// The addresses by Service that the server has, each once.
fn assigned(server: &ApiStandIn) -> BTreeMap<ServiceName, IpAddr> {
    let Some(object) = server.object(PATH) else {
        return BTreeMap::new();
    };
    let object: ConfigMap = serde_json::from_value(object).expect("a ConfigMap");
    let record = read(&object).expect("whole");
    let entries = record.services.iter();
    let assigned: BTreeMap<ServiceName, IpAddr> = entries
        .flat_map(|(name, entry)| entry.addresses.iter().map(|it| (name.clone(), it.address)))
        .collect();
    let distinct: BTreeSet<&IpAddr> = assigned.values().collect();
    assert_eq!(
        distinct.len(),
        assigned.len(),
        "one address twice: {assigned:?}"
    );
    assigned
}

#[tokio::test]
async fn an_allocator_that_was_paused_with_a_write_under_way_loses_it_and_nobody_has_an_address_twice()
 {
    let (server, state) = (ApiStandIn::new(), tempfile::tempdir().expect("a directory"));
    let mut first = Allocator::new(&server, state.path(), "n1");
    let mut second = Allocator::new(&server, state.path(), "n2");
    first.look().await;
    second.look().await;
    first
        .planner
        .fold(Change::Service(service("a").name, Some(service("a"))));
    let paused = first.proposal().expect("an allocation");
    // The other node takes over, and sees another Service first.
    second
        .planner
        .fold(Change::Service(service("b").name, Some(service("b"))));
    let proposal = second.proposal().expect("an allocation");
    assert!(matches!(second.write(&proposal).await, Written::At(_)));
    let before = assigned(&server);
    assert_eq!(first.write(&paused).await, Written::Conflict);
    assert_eq!(assigned(&server), before);
    // It goes on as if nothing had happened, still sure that it leads.
    first
        .planner
        .fold(Change::Service(service("b").name, Some(service("b"))));
    first.look().await;
    let again = first.proposal().expect("a still waits");
    assert!(matches!(first.write(&again).await, Written::At(_)));
    let after = assigned(&server);
    assert_eq!(after.len(), 2);
    assert_eq!(
        after.get(&service("b").name),
        before.get(&service("b").name)
    );
}

#[tokio::test]
async fn in_random_histories_of_two_that_both_lead_no_address_is_ever_given_twice() {
    for seed in 1..=40_u64 {
        let (server, state) = (ApiStandIn::new(), tempfile::tempdir().expect("a directory"));
        let mut both = ["n1", "n2"].map(|name| Allocator::new(&server, state.path(), name));
        let mut chance = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut given = 0;
        for _ in 0..60 {
            chance ^= chance << 13;
            chance ^= chance >> 7;
            chance ^= chance << 17;
            let one = &mut both[usize::from(chance & 1 == 1)];
            match (chance >> 8) % 4 {
                0 => one.look().await,
                1 => {
                    let name = format!("s{}", (chance >> 16) % 10);
                    one.planner
                        .fold(Change::Service(service(&name).name, Some(service(&name))));
                }
                // It is paused between planning and writing.
                2 => one.held = one.proposal(),
                _ => {
                    let proposal = one.held.take().or_else(|| one.proposal());
                    if let Some(proposal) = proposal {
                        one.write(&proposal).await;
                    }
                }
            }
            given = given.max(assigned(&server).len());
        }
        assert!(
            given > 2,
            "seed {seed}: a history in which something happens"
        );
    }
}
