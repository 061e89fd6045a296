use std::time::SystemTime;

use landfall_core::model::ObjectName;
use landfall_core::report::Event as Told;
use serde_json::{Value, json};

use super::*;
use crate::effect::api_stand_in::{ApiStandIn, Mood};
use crate::source::kubernetes_status::{LiveBoard, LiveStatus};
use crate::telemetry::Scrape;

/// The task of a node, and what tells it things.
struct Rig {
    server: ApiStandIn,
    accounts: watch::Sender<Accounts>,
    allocating: watch::Sender<bool>,
    notices: mpsc::Sender<Notice>,
    _board: LiveBoard,
    serial: u64,
    cancel: CancellationToken,
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

impl Rig {
    fn new(node: &str) -> Self {
        let server = ApiStandIn::new();
        let (board, live) = LiveBoard::new();
        let object = json!({"metadata": {"namespace": "default", "name": "web", "uid": "u1"}});
        board.put(
            LiveKey::of("Service", &object),
            LiveStatus::of("v1", &object),
        );
        let (accounts, accounts_seen) = watch::channel(Accounts::default());
        let (allocating, allocating_seen) = watch::channel(false);
        let (notices, notices_seen) = mpsc::channel(16);
        let inputs = Inputs {
            accounts: accounts_seen,
            notices: notices_seen,
            live,
            allocating: allocating_seen,
        };
        let cancel = CancellationToken::new();
        let node = NodeName::new(node);
        tokio::spawn(run(server.client(), node, inputs, cancel.clone()));
        Self {
            server,
            accounts,
            allocating,
            notices,
            _board: board,
            serial: 0,
            cancel,
        }
    }

    /// Something happens to a Service, by this node's chronicle.
    async fn happens(&mut self, service: &str, reason: &'static str, message: &str) {
        let event = Told {
            kind: EventKind::Normal,
            reason,
            message: message.into(),
            first: SystemTime::now(),
            last: SystemTime::now(),
            count: 1,
            serial: self.serial,
        };
        self.serial += 1;
        self.accounts.send_modify(|accounts| {
            let accounts = Arc::make_mut(accounts);
            let account = accounts
                .entry(ObjectName::new("default", service))
                .or_default();
            Arc::make_mut(account).events.push(event);
        });
        tokio::time::sleep(Duration::from_secs(1)).await;
    }

    /// Method, reason and note of what was sent.
    fn sent(&self) -> Vec<(String, String, String)> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let sent = self.server.writes().into_iter();
        sent.map(|it| (it.method, text(&it.body["reason"]), text(&it.body["note"])))
            .collect()
    }
}

#[tokio::test(start_paused = true)]
async fn the_allocator_tells_of_requests_and_every_node_of_its_own_announcing() {
    let mut rig = Rig::new("n1");
    rig.happens("web", "IPAllocated", "192.0.2.1 from pool lan")
        .await;
    rig.happens("web", "Announcing", "n1 answers").await;
    rig.allocating.send_replace(true);
    rig.happens("web", "AllocationFailed", "no_pool: none")
        .await;
    let sent = rig.sent();
    let reasons: Vec<&str> = sent.iter().map(|(_, reason, _)| reason.as_str()).collect();
    assert_eq!(reasons, ["Announcing", "AllocationFailed"]);
    let writes = rig.server.writes();
    let body = &writes[0].body;
    assert_eq!(
        writes[0].path,
        "/apis/events.k8s.io/v1/namespaces/default/events"
    );
    assert_eq!(body["reportingController"], "landfall.dev/agent");
    assert_eq!(body["reportingInstance"], "n1");
    assert_eq!(
        body["regarding"],
        json!({"apiVersion": "v1", "kind": "Service", "namespace": "default", "name": "web", "uid": "u1"})
    );
}

#[tokio::test(start_paused = true)]
async fn the_same_again_is_counted_and_another_sentence_is_another_event() {
    let mut rig = Rig::new("n1");
    rig.happens("web", "Announcing", "on ens3").await;
    rig.happens("web", "Announcing", "on ens3").await;
    rig.happens("web", "Announcing", "on ens4").await;
    let methods: Vec<String> = rig.sent().into_iter().map(|(method, ..)| method).collect();
    assert_eq!(methods, ["POST", "PATCH", "POST"]);
    assert_eq!(rig.sent()[2].2, "on ens4");
}

#[tokio::test(start_paused = true)]
async fn events_wait_while_the_server_is_away_and_are_told_in_order_when_it_is_back() {
    for mood in [Mood::Silent, Mood::Refusing(500)] {
        let mut rig = Rig::new("n1");
        rig.server.set_mood(mood);
        rig.happens("web", "Announcing", "one").await;
        rig.happens("web", "AddressConflict", "two").await;
        tokio::time::sleep(Duration::from_secs(90)).await;
        rig.server.set_mood(Mood::Well);
        let before = rig.sent().len();
        tokio::time::sleep(Duration::from_secs(10)).await;
        let sent = rig.sent();
        let notes: Vec<&str> = sent[before..].iter().map(|it| it.2.as_str()).collect();
        assert_eq!(notes, ["one", "two"], "{mood:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn events_of_services_that_are_gone_and_refused_ones_hold_nothing_up() {
    let mut rig = Rig::new("n1");
    rig.happens("gone", "Announcing", "of a Service that is no more")
        .await;
    assert!(rig.sent().is_empty());
    rig.server.set_mood(Mood::Refusing(403));
    rig.happens("web", "Announcing", "refused").await;
    rig.server.set_mood(Mood::Well);
    let notice = Notice {
        service: ObjectName::new("default", "web"),
        kind: EventKind::Warning,
        reason: "StatusNotWritten",
        message: "told by the status task".to_owned(),
    };
    rig.notices.send(notice).await.expect("the task lives");
    tokio::time::sleep(Duration::from_secs(5)).await;
    let notes: Vec<String> = rig.sent().into_iter().map(|it| it.2).collect();
    assert_eq!(notes, ["refused", "told by the status task"]);
}

#[test]
fn the_longest_names_and_notes_are_cut_where_the_server_takes_no_more() {
    assert_eq!(shortened("äöü", 4), "äö");
    assert_eq!(shortened("äöü", 3), "ä");
    assert_eq!(shortened("abc", 128), "abc");
    assert_eq!(shortened(&"n".repeat(253), INSTANCE_MOST).len(), 128);
}

#[tokio::test(start_paused = true)]
async fn events_are_counted_by_how_they_ended() {
    let scrape = Scrape::new();
    let _here = scrape.here();
    let ended = || {
        OUTCOMES.map(|how| {
            let series = format!("landfall_event_writes_total{{outcome=\"{how}\"}}");
            scrape.value(&series)
        })
    };
    let mut rig = Rig::new("n1");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(ended(), [Some(0.0); 4]);
    rig.happens("web", "Announcing", "one").await;
    rig.server.set_mood(Mood::Refusing(403));
    rig.happens("web", "Announcing", "two").await;
    rig.server.set_mood(Mood::Refusing(500));
    rig.happens("web", "Announcing", "three").await;
    let [written, refused, away, dropped] = ended().map(Option::unwrap_or_default);
    assert_eq!((written, refused, dropped), (1.0, 1.0, 0.0));
    assert!(away >= 1.0);
}
