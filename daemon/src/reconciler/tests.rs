use std::collections::BTreeMap;
use std::time::Duration;

use landfall_core::election::{Cause, LeaseName, Revision};
use landfall_core::model::{
    AnnouncedVip, AssignmentRecord, Change, IpFamily, IpFamilyPolicy, L2AnnouncementPolicy,
    LinkAddress, LinkKind, MacAddress, NodeName, ObjectName, Port, Protocol, Service, ServiceName,
    ServicePort, ServiceType, SourceId, TargetPort, TrafficPolicy, VipState,
};
use landfall_core::plan::endpoints::EndpointRule;
use landfall_ipam::{Block, Created, FirstLast, Pool};
use tokio::time::timeout;

use super::*;

/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running reconciler with everything that feeds it.
struct Agent {
    batches: mpsc::Sender<Batch>,
    peers: watch::Sender<Peers>,
    _dead: watch::Sender<DeadNodes>,
    assignments: watch::Sender<Option<ObservedAssignments>>,
    _left_out: watch::Sender<Arc<BTreeSet<ServiceName>>>,
    allocating: watch::Sender<bool>,
    leases: watch::Sender<LeaseState>,
    _conflicts: watch::Sender<PeerConflicts>,
    announced: watch::Sender<Arc<AnnounceReport>>,
    published: Published,
    cancel: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Agent {
    fn start() -> Self {
        let (reconciler, published) = Reconciler::new(PlanSettings {
            node: NodeName::new("n1"),
            endpoints: EndpointRule::PodsFirst,
            sources: BTreeSet::from([SourceId::Manifests, SourceId::Links]),
        });
        let (batches, batches_seen) = mpsc::channel(4);
        let (peers, peers_seen) = watch::channel(None);
        let (dead, dead_seen) = watch::channel(Arc::default());
        let (assignments, assignments_seen) = watch::channel(None);
        let (left_out, left_out_seen) = watch::channel(Arc::default());
        let (allocating, allocating_seen) = watch::channel(false);
        let (leases, leases_seen) = watch::channel(LeaseState::default());
        let (conflicts, conflicts_seen) = watch::channel(Arc::default());
        let (announced, announced_seen) = watch::channel(Arc::default());
        let inputs = Inputs {
            batches: batches_seen,
            peers: peers_seen,
            dead: dead_seen,
            assignments: assignments_seen,
            left_out: left_out_seen,
            allocating: allocating_seen,
            leases: leases_seen,
            conflicts: conflicts_seen,
            announced: announced_seen,
        };
        let cancel = CancellationToken::new();
        let task = tokio::spawn(reconciler.run(inputs, cancel.clone()));
        Self {
            batches,
            peers,
            _dead: dead,
            assignments,
            _left_out: left_out,
            allocating,
            leases,
            _conflicts: conflicts,
            announced,
            published,
            cancel,
            task,
        }
    }

    async fn say(&self, batch: Batch) {
        self.batches.send(batch).await.expect("the reconciler runs");
    }

    /// Writes whatever is proposed until `done` holds of the plan.
    async fn store_until(&mut self, done: impl Fn(&Plan) -> bool) -> Arc<Plan> {
        let mut revision = 0;
        let until = async {
            loop {
                let plan = Arc::clone(&self.published.plan.borrow_and_update());
                if done(&plan) {
                    return plan;
                }
                let proposal = self.published.proposal.borrow_and_update().clone();
                let expected = (revision > 0).then_some(Revision(revision));
                match proposal.filter(|proposal| proposal.expected == expected) {
                    Some(proposal) => {
                        revision += 1;
                        self.assignments.send_replace(Some(ObservedAssignments {
                            revision: Some(Revision(revision)),
                            record: Arc::clone(&proposal.record),
                            recalled: false,
                            lost: false,
                        }));
                    }
                    None => self
                        .published
                        .plan
                        .changed()
                        .await
                        .expect("the reconciler runs"),
                }
            }
        };
        timeout(PATIENCE, until)
            .await
            .expect("the plan comes about")
    }
}

fn service(name: &str) -> Change {
    let port = |number| Port::new(number).expect("not 0");
    let name = ServiceName::new("default", name);
    let service = Service {
        name: name.clone(),
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
        ports: vec![ServicePort {
            name: "".into(),
            protocol: Protocol::Tcp,
            port: port(80),
            target: TargetPort::Number(port(80)),
            node_port: None,
        }],
        selector: BTreeMap::new(),
        external_traffic_policy: TrafficPolicy::Cluster,
        internal_traffic_policy: TrafficPolicy::Cluster,
        affinity: None,
        publish_not_ready: false,
        health_check_node_port: None,
        assigned: Vec::new(),
    };
    Change::Service(name, Some(service))
}

fn objects() -> Batch {
    let block = Block::from_cidr("10.0.0.0/16").expect("a CIDR");
    let pool = Pool::new("lan", Created(1), vec![block], FirstLast::Reserved).expect("a pool");
    let policy = L2AnnouncementPolicy {
        name: "p".to_owned(),
        service_selector: None,
        node_selector: None,
        interfaces: vec![regex::Regex::new("^ens").expect("a regular expression")],
        external_ips: true,
        load_balancer_ips: true,
    };
    vec![
        Change::Pool("lan".to_owned(), Some(pool)),
        Change::Policy("p".to_owned(), Some(policy)),
    ]
}

fn link(address: &str) -> Link {
    Link {
        index: LinkIndex(2),
        name: "ens3".into(),
        mac: Some(MacAddress([2, 0, 0, 0, 0, 1])),
        up: true,
        kind: LinkKind::Uplink,
        mtu: 1500,
        addresses: vec![LinkAddress {
            address: address.parse().expect("an address"),
            prefix_len: 24,
        }],
    }
}

/// An agent that allocates, whose sources have synced.
async fn ready(services: Batch) -> Agent {
    let agent = Agent::start();
    agent.assignments.send_replace(Some(ObservedAssignments {
        revision: None,
        record: Arc::new(AssignmentRecord::default()),
        recalled: false,
        lost: false,
    }));
    agent.allocating.send_replace(true);
    agent
        .say(vec![
            Change::Links(vec![link("192.0.2.11")]),
            Change::Synced(SourceId::Links),
        ])
        .await;
    agent.say(objects()).await;
    agent.say(services).await;
    agent.say(vec![Change::Synced(SourceId::Manifests)]).await;
    agent
}

#[tokio::test]
async fn nothing_that_could_delete_is_published_before_every_source_has_synced() {
    let mut agent = Agent::start();
    agent
        .say(vec![
            Change::Links(vec![link("192.0.2.11")]),
            Change::Synced(SourceId::Links),
        ])
        .await;
    agent.say(vec![service("svc1")]).await;
    let only_manifests_missing = |plan: &Plan| {
        plan.missing == BTreeSet::from([SourceId::Manifests]) && !plan.addresses.services.is_empty()
    };
    let plan = agent.store_until(only_manifests_missing).await;
    assert!(!plan.complete);
    assert_eq!(agent.published.links.borrow().len(), 1);
    assert!(agent.published.table.borrow().is_none());
    assert!(agent.published.desired.borrow().is_none() && agent.published.vips.borrow().is_none());
    assert!(agent.published.proposal.borrow().is_none());
    agent.say(vec![Change::Synced(SourceId::Manifests)]).await;
    // Without the record no service has its address: what an earlier agent left in the kernel would be swept.
    let plan = agent.store_until(|plan| plan.missing.is_empty()).await;
    assert!(!plan.complete && agent.published.table.borrow().is_none());
    agent.assignments.send_replace(Some(ObservedAssignments {
        revision: None,
        record: Arc::default(),
        recalled: false,
        lost: false,
    }));
    agent.store_until(|plan| plan.complete).await;
    assert!(agent.published.table.borrow().is_some());
    assert!(agent.published.desired.borrow().is_some() && agent.published.vips.borrow().is_some());
}

#[tokio::test]
async fn what_leases_and_announcements_tell_becomes_the_service_s_condition_and_event() {
    let mut agent = ready(vec![service("svc1")]).await;
    let lease = LeaseName::of_service("default", "svc1");
    let plan = agent
        .store_until(|plan| plan.announcements.vips.contains_key(&lease))
        .await;
    let address = *plan.announcements.vips[&lease]
        .addresses
        .keys()
        .next()
        .expect("it has an address");
    agent.leases.send_modify(|state| {
        state.held = Arc::new([(lease.clone(), Cause::First)].into());
        state.holders = Arc::new([(lease.clone(), NodeName::new("n1"))].into());
        state.live = Arc::new([NodeName::new("n1")].into());
    });
    agent.announced.send_replace(Arc::new(AnnounceReport {
        vips: vec![AnnouncedVip {
            ip: address,
            lease: lease.clone(),
            index: LinkIndex(2),
            interface: "ens3".to_owned(),
            responder: "kernel",
            state: VipState::Announcing,
            since: SystemTime::UNIX_EPOCH,
        }],
        ..AnnounceReport::default()
    }));
    let name = ServiceName::new("default", "svc1");
    let announced = |accounts: &Accounts| {
        let account = accounts.get(&name);
        account.is_some_and(|account| {
            let conditions = &account.conditions;
            let announcing = conditions.iter().any(|one| &*one.reason == "announcing");
            let events = &account.events;
            announcing && events.iter().any(|event| event.reason == "Announcing")
        })
    };
    timeout(PATIENCE, agent.published.accounts.wait_for(announced))
        .await
        .expect("it is told")
        .expect("the reconciler runs");
}

#[tokio::test]
async fn what_is_remembered_is_acted_on_and_nothing_is_allocated_by_it() {
    let mut agent = Agent::start();
    agent.allocating.send_replace(true);
    agent
        .say(vec![
            Change::Links(vec![link("192.0.2.11")]),
            Change::Synced(SourceId::Links),
            service("svc1"),
            Change::Recalled(SourceId::Manifests),
        ])
        .await;
    let remembered = ObservedAssignments {
        revision: Some(Revision(7)),
        record: Arc::default(),
        recalled: true,
        lost: false,
    };
    agent.assignments.send_replace(Some(remembered.clone()));
    let plan = agent.store_until(|plan| plan.complete).await;
    let recalled = BTreeSet::from([SourceId::Manifests, SourceId::Assignments]);
    assert_eq!(plan.recalled, recalled);
    assert!(agent.published.table.borrow().is_some());
    assert!(agent.published.proposal.borrow().is_none());
    // Either alone is too little.
    agent.assignments.send_replace(Some(ObservedAssignments {
        recalled: false,
        lost: false,
        ..remembered
    }));
    let plan = agent.store_until(|plan| plan.recalled.len() == 1).await;
    assert!(plan.addresses.proposal.is_none());
    agent.say(vec![Change::Synced(SourceId::Manifests)]).await;
    let plan = agent.store_until(|plan| plan.recalled.is_empty()).await;
    assert!(plan.addresses.proposal.is_some());
}

#[tokio::test]
async fn a_service_becomes_a_frontend_and_a_vip_of_this_node_and_its_peers() {
    let mut agent = ready(vec![service("svc1")]).await;
    let peers = BTreeMap::from([(NodeName::new("n2"), vec![link("192.0.2.12")])]);
    agent.peers.send_replace(Some(Arc::new(peers)));
    let lease = LeaseName::of_service("default", "svc1");
    let both = |plan: &Plan| {
        plan.announcements
            .vips
            .get(&lease)
            .is_some_and(|vip| vip.candidates.len() == 2)
    };
    agent.store_until(both).await;
    let table = agent.published.table.borrow().clone().expect("a table");
    assert_eq!(table.frontends.len(), 1);
    let desired = agent.published.desired.borrow().clone().expect("wishes");
    let nodes = BTreeSet::from([NodeName::new("n1"), NodeName::new("n2")]);
    assert_eq!(*desired, BTreeMap::from([(lease.clone(), nodes)]));
    let vips = agent.published.vips.borrow().clone().expect("VIPs");
    let address = "10.0.0.1".parse().expect("an address");
    assert_eq!(
        vips[&lease],
        BTreeMap::from([(address, BTreeSet::from([LinkIndex(2)]))])
    );
}

#[tokio::test]
async fn a_burst_that_waits_is_planned_once() {
    let (batches, mut waiting) = mpsc::channel(8);
    let (mut reconciler, mut published) = Reconciler::new(PlanSettings {
        node: NodeName::new("n1"),
        endpoints: EndpointRule::PodsFirst,
        sources: BTreeSet::new(),
    });
    for index in 0..8 {
        batches
            .send(vec![service(&format!("svc{index}"))])
            .await
            .expect("room");
    }
    let first = waiting.recv().await.expect("a batch");
    reconciler.fold(first, &mut waiting);
    reconciler.publish();
    assert!(waiting.try_recv().is_err(), "all eight were folded");
    assert_eq!(
        published.plan.borrow_and_update().addresses.services.len(),
        8
    );
    reconciler.publish();
    assert!(
        !published.plan.has_changed().expect("alive"),
        "nothing new, nothing told"
    );
}

#[tokio::test]
async fn parts_that_did_not_change_wake_nobody() {
    let mut agent = ready(vec![service("svc1")]).await;
    agent
        .store_until(|plan| !plan.announcements.vips.is_empty())
        .await;
    let mut published = agent.published.clone();
    published.desired.mark_unchanged();
    published.vips.mark_unchanged();
    published.table.mark_unchanged();
    published.links.mark_unchanged();
    let complaint = Change::Errors(SourceId::Manifests, Vec::new());
    agent.say(vec![complaint]).await;
    agent
        .store_until(|plan| plan.errors.contains_key(&SourceId::Manifests))
        .await;
    assert!(!published.table.has_changed().expect("alive"));
    assert!(!published.desired.has_changed().expect("alive"));
    assert!(!published.vips.has_changed().expect("alive"));
    assert!(!published.links.has_changed().expect("alive"));
}

#[tokio::test]
async fn it_ends_when_cancelled_and_its_last_word_stays() {
    let mut agent = ready(vec![service("svc1")]).await;
    agent
        .store_until(|plan| !plan.table.frontends.is_empty())
        .await;
    agent.cancel.cancel();
    timeout(PATIENCE, agent.task)
        .await
        .expect("in time")
        .expect("no panic");
    assert_eq!(
        agent
            .published
            .table
            .borrow()
            .as_ref()
            .expect("a table")
            .frontends
            .len(),
        1
    );
}

#[tokio::test]
async fn a_slice_of_a_service_that_is_not_there_yet_counts_once_it_comes() {
    let mut agent = ready(Vec::new()).await;
    let slice = landfall_core::model::EndpointSlice {
        name: ObjectName::new("default", "svc1-x"),
        service: ServiceName::new("default", "svc1"),
        ports: vec![landfall_core::model::EndpointPort {
            name: "".into(),
            protocol: Protocol::Tcp,
            port: Port::new(8080).expect("not 0"),
        }],
        endpoints: vec![landfall_core::model::Endpoint {
            address: "10.1.0.1".parse().expect("an address"),
            node: None,
            ready: true,
            serving: true,
            terminating: false,
            zone: None,
            pod: None,
        }],
    };
    agent
        .say(vec![Change::EndpointSlice(slice.name.clone(), Some(slice))])
        .await;
    agent.say(vec![service("svc1")]).await;
    let served = |plan: &Plan| plan.table.frontends.values().any(|f| f.backends.len() == 1);
    agent.store_until(served).await;
}

#[tokio::test]
async fn a_reconciler_without_news_still_shows_that_it_lives() {
    let agent = Agent::start();
    let pulse = agent.published.pulse.clone();
    // It turns by itself: the age of the last turn goes up, and down again.
    for turn in 0..2 {
        let beaten = async {
            let mut before = pulse.age();
            loop {
                tokio::time::sleep(Duration::from_millis(5)).await;
                let age = pulse.age();
                if age < before {
                    return;
                }
                before = age;
            }
        };
        timeout(PATIENCE, beaten)
            .await
            .unwrap_or_else(|_| panic!("turn {turn} never came"));
    }
    agent.cancel.cancel();
    agent.task.await.expect("it ends in order");
    let stopped = pulse.age();
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(pulse.age() > stopped);
}
