use landfall_core::model::{AssignedAddress, Assignment, ObjectName, SourceId};
use landfall_core::plan::addresses::AddressPlan;
use landfall_core::plan::chronicle::{ANNOUNCED, IPAM_REQUEST_SATISFIED};
use landfall_core::report::{Account, Condition, ConditionStatus};
use serde_json::{Value, json};

use super::*;
use crate::effect::api_stand_in::{ApiStandIn, Mood, Seen};
use crate::source::kubernetes_status::{LiveBoard, LiveStatus};
use crate::telemetry::Scrape;

const WEB: &str = "/api/v1/namespaces/default/services/web";
const ADDRESS: &str = "192.0.2.1";

/// An allocator's writer, the API server, and what is between them: the source, which the tests play.
struct Rig {
    server: ApiStandIn,
    board: LiveBoard,
    plan: watch::Sender<Arc<Plan>>,
    accounts: watch::Sender<Accounts>,
    allocating: watch::Sender<bool>,
    reports: watch::Receiver<StatusReport>,
    notices: mpsc::Receiver<Notice>,
    cancel: CancellationToken,
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

impl Rig {
    fn new() -> Self {
        Self::on(ApiStandIn::new())
    }

    /// An agent that starts, with the objects of `server` as they are.
    fn on(server: ApiStandIn) -> Self {
        let (board, live) = LiveBoard::new();
        let (plan, plan_seen) = watch::channel(Arc::new(Plan {
            complete: true,
            ..Plan::default()
        }));
        let (accounts, accounts_seen) = watch::channel(Accounts::default());
        let (allocating, allocating_seen) = watch::channel(true);
        let (sender, notices) = mpsc::channel(16);
        let (task, reports) = StatusTask::new(server.client(), sender);
        let cancel = CancellationToken::new();
        let inputs = Inputs {
            plan: plan_seen,
            accounts: accounts_seen,
            live,
            allocating: allocating_seen,
        };
        tokio::spawn(task.run(inputs, cancel.clone()));
        Self {
            server,
            board,
            plan,
            accounts,
            allocating,
            reports,
            notices,
            cancel,
        }
    }

    /// A Service `web`, as the source sees it once it is there.
    fn service(&self, status: Value, managers: Value) {
        let object = json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"namespace": "default", "name": "web", "uid": "u1", "managedFields": managers},
            "status": status,
        });
        self.server.put(WEB, object);
        self.see();
    }

    /// The source tells what the server has.
    fn see(&self) {
        match self.server.object(WEB) {
            Some(object) => {
                let key = LiveKey::of("Service", &object);
                self.board.put(key, LiveStatus::of("v1", &object));
            }
            None => self.board.replace("Service", []),
        }
    }

    /// The plan has `web` with these addresses and reason, and so has the chronicle.
    fn plan(&self, addresses: &[&str], reason: &str, announced: Option<bool>) {
        let name = ObjectName::new("default", "web");
        let assigned = |ip: &&str| AssignedAddress {
            address: ip.parse().expect("an address"),
            pool: "lan".into(),
        };
        let entry = Assignment {
            created: 1,
            addresses: addresses.iter().map(assigned).collect(),
            external_ips: Vec::new(),
            reason: reason.into(),
            message: "".into(),
        };
        let services = BTreeMap::from([(name.clone(), Arc::new(entry))]);
        let holds = |holds| {
            if holds {
                ConditionStatus::True
            } else {
                ConditionStatus::False
            }
        };
        let condition = |kind, status: ConditionStatus, reason: &str| Condition {
            kind,
            status,
            reason: reason.into(),
            message: "".into(),
            last_transition: SystemTime::now(),
        };
        let request = condition(IPAM_REQUEST_SATISFIED, holds(reason == "satisfied"), reason);
        let announced = announced.map(|is| {
            let reason = if is { "announced" } else { "pending" };
            condition(ANNOUNCED, holds(is), reason)
        });
        let account = Account {
            status: [Some(request), announced].into_iter().flatten().collect(),
            ..Account::default()
        };
        let accounts = BTreeMap::from([(name, Arc::new(account))]);
        self.accounts.send_replace(Arc::new(accounts));
        self.plan.send_modify(|plan| {
            let mut new = Plan::clone(plan);
            new.addresses = AddressPlan {
                services: Arc::new(services),
                ..plan.addresses.clone()
            };
            *plan = Arc::new(new);
        });
    }

    /// The plan has no Service.
    fn plan_nothing(&self) {
        self.plan.send_modify(|plan| {
            let mut new = Plan::clone(plan);
            new.addresses = AddressPlan::default();
            *plan = Arc::new(new);
        });
    }

    /// Lets the task come to rest, for so long, with the source telling what the server has.
    async fn rest(&self, seconds: u64) {
        for _ in 0..seconds * 10 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            self.see();
        }
    }

    fn status(&self) -> Value {
        self.server.object(WEB).expect("it is there")["status"].clone()
    }

    fn condition(&self, kind: &str) -> Value {
        let status = self.status();
        let conditions = status["conditions"].as_array().cloned();
        let mut conditions = conditions.unwrap_or_default().into_iter();
        conditions.find(|it| it["type"] == kind).unwrap_or_default()
    }

    fn writes(&self) -> Vec<Seen> {
        self.server.writes()
    }
}

fn ingress(address: &str) -> Value {
    json!([{"ip": address, "ipMode": "VIP"}])
}

/// `managedFields` of one who wrote the addresses.
fn addressed_by(manager: &str) -> Value {
    json!([{"manager": manager, "operation": "Update", "subresource": "status",
        "fieldsV1": {"f:status": {"f:loadBalancer": {"f:ingress": {}}}}}])
}

#[tokio::test(start_paused = true)]
async fn addresses_and_conditions_are_applied_by_our_field_manager_and_then_nothing_more() {
    let rig = Rig::new();
    rig.service(json!({"loadBalancer": {}}), json!([]));
    rig.plan(&[ADDRESS], "satisfied", Some(false));
    rig.rest(1).await;
    rig.plan(&[ADDRESS], "satisfied", Some(true));
    rig.rest(30).await;
    let writes = rig.writes();
    assert_eq!(writes.len(), 2, "{writes:?}");
    let first = &writes[0];
    assert_eq!(
        (first.method.as_str(), first.path.as_str()),
        ("PATCH", "/api/v1/namespaces/default/services/web/status")
    );
    assert!(
        first.query.contains("fieldManager=landfall-status"),
        "{}",
        first.query
    );
    assert!(!first.query.contains("force"), "{}", first.query);
    assert_eq!(first.content_type, "application/apply-patch+yaml");
    assert_eq!(rig.status()["loadBalancer"]["ingress"], ingress(ADDRESS));
    assert_eq!(rig.condition(IPAM_REQUEST_SATISFIED)["status"], "True");
    assert_eq!(rig.condition(ANNOUNCED)["status"], "True");
    let since = rig.condition(IPAM_REQUEST_SATISFIED)["lastTransitionTime"].clone();
    rig.plan(&[ADDRESS], "satisfied", Some(true));
    rig.rest(30).await;
    assert_eq!(rig.writes().len(), 2);
    assert_eq!(
        rig.condition(IPAM_REQUEST_SATISFIED)["lastTransitionTime"],
        since
    );
    assert_eq!(rig.reports.borrow().written, 2);
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_starts_writes_nothing_where_everything_is_as_it_was() {
    let first = Rig::new();
    first.service(json!({"loadBalancer": {}}), json!([]));
    first.plan(&[ADDRESS], "satisfied", Some(true));
    first.rest(2).await;
    let writes = first.writes().len();
    let next = Rig::on(first.server.clone());
    drop(first);
    next.see();
    next.rest(1).await;
    // Nothing of the record is known yet, then nobody seems to answer, and then all is as it was.
    next.plan(&[], "pending", None);
    next.rest(1).await;
    next.plan(&[ADDRESS], "satisfied", Some(false));
    next.rest(3).await;
    next.plan(&[ADDRESS], "satisfied", Some(true));
    next.rest(60).await;
    assert_eq!(next.writes().len(), writes);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_by_a_node_that_does_not_allocate_or_goes_by_its_memory() {
    let rig = Rig::new();
    rig.allocating.send_replace(false);
    rig.service(json!({"loadBalancer": {}}), json!([]));
    rig.plan(&[ADDRESS], "satisfied", Some(true));
    rig.rest(10).await;
    rig.plan.send_modify(|plan| {
        let mut new = Plan::clone(plan);
        new.recalled = [SourceId::Kubernetes].into();
        *plan = Arc::new(new);
    });
    rig.allocating.send_replace(true);
    rig.rest(10).await;
    assert!(rig.writes().is_empty());
    rig.plan.send_modify(|plan| {
        let mut new = Plan::clone(plan);
        new.recalled.clear();
        *plan = Arc::new(new);
    });
    rig.rest(1).await;
    assert_eq!(rig.writes().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_none_of_ours_any_more_is_released_and_others_words_stay() {
    let rig = Rig::new();
    let theirs = json!({"type": "other.dev/Ready", "status": "True", "reason": "r", "message": "",
        "lastTransitionTime": "2026-01-02T03:04:05Z"});
    rig.service(
        json!({"loadBalancer": {}, "conditions": [theirs]}),
        json!([]),
    );
    rig.plan(&[ADDRESS], "satisfied", Some(true));
    rig.rest(2).await;
    assert_eq!(rig.status()["conditions"].as_array().map(Vec::len), Some(3));
    rig.plan_nothing();
    rig.rest(5).await;
    assert_eq!(
        rig.status(),
        json!({"loadBalancer": {}, "conditions": [theirs]})
    );
    let writes = rig.writes().len();
    rig.rest(30).await;
    assert_eq!(rig.writes().len(), writes, "once is enough");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_becomes_impossible_takes_the_addresses_away_and_says_why() {
    let rig = Rig::new();
    rig.service(json!({"loadBalancer": {}}), json!([]));
    rig.plan(&[ADDRESS], "satisfied", Some(true));
    rig.rest(2).await;
    rig.plan(&[], "no_pool", None);
    rig.rest(2).await;
    assert_eq!(rig.status()["loadBalancer"], json!({}));
    let condition = rig.condition(IPAM_REQUEST_SATISFIED);
    assert_eq!(
        (&condition["status"], &condition["reason"]),
        (&json!("False"), &json!("no_pool"))
    );
}

#[tokio::test(start_paused = true)]
async fn addresses_that_another_controller_wrote_are_left_alone_and_told_once() {
    for manager in ["cloud-controller-manager", "other-class", "kubectl-edit"] {
        let mut rig = Rig::new();
        let status = json!({"loadBalancer": {"ingress": ingress("203.0.113.9")}});
        rig.service(status.clone(), addressed_by(manager));
        rig.plan(&[ADDRESS], "satisfied", Some(true));
        rig.rest(60).await;
        assert_eq!(rig.status(), status, "{manager}");
        assert!(rig.writes().is_empty(), "{manager}");
        let notice = rig.notices.try_recv().expect("it is told");
        assert_eq!(notice.reason, "StatusNotWritten");
        assert!(rig.notices.try_recv().is_err(), "once");
        assert_eq!(rig.reports.borrow().complaints.len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_conflict_that_only_the_server_sees_is_asked_for_once_and_again_when_things_change() {
    let mut rig = Rig::new();
    let status = json!({"loadBalancer": {"ingress": ingress("203.0.113.9")}});
    rig.service(status, addressed_by("cloud-controller-manager"));
    // The source lags: it has not seen the other's addresses.
    let stale = json!({"metadata": {"namespace": "default", "name": "web", "uid": "u1", "resourceVersion": "1"}});
    let key = LiveKey::of("Service", &stale);
    rig.board.put(key.clone(), LiveStatus::of("v1", &stale));
    rig.plan(&[ADDRESS], "satisfied", Some(true));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(rig.writes().len(), 1);
    assert!(rig.notices.try_recv().is_ok());
    // The other one lets go.
    rig.service(json!({"loadBalancer": {}}), json!([]));
    rig.rest(1).await;
    assert_eq!(rig.status()["loadBalancer"]["ingress"], ingress(ADDRESS));
    assert!(rig.reports.borrow().complaints.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_gone_is_asked_for_once() {
    let rig = Rig::new();
    rig.service(json!({"loadBalancer": {}}), json!([]));
    rig.server.remove(WEB);
    rig.plan(&[ADDRESS], "satisfied", Some(true));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(rig.writes().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn while_the_server_is_away_one_object_asks_for_all_and_soon_after_its_return_all_is_written()
{
    for mood in [Mood::Refusing(503), Mood::Silent] {
        let rig = Rig::new();
        rig.service(json!({"loadBalancer": {}}), json!([]));
        rig.server.set_mood(mood);
        rig.plan(&[ADDRESS], "satisfied", Some(true));
        rig.rest(90).await;
        let tried = rig.writes().len();
        assert!((10..=95).contains(&tried), "{mood:?}: {tried}");
        rig.server.set_mood(Mood::Well);
        rig.rest(5).await;
        assert_eq!(
            rig.status()["loadBalancer"]["ingress"],
            ingress(ADDRESS),
            "{mood:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_lags_causes_no_second_write() {
    let rig = Rig::new();
    rig.service(json!({"loadBalancer": {}}), json!([]));
    rig.plan(&[ADDRESS], "satisfied", Some(true));
    tokio::time::sleep(Duration::from_secs(10)).await;
    rig.plan(&[ADDRESS], "satisfied", Some(true));
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(rig.writes().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn writes_are_counted_by_how_they_ended() {
    let scrape = Scrape::new();
    let _here = scrape.here();
    let rig = Rig::new();
    let ended = |how: &str| {
        let series = format!("landfall_status_writes_total{{outcome=\"{how}\"}}");
        scrape.value(&series).expect("it is there from the start")
    };
    assert!(Outcome::ALL.iter().all(|how| ended(how) == 0.0));
    rig.service(json!({"loadBalancer": {}}), json!([]));
    rig.plan(&[ADDRESS], "satisfied", Some(true));
    rig.rest(2).await;
    assert_eq!((ended("written"), ended("away")), (1.0, 0.0));
    rig.server.set_mood(Mood::Refusing(503));
    rig.plan(&[], "out_of_ips", None);
    rig.rest(10).await;
    assert_eq!(ended("written"), 1.0);
    assert_eq!(ended("away"), rig.reports.borrow().failed as f64);
    assert!(ended("away") >= 2.0, "each attempt counts");
    rig.server.set_mood(Mood::Refusing(400));
    rig.rest(10).await;
    assert!(ended("refused") >= 1.0);
}
