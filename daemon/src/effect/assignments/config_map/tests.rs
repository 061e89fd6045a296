use landfall_core::model::{Assignment, ServiceName};
use landfall_core::plan::addresses::Proposal;
use serde_json::{Value, json};

use super::super::AssignmentStore;
use super::*;
use crate::effect::api_stand_in::{ApiStandIn, Mood};

mod allocators;

const PATH: &str = "/api/v1/namespaces/landfall-system/configmaps/landfall-assignments";

/// An agent's side of the record.
struct Agent {
    store: AssignmentStore,
    publish: watch::Sender<Held>,
    observed: watch::Receiver<Held>,
    cancel: CancellationToken,
}

impl Agent {
    fn start(server: &ApiStandIn, state: &Path) -> Self {
        let node = NodeName::new("n1");
        let client = server.client();
        let object = AssignmentObject::new(client, "landfall-system", "https://api", state, node);
        let store = AssignmentStore::Object(object);
        let (publish, observed) = watch::channel(None);
        let cancel = CancellationToken::new();
        tokio::spawn(store.clone().follow(publish.clone(), cancel.clone()));
        tokio::spawn(
            store
                .clone()
                .recall_in_time(publish.clone(), cancel.clone()),
        );
        Self {
            store,
            publish,
            observed,
            cancel,
        }
    }

    async fn until(
        &mut self,
        what: &str,
        found: impl Fn(&ObservedAssignments) -> bool,
    ) -> ObservedAssignments {
        let wanted = self
            .observed
            .wait_for(|held| held.as_ref().is_some_and(&found));
        let held = tokio::time::timeout(Duration::from_secs(20), wanted).await;
        let held = held.unwrap_or_else(|_| panic!("{what}"));
        held.expect("somebody publishes")
            .clone()
            .expect("it was found")
    }

    async fn write(
        &self,
        expected: Option<Revision>,
        record: AssignmentRecord,
    ) -> Result<Written, WriteError> {
        let record = Arc::new(record);
        self.store
            .write(&Arc::new(Proposal { expected, record }))
            .await
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

fn record(services: &[&str]) -> AssignmentRecord {
    let entry = |name: &&str| {
        let assignment = Assignment {
            created: 1,
            addresses: Vec::new(),
            external_ips: Vec::new(),
            reason: "no_pool".into(),
            message: "".into(),
        };
        (ServiceName::new("default", *name), Arc::new(assignment))
    };
    AssignmentRecord {
        services: services.iter().map(entry).collect(),
        ..AssignmentRecord::default()
    }
}

fn name(name: &str) -> ServiceName {
    ServiceName::new("default", name)
}

fn at(written: Result<Written, WriteError>) -> Revision {
    match written {
        Ok(Written::At(revision)) => revision,
        other => panic!("it was not written: {other:?}"),
    }
}

#[tokio::test]
async fn of_two_writers_that_expect_one_revision_a_single_one_succeeds() {
    let (server, state) = (ApiStandIn::new(), tempfile::tempdir().expect("a directory"));
    let mut agent = Agent::start(&server, state.path());
    agent
        .until("there is none", |held| held.lost && held.revision.is_none())
        .await;
    let first = at(agent.write(None, record(&["a"])).await);
    let again = agent.write(None, record(&["b"])).await;
    assert!(matches!(again, Ok(Written::Conflict)));
    let second = at(agent.write(Some(first), record(&["c"])).await);
    let late = agent.write(Some(first), record(&["d"])).await;
    assert!(matches!(late, Ok(Written::Conflict)));
    let held = agent
        .until("the second", |held| held.revision == Some(second))
        .await;
    assert_eq!((&*held.record, held.lost), (&record(&["c"]), false));
    let methods: Vec<String> = server.writes().into_iter().map(|it| it.method).collect();
    assert_eq!(methods, ["POST", "POST", "PUT", "PUT"]);
    let object = server.object(PATH).expect("it is there");
    let summary = object["data"]["summary"].as_str().expect("a text");
    assert!(
        summary.starts_with("1 Services with 0 addresses, written by n1."),
        "{summary}"
    );
}

#[tokio::test]
async fn a_record_that_was_edited_by_hand_is_not_believed_and_the_next_write_goes_above_it() {
    let (server, state) = (ApiStandIn::new(), tempfile::tempdir().expect("a directory"));
    let mut agent = Agent::start(&server, state.path());
    at(agent.write(None, record(&["a"])).await);
    agent.until("the record", |held| !held.lost).await;
    let whole = server.object(PATH).expect("it is there");
    let edits: [(&str, Value); 4] = [
        ("/binaryData/record", json!("bm8gcmVjb3Jk")),
        ("/data/checksum", json!("00")),
        ("/data/layout", json!("7")),
        ("/binaryData", json!(null)),
    ];
    for (pointer, value) in edits {
        let mut edited = server.object(PATH).expect("it is there");
        *edited.pointer_mut(pointer).expect("a field") = value;
        server.put(PATH, edited);
        let lost = agent.until(pointer, |held| held.lost).await;
        assert_eq!(*lost.record, record(&["a"]), "{pointer}");
        let written = at(agent.write(lost.revision, record(&["a"])).await);
        let held = agent.until(pointer, |held| !held.lost).await;
        assert_eq!(held.revision, Some(written));
        assert_eq!(
            server.object(PATH).expect("there")["binaryData"],
            whole["binaryData"]
        );
    }
}

#[tokio::test]
async fn a_record_that_was_deleted_is_lost_and_stays_in_force_also_over_a_restart() {
    let (server, state) = (ApiStandIn::new(), tempfile::tempdir().expect("a directory"));
    let mut agent = Agent::start(&server, state.path());
    at(agent.write(None, record(&["a"])).await);
    agent.until("the record", |held| !held.lost).await;
    // What is remembered is written behind the publishing.
    let memory = match &agent.store {
        AssignmentStore::Object(object) => object.memory().clone(),
        AssignmentStore::Files(_) => panic!("an object"),
    };
    while memory.load().is_none() {
        tokio::task::yield_now().await;
    }
    server.remove(PATH);
    let lost = agent.until("the loss", |held| held.lost).await;
    assert_eq!((lost.revision, &*lost.record), (None, &record(&["a"])));
    drop(agent);
    let mut next = Agent::start(&server, state.path());
    let lost = next.until("the loss", |_| true).await;
    assert_eq!((lost.revision, &*lost.record), (None, &record(&["a"])));
    assert!(lost.lost && !lost.recalled);
}

#[tokio::test]
async fn a_store_that_was_put_back_to_an_earlier_revision_is_believed_once_it_is_read_whole() {
    let (server, state) = (ApiStandIn::new(), tempfile::tempdir().expect("a directory"));
    let mut agent = Agent::start(&server, state.path());
    let first = at(agent.write(None, record(&["a"])).await);
    agent
        .until("the first", |held| held.revision == Some(first))
        .await;
    let old = server.object(PATH).expect("it is there");
    let second = at(agent.write(Some(first), record(&["a", "b"])).await);
    agent
        .until("the second", |held| held.revision == Some(second))
        .await;
    server.restore(7, PATH, old);
    server.cut_watches();
    let held = agent
        .until("the restored one", |held| {
            held.revision == Some(Revision(7))
        })
        .await;
    assert_eq!(*held.record, record(&["a"]));
}

#[tokio::test(start_paused = true)]
async fn what_was_read_last_stands_in_for_a_server_that_is_away_until_it_is_back() {
    let (server, state) = (ApiStandIn::new(), tempfile::tempdir().expect("a directory"));
    let mut agent = Agent::start(&server, state.path());
    let written = at(agent.write(None, record(&["a"])).await);
    agent.until("the record", |held| !held.lost).await;
    let memory = Memory::new(
        state.path(),
        "https://api landfall-system/landfall-assignments",
    );
    while memory.load().is_none() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    drop(agent);
    for mood in [Mood::Silent, Mood::Refusing(503)] {
        server.set_mood(mood);
        let begun = tokio::time::Instant::now();
        let mut agent = Agent::start(&server, state.path());
        let recalled = agent.until("what is remembered", |_| true).await;
        assert!(begun.elapsed() < Duration::from_secs(2), "{mood:?}");
        assert_eq!(
            (recalled.recalled, &*recalled.record),
            (true, &record(&["a"]))
        );
        let refused = agent.write(recalled.revision, record(&["b"])).await;
        assert!(matches!(
            refused,
            Err(WriteError::Silent(_) | WriteError::Api(_))
        ));
        tokio::time::sleep(Duration::from_secs(90)).await;
        server.set_mood(Mood::Well);
        let back = tokio::time::Instant::now();
        let held = agent.until("the server's", |held| !held.recalled).await;
        assert!(back.elapsed() <= Duration::from_secs(5), "{mood:?}");
        assert_eq!((held.revision, held.lost), (Some(written), false));
    }
}

#[tokio::test]
async fn a_watch_that_is_cut_off_goes_on_where_it_was() {
    let (server, state) = (ApiStandIn::new(), tempfile::tempdir().expect("a directory"));
    let mut agent = Agent::start(&server, state.path());
    let first = at(agent.write(None, record(&["a"])).await);
    agent
        .until("the first", |held| held.revision == Some(first))
        .await;
    server.cut_watches();
    let other = Agent::start(&server, &state.path().join("other"));
    let second = at(other.write(Some(first), record(&["b"])).await);
    let held = agent
        .until("the other's", |held| held.revision == Some(second))
        .await;
    assert_eq!(*held.record, record(&["b"]));
}

#[tokio::test]
async fn a_record_too_large_for_its_object_is_refused_by_name_and_nothing_is_sent() {
    let (server, state) = (ApiStandIn::new(), tempfile::tempdir().expect("a directory"));
    let agent = Agent::start(&server, state.path());
    // What cannot be deflated: a hash of each number.
    let name = |index: u64| {
        let word =
            |salt: u64| landfall_ebpf::maglev::identity(&(index ^ (salt << 40)).to_le_bytes());
        format!("{:016x}{:016x}", word(1), word(2))
    };
    let names: Vec<String> = (0..70_000).map(name).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let error = agent
        .write(None, record(&names))
        .await
        .expect_err("too large");
    assert!(
        matches!(
            error,
            WriteError::TooLarge {
                most: RECORD_LIMIT,
                ..
            }
        ),
        "{error:?}"
    );
    assert!(server.writes().is_empty());
    assert!(agent.publish.borrow().as_ref().is_none_or(|held| held.lost));
}

#[tokio::test]
async fn services_that_there_is_no_room_for_are_left_out_by_name_and_the_others_go_on() {
    let (server, state) = (ApiStandIn::new(), tempfile::tempdir().expect("a directory"));
    let mut agent = Agent::start(&server, state.path());
    let (proposals, proposed) = watch::channel(None);
    let (told, mut left_out) = watch::channel(Arc::default());
    let writer = agent.store.clone().write_proposals(
        proposed,
        (agent.publish.clone(), told),
        agent.cancel.clone(),
    );
    tokio::spawn(writer);
    let propose = |expected, record: &AssignmentRecord| {
        let record = Arc::new(record.clone());
        proposals.send_replace(Some(Arc::new(Proposal { expected, record })));
    };
    let lost = agent.until("there is none", |held| held.lost).await;
    propose(lost.revision, &record(&["old", "going"]));
    let first = agent.until("the first record", |held| !held.lost).await;
    // One that alone takes more than an object has, older than the other newcomer; one goes.
    let mut more = record(&["old", "huge", "small"]);
    let huge = Arc::make_mut(more.services.get_mut(&name("huge")).expect("there"));
    let words = (0..160_000_u64).map(|word| landfall_ebpf::maglev::identity(&word.to_le_bytes()));
    let words: String = words.map(|word| format!("{word:016x}")).collect();
    huge.message = words.into();
    let small = Arc::make_mut(more.services.get_mut(&name("small")).expect("there"));
    small.created = 2;
    propose(first.revision, &more);
    let held = agent
        .until("what fits", |held| held.revision > first.revision)
        .await;
    assert_eq!(*held.record, record(&["old"]), "the oldest come first");
    let wait = Duration::from_secs(20);
    let all = |left_out: &Arc<std::collections::BTreeSet<ServiceName>>| left_out.len() == 2;
    let found = tokio::time::timeout(wait, left_out.wait_for(all)).await;
    let found = found.expect("told").expect("the writer runs").clone();
    assert_eq!(*found, [name("huge"), name("small")].into());
    // The same again needs no write.
    let writes = server.writes().len();
    let again = Proposal {
        expected: held.revision,
        record: Arc::new(more),
    };
    let put = agent.store.put(&Arc::new(again), Some(held.clone())).await;
    let put = put.expect("a part of it is there");
    assert_eq!(Some(put.written), held.revision.map(Written::At));
    assert_eq!(server.writes().len(), writes);
    propose(held.revision, &record(&["old", "small"]));
    let last = agent
        .until("all of it", |last| last.revision > held.revision)
        .await;
    assert_eq!(last.record.services.len(), 2);
    let none = left_out.wait_for(|left_out| left_out.is_empty());
    let none = tokio::time::timeout(wait, none).await;
    none.expect("told").expect("the writer runs");
    assert_eq!(server.writes().len(), writes + 1);
}

#[test]
fn ten_thousand_services_with_two_addresses_each_fit_in_an_object() {
    let assigned = |address: String| landfall_core::model::AssignedAddress {
        address: address.parse().expect("an address"),
        pool: "production-pool".into(),
    };
    let entry = |index: u32| {
        let name = ServiceName::new(
            format!("team-{}", index % 97),
            format!("service-{index}-frontend"),
        );
        let (high, low) = (index >> 8, index & 255);
        let assignment = Assignment {
            created: 1_700_000_000 + u64::from(index) * 17,
            addresses: vec![
                assigned(format!("10.100.{high}.{low}")),
                assigned(format!("2001:db8::{index:x}")),
            ],
            external_ips: Vec::new(),
            reason: "satisfied".into(),
            message: "".into(),
        };
        (name, Arc::new(assignment))
    };
    let record = AssignmentRecord {
        services: (0..10_000).map(entry).collect(),
        ..AssignmentRecord::default()
    };
    let text = content::to_text(&record).len();
    let packed = content::pack(&record);
    assert!(text > 1 << 20, "{text}");
    assert!(
        packed.record.len() < RECORD_LIMIT / 2,
        "{}",
        packed.record.len()
    );
    let unpacked = content::unpack(&packed.record, &packed.checksum);
    assert_eq!(unpacked.as_ref(), Ok(&record));
}
