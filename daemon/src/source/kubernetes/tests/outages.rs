//! The server away: while the source runs, and when it starts.

use std::time::Duration;

use super::server::{CILIUM_POLICIES, CILIUM_POOLS, NODES, POOLS, SERVICES, Server};
use super::*;
use crate::source::kubernetes::WatchedKind;
use crate::source::kubernetes_status::LiveBoard;
use crate::telemetry::Scrape;

#[tokio::test(start_paused = true)]
async fn while_the_server_is_away_nothing_changes_and_after_it_all_heals() {
    let (server, directory) = (Server::new(), directory());
    server.put(SERVICES, service("a"));
    let (mut source, _) = Source::synced(&server, &directory).await;
    server.stop();
    let told = source.told_within(Duration::from_secs(90)).await;
    assert_eq!(told, Vec::<String>::new());
    let state = source.state.borrow().clone();
    assert!(state.is_synced());
    let (_, trouble) = state.trouble().expect("told");
    assert!(trouble.reason.contains("refused"), "{trouble:?}");
    server.start();
    server.put(SERVICES, service("b"));
    let told = source.told_within(Duration::from_secs(2)).await;
    assert_eq!(told, ["Service default/b"]);
    // Kinds of which there is no news are known to be well too.
    assert_eq!(source.state.borrow().trouble(), None);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_takes_requests_and_answers_none_is_told() {
    let (server, directory) = (Server::new(), directory());
    server.freeze();
    let source = Source::start(&server, &directory);
    tokio::time::sleep(Duration::from_secs(20)).await;
    let state = source.state.borrow().clone();
    assert!(!state.is_synced());
    for kind in WatchedKind::BUILT_IN {
        let trouble = state.kinds[&kind].trouble.as_ref().expect("told");
        assert!(trouble.reason.contains("in time"), "{trouble:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_may_not_be_read_is_named_and_the_others_go_on() {
    let (server, directory) = (Server::new(), directory());
    server.put(SERVICES, service("a"));
    let (mut source, _) = Source::synced(&server, &directory).await;
    server.forbid(SERVICES);
    server.put(NODES, node("node1", "1"));
    let told = source.told_within(Duration::from_secs(10)).await;
    assert_eq!(told, ["Node node1"]);
    let state = source.state.borrow().clone();
    let (kind, trouble) = state.trouble().expect("told");
    assert_eq!(kind, WatchedKind::Service);
    assert!(trouble.reason.contains("forbidden"), "{trouble:?}");
}

/// A directory with a copy of two Services, a Node and a pool of each group.
async fn remembered(server: &Server) -> TempDir {
    let directory = directory();
    server.define(CILIUM_POOLS);
    server.define(CILIUM_POLICIES);
    server.put(SERVICES, service("a"));
    server.put(SERVICES, service("b"));
    server.put(NODES, node("node1", "1"));
    server.put(POOLS, pool("lan", "192.0.2.64/28"));
    server.put(CILIUM_POOLS, pool("more", "192.0.2.80/28"));
    let (source, _) = Source::synced(server, &directory).await;
    source.stop().await;
    directory
}

#[tokio::test(start_paused = true)]
async fn a_start_in_the_dark_goes_by_what_was_remembered_until_the_server_is_there() {
    let server = Server::new();
    let directory = remembered(&server).await;
    server.stop();
    let begun = tokio::time::Instant::now();
    let mut source = Source::start(&server, &directory);
    let recalled = source
        .until(|batch| matches!(batch.last(), Some(Change::Recalled(_))))
        .await;
    assert!(
        begun.elapsed() < Duration::from_millis(1100),
        "{:?}",
        begun.elapsed()
    );
    let mut told = delivered(&recalled);
    told.sort();
    let all = [
        "Node node1",
        "Pool lan",
        "Pool more",
        "Service default/a",
        "Service default/b",
    ];
    assert_eq!(told, all);
    assert!(source.state.borrow().recalled && !source.state.borrow().is_synced());

    assert_eq!(source.told_within(LONG).await, Vec::<String>::new());
    server.delete(SERVICES, "b");
    server.put(SERVICES, service("c"));
    server.start();
    let batch = source.until_synced().await;
    assert_eq!(
        delivered(&batch),
        ["-Service default/b", "Service default/c"]
    );
    assert!(!source.state.borrow().recalled);
}

#[tokio::test(start_paused = true)]
async fn a_start_in_the_light_recalls_nothing() {
    let server = Server::new();
    let directory = remembered(&server).await;
    server.delete(SERVICES, "b");
    let (_source, batch) = Source::synced(&server, &directory).await;
    assert!(
        !batch.iter().any(|it| matches!(it, Change::Recalled(_))),
        "{batch:?}"
    );
    let told = delivered(&batch);
    assert!(!told.iter().any(|it| it.contains("default/b")), "{told:?}");
    assert_eq!(told.len(), 4, "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn the_copy_of_another_server_is_not_acted_on() {
    let server = Server::new();
    let directory = remembered(&server).await;
    server.stop();
    let settings = KubernetesSettings {
        client: server.client(),
        server: "https://10.0.0.2:6443".to_owned(),
        state: directory.path().to_owned(),
        class: ClassPolicy::default(),
        live: LiveBoard::new().0,
    };
    let (sender, mut batches) = mpsc::channel(16);
    let (told, _state) = watch::channel(SourceState::default());
    let cancel = CancellationToken::new();
    let task = tokio::spawn(run(settings, sender, told, cancel.clone()));
    assert!(timeout(LONG, batches.recv()).await.is_err());
    cancel.cancel();
    task.await.expect("an end in good order");
}

#[tokio::test(start_paused = true)]
async fn what_was_good_last_is_remembered_of_an_object_that_is_wrong_now() {
    let (server, directory) = (Server::new(), directory());
    server.put(POOLS, pool("lan", "192.0.2.64/28"));
    let (mut source, _) = Source::synced(&server, &directory).await;
    server.put(POOLS, pool("lan", "nonsense"));
    assert_eq!(complaints(&source.next().await).len(), 1);
    source.stop().await;

    let (source, batch) = Source::synced(&server, &directory).await;
    assert_eq!(delivered(&batch), ["Pool lan"], "{batch:?}");
    assert_eq!(complaints(&batch).len(), 1, "{batch:?}");
    source.stop().await;

    server.stop();
    let mut source = Source::start(&server, &directory);
    assert_eq!(delivered(&source.next().await), ["Pool lan"]);
}

#[tokio::test(start_paused = true)]
async fn a_new_object_of_the_same_name_inherits_nothing() {
    let (server, directory) = (Server::new(), directory());
    server.put(POOLS, pool("lan", "192.0.2.64/28"));
    let (source, _) = Source::synced(&server, &directory).await;
    source.stop().await;
    server.delete(POOLS, "lan");
    server.put(POOLS, pool("lan", "nonsense"));
    let (_source, batch) = Source::synced(&server, &directory).await;
    assert_eq!(delivered(&batch), Vec::<String>::new());
    assert_eq!(complaints(&batch).len(), 1, "{batch:?}");
}

#[tokio::test(start_paused = true)]
async fn objects_and_failures_are_counted_by_kind() {
    let scrape = Scrape::new();
    let _here = scrape.here();
    let failures = |kind: &str| {
        let series = format!("landfall_kind_errors_total{{kind=\"{kind}\"}}");
        scrape.value(&series).expect("it is there from the start")
    };
    let (server, directory) = (Server::new(), directory());
    server.put(SERVICES, service("a"));
    server.put(SERVICES, service("b"));
    let (source, _) = Source::synced(&server, &directory).await;
    let objects = |kind| source.state.borrow().kinds[&kind].objects;
    assert_eq!(objects(WatchedKind::Service), 2);
    assert_eq!(objects(WatchedKind::Node), 0);
    assert_eq!((failures("Service"), failures("Node")), (0.0, 0.0));
    server.forbid(SERVICES);
    tokio::time::sleep(Duration::from_secs(20)).await;
    // What cut off this one kind may have cut off all, once.
    let before = (failures("Service"), failures("Node"));
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(
        failures("Service") >= before.0 + 10.0,
        "each attempt counts"
    );
    assert_eq!(failures("Node"), before.1);
    // What was read stays in force, and so does its count.
    assert_eq!(objects(WatchedKind::Service), 2);
}
