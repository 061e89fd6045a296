use std::time::Duration;

use super::events::{OF_ALL, OF_ONE};
use super::*;
use crate::election::Cause;
use crate::model::{
    AnnounceReport, AnnouncedVip, Change, LinkIndex, MacAddress, ObjectName, TrafficPolicy,
    Unproved, VipState,
};
use crate::plan::fixtures::{Cluster, endpoint, ip, name, policy, pool, service, slice};
use crate::report::Event;

const STRANGER: MacAddress = MacAddress([2, 0, 0, 0, 0, 9]);

/// Node `n1` with its chronicle and a clock that goes on by a second with each look.
struct Node {
    cluster: Cluster,
    chronicle: Chronicle,
    observed: Observed,
    seconds: u64,
}

impl Node {
    /// With Service `svc1`, which gets 10.10.200.1, and a policy.
    fn new() -> Self {
        let mut node = Self::empty();
        node.cluster.add_policy(policy("p"));
        node.cluster.add_pool(pool("lan", "10.10.200.0/29"));
        node.look();
        node.cluster.add_service(service("svc1"));
        node.look();
        node
    }

    fn empty() -> Self {
        let nodes = ["n1", "n2", "n3"].map(NodeName::new);
        let mut observed = Observed::default();
        observed.holdings.live = Arc::new(nodes.into());
        Self {
            cluster: Cluster::new(),
            chronicle: Chronicle::new(NodeName::new("n1")),
            observed,
            seconds: 0,
        }
    }

    fn look(&mut self) {
        self.seconds += 1;
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(self.seconds);
        let plan = self.cluster.plan();
        self.chronicle.follow(&plan, &self.observed, now);
    }

    fn account(&self, service: &str) -> Arc<Account> {
        Arc::clone(&self.chronicle.accounts()[&name(service)])
    }

    /// Status, reason and message of the condition `kind`.
    fn condition(&self, kind: &str) -> (ConditionStatus, String, String) {
        let account = self.account("svc1");
        let found = account.conditions.iter().find(|c| c.kind == kind);
        let found = found.expect("the condition is there");
        (
            found.status,
            found.reason.to_string(),
            found.message.to_string(),
        )
    }

    fn announced(&self) -> (ConditionStatus, String, String) {
        self.condition(ANNOUNCED)
    }

    /// The events, each as one line.
    fn events(&self) -> Vec<String> {
        let line = |event: &Event| {
            let Event {
                kind,
                reason,
                message,
                count,
                ..
            } = event;
            format!("{kind:?} {reason} x{count}: {message}")
        };
        self.account("svc1").events.iter().map(line).collect()
    }

    /// `svc1`'s lease is with `holder`, for `cause` where that is this node.
    fn held(&mut self, holder: Option<&str>, cause: Option<Cause>) {
        let lease = LeaseName::of_service("default", "svc1");
        let holders = holder.map(|node| (lease.clone(), NodeName::new(node)));
        self.observed.holdings.holders = Arc::new(holders.into_iter().collect());
        let held = cause.map(|cause| (lease, cause));
        self.observed.holdings.held = Arc::new(held.into_iter().collect());
    }

    /// The announce effect tells where 10.10.200.1 stands.
    fn report(&mut self, state: Option<VipState>, unproved: Option<Unproved>) {
        let vip = state.map(|state| AnnouncedVip {
            ip: ip("10.10.200.1"),
            lease: LeaseName::of_service("default", "svc1"),
            index: LinkIndex(2),
            interface: "ens3".to_owned(),
            responder: "kernel",
            state,
            since: SystemTime::UNIX_EPOCH,
        });
        self.observed.announced = Arc::new(AnnounceReport {
            vips: vip.into_iter().collect(),
            unproved: unproved.into_iter().collect(),
            ..AnnounceReport::default()
        });
        self.look();
    }

    fn announces(&mut self, cause: Cause) {
        self.held(Some("n1"), Some(cause));
        self.report(Some(VipState::Announcing), None);
    }
}

#[test]
fn an_allocation_is_a_condition_and_an_event_and_its_refusal_a_warning() {
    let mut node = Node::new();
    let satisfied = (ConditionStatus::True, SATISFIED.to_owned(), String::new());
    assert_eq!(node.condition(IPAM_REQUEST_SATISFIED), satisfied);
    assert_eq!(
        node.events(),
        ["Normal IPAllocated x1: 10.10.200.1 from pool lan"]
    );
    let mut wish = service("svc1");
    wish.requested_ips = vec![ip("203.0.113.1")];
    node.cluster.add_service(wish);
    node.look();
    let (status, reason, message) = node.condition(IPAM_REQUEST_SATISFIED);
    assert_eq!(
        (status, reason.as_str()),
        (ConditionStatus::False, "no_pool")
    );
    assert_eq!(
        node.events()[1],
        format!("Warning AllocationFailed x1: no_pool: {message}")
    );
    let (status, reason, _) = node.announced();
    assert_eq!(
        (status, reason.as_str()),
        (ConditionStatus::False, "no_address")
    );
}

#[test]
fn what_an_agent_finds_at_its_start_is_no_event() {
    let mut node = Node::empty();
    node.cluster.add_policy(policy("p"));
    node.cluster.add_pool(pool("lan", "10.10.200.0/29"));
    node.cluster.add_service(service("svc1"));
    node.look();
    node.announces(Cause::Continued);
    assert_eq!(node.announced().1, "announcing");
    assert_eq!(node.events(), [""; 0]);
}

#[test]
fn an_address_is_announced_here_once_it_is_known_to_be_free_and_elsewhere_after_a_takeover() {
    let mut node = Node::new();
    assert_eq!(node.announced().1, "no_holder");
    node.held(Some("n1"), Some(Cause::First));
    node.report(None, None);
    assert_eq!(node.announced().1, "pending");
    node.report(Some(VipState::Probing), None);
    assert_eq!(node.announced().1, "probing");
    node.report(Some(VipState::Announcing), None);
    let message = "n1 answers for 10.10.200.1 on ens3";
    let (status, reason, told) = node.announced();
    assert_eq!(
        (status, reason.as_str(), told.as_str()),
        (ConditionStatus::True, "announcing", message)
    );
    assert_eq!(
        node.events()[1],
        format!("Normal Announcing x1: {message} (first)")
    );

    let since = |node: &Node| node.account("svc1").conditions[1].last_transition;
    let before = since(&node);
    node.held(Some("n2"), None);
    node.report(None, None);
    let (status, reason, told) = node.announced();
    assert_eq!(
        (status, reason.as_str()),
        (ConditionStatus::True, "elsewhere")
    );
    assert_eq!(told, "n2 holds the lease of 10.10.200.1");
    assert_eq!(since(&node), before, "the status is what it was");
    node.observed.holdings.live = Arc::new([NodeName::new("n1")].into());
    node.look();
    assert_eq!(
        node.announced().1,
        "no_holder",
        "a holder that does not live is none"
    );
    assert!(since(&node) > before);
    assert_eq!(node.events().len(), 2, "what others do is no event here");
}

#[test]
fn another_machine_s_address_is_a_condition_while_it_lasts_and_an_event_each_time() {
    let mut node = Node::new();
    node.announces(Cause::First);
    for times in 1..=3 {
        node.report(Some(VipState::Conflict(STRANGER)), None);
        let told =
            "02:00:00:00:00:09 has 10.10.200.1 on ens3; it is not announced while that lasts";
        let (status, reason, message) = node.announced();
        assert_eq!(
            (status, reason.as_str()),
            (ConditionStatus::False, "address_conflict")
        );
        assert_eq!(message, told);
        let warning = format!("Warning AddressConflict x{times}: {told}");
        assert_eq!(node.events().last(), Some(&warning));
        node.look();
        assert_eq!(node.events().last(), Some(&warning), "nothing happened");
        node.report(Some(VipState::Announcing), None);
        assert_eq!(node.announced().1, "announcing");
    }
    let account = node.account("svc1");
    assert_eq!(account.events.len(), 3, "{:?}", node.events());
    let [_, conflict, announcing] = &account.events[..] else {
        panic!()
    };
    assert_eq!((conflict.count, announcing.count), (3, 4));
    assert!(conflict.first < conflict.last && conflict.last < announcing.last);
}

#[test]
fn a_conflict_that_the_holder_tells_of_is_the_service_s_condition_on_every_node() {
    let mut node = Node::new();
    node.held(Some("n2"), None);
    let says =
        |teller: &str| Arc::new([(ip("10.10.200.1"), (NodeName::new(teller), STRANGER))].into());
    node.observed.conflicts = says("n2");
    node.look();
    let (status, reason, message) = node.announced();
    assert_eq!(
        (status, reason.as_str()),
        (ConditionStatus::False, "address_conflict")
    );
    assert!(
        message.starts_with("02:00:00:00:00:09 has 10.10.200.1, says n2; "),
        "{message}"
    );
    assert_eq!(node.events().len(), 1, "the event is the holder's");
    node.observed.conflicts = says("n3");
    node.look();
    assert_eq!(
        node.announced().1,
        "elsewhere",
        "by who does not hold it, it is old"
    );
}

#[test]
fn answers_that_peers_do_not_hear_are_told_and_where_the_address_went() {
    let mut node = Node::new();
    node.announces(Cause::Takeover);
    let unproved = Unproved {
        index: LinkIndex(2),
        interface: "ens3".to_owned(),
        ip: None,
    };
    node.report(Some(VipState::Announcing), Some(unproved.clone()));
    let (status, reason, _) = node.announced();
    assert_eq!(
        (status, reason.as_str()),
        (ConditionStatus::False, "self_proof_failed")
    );
    let event = "Warning SelfProofFailed x1: other nodes do not hear n1 answer for 10.10.200.1 on ens3; it is left to them";
    assert_eq!(node.events().last().map(String::as_str), Some(event));
    node.held(Some("n3"), None);
    node.report(None, Some(unproved));
    let (status, reason, message) = node.announced();
    assert_eq!(
        (status, reason.as_str()),
        (ConditionStatus::True, "elsewhere")
    );
    assert!(
        message.contains("n3 holds") && message.contains("do not hear n1"),
        "{message}"
    );
    assert_eq!(node.events().last().map(String::as_str), Some(event));
}

#[test]
fn an_address_that_nobody_can_announce_says_what_is_in_the_way() {
    let mut node = Node::empty();
    node.cluster.add_pool(pool("lan", "10.10.200.0/29"));
    let mut local = service("svc1");
    local.external_traffic_policy = TrafficPolicy::Local;
    node.cluster.add_service(local);
    node.look();
    assert_eq!(node.announced().1, "no_policy");
    node.cluster.add_policy(policy("p"));
    node.look();
    let (status, reason, message) = node.announced();
    assert_eq!(
        (status, reason.as_str()),
        (ConditionStatus::False, "no_ready_endpoint")
    );
    assert!(
        message.starts_with("no node can announce 10.10.200.1; on n1, "),
        "{message}"
    );
    node.cluster
        .add_slice(slice("s", "svc1", vec![endpoint("10.1.0.2", "n2")]));
    node.look();
    assert_eq!(node.announced().1, "no_holder");
}

#[test]
fn only_so_many_events_are_kept_and_a_service_that_goes_takes_its_own_along() {
    let mut events = Events::default();
    let mut accounts: BTreeMap<ServiceName, Account> = BTreeMap::new();
    let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    for number in 0..OF_ALL + 10 {
        let name = ObjectName::new("default", format!("s{number}"));
        let news = (EventKind::Normal, "Announcing", "here".to_owned());
        let account = accounts.entry(name.clone()).or_default();
        let full = events.add(&name, account, news, at(number as u64));
        assert_eq!(full.is_some(), number >= OF_ALL);
        if let Some((oldest, serial)) = full {
            let account = accounts.get_mut(&oldest).expect("it is known");
            account.events.retain(|event| event.serial != serial);
            assert!(account.events.is_empty(), "{oldest}");
        }
    }
    let busy_name = ObjectName::new("default", "busy");
    let mut busy = Account::default();
    for number in 0..OF_ONE as u64 + 5 {
        let news = (
            EventKind::Normal,
            "Announcing",
            format!("for the {number}th time"),
        );
        events.add(&busy_name, &mut busy, news, at(number));
    }
    assert_eq!(busy.events.len(), OF_ONE);
    assert_eq!(&*busy.events[0].message, "for the 5th time");

    let mut node = Node::new();
    node.announces(Cause::First);
    node.cluster.fold(Change::Service(name("svc1"), None));
    node.look();
    assert!(node.chronicle.accounts().is_empty());
    node.cluster.add_service(service("svc1"));
    node.held(None, None);
    node.report(None, None);
    assert_eq!(
        node.events(),
        ["Normal IPAllocated x1: 10.10.200.1 from pool lan"]
    );
}

#[test]
fn a_service_that_nothing_happened_to_costs_nothing() {
    let mut node = Node::new();
    node.cluster.add_service(service("svc2"));
    node.look();
    let (one, two) = (node.account("svc1"), node.account("svc2"));
    node.announces(Cause::First);
    assert!(!Arc::ptr_eq(&one, &node.account("svc1")));
    assert!(Arc::ptr_eq(&two, &node.account("svc2")));
    let all = Arc::clone(node.chronicle.accounts());
    node.look();
    assert!(Arc::ptr_eq(&all, node.chronicle.accounts()));
}
