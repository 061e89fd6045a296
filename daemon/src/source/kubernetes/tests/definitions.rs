//! Definitions that are missing, come, and go.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use super::server::{CILIUM_POLICIES, CILIUM_POOLS, LEASE, POLICIES, POOLS, Server};
use super::*;
use crate::source::kubernetes::{Content, WatchedKind};

#[tokio::test(start_paused = true)]
async fn a_missing_definition_is_named_with_its_remedy_and_picked_up_when_it_appears() {
    let (server, directory) = (Server::new(), directory());
    server.undefine(POOLS);
    let (mut source, batch) = Source::synced(&server, &directory).await;
    let told = complaints(&batch);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].contains("loadbalancerippools.landfall.dev"),
        "{told:?}"
    );
    assert!(
        told[0].contains("landfall crds | kubectl apply -f -"),
        "{told:?}"
    );
    let kinds = source.state.borrow().kinds.clone();
    assert_eq!(kinds[&WatchedKind::Pool].content, Content::Missing);
    assert_eq!(kinds[&WatchedKind::Policy].content, Content::Synced);

    server.requests();
    tokio::time::sleep(Duration::from_secs(100)).await;
    let asked = server.requests();
    // Both groups are looked for, every five seconds each.
    assert!((20..=60).contains(&asked.len()), "{}", asked.len());

    server.define(POOLS);
    server.put(POOLS, pool("lan", "192.0.2.64/28"));
    let batch = timeout(Duration::from_secs(6), source.next())
        .await
        .expect("soon");
    let mut all = batch;
    while delivered(&all).is_empty() {
        all.extend(source.next().await);
    }
    assert_eq!(delivered(&all), ["Pool lan"]);
    assert_eq!(complaints(&all), Vec::<String>::new());
    let kinds = source.state.borrow().kinds.clone();
    assert_eq!(kinds[&WatchedKind::Pool].content, Content::Synced);
}

#[tokio::test(start_paused = true)]
async fn nobody_misses_the_definitions_of_cilium_and_they_count_when_they_come() {
    let (server, directory) = (Server::new(), directory());
    let (mut source, batch) = Source::synced(&server, &directory).await;
    assert_no_errors(&batch);
    server.define(CILIUM_POOLS);
    server.define(CILIUM_POLICIES);
    server.put(CILIUM_POOLS, pool("lan", "192.0.2.64/28"));
    assert_eq!(delivered(&source.next().await), ["Pool lan"]);
}

#[tokio::test(start_paused = true)]
async fn kinds_of_cilium_are_left_alone_while_its_operator_runs() {
    let (server, directory) = (Server::new(), directory());
    server.define(CILIUM_POOLS);
    server.define(CILIUM_POLICIES);
    server.put(CILIUM_POOLS, pool("theirs", "192.0.2.64/28"));
    server.put(POOLS, pool("ours", "192.0.2.80/28"));
    server.renew(Some(Timestamp::now().to_string()));
    let (mut source, batch) = Source::synced(&server, &directory).await;
    assert_eq!(delivered(&batch), ["Pool ours"]);
    let content = |source: &Source| source.state.borrow().kinds[&WatchedKind::CiliumPool].content;
    assert_eq!(content(&source), Content::LeftAlone);
    server.renew(None);
    assert_eq!(delivered(&source.next().await), ["Pool theirs"]);
    assert_eq!(content(&source), Content::Synced);
    server.renew(Some(Timestamp::now().to_string()));
    assert_eq!(delivered(&source.next().await), ["-Pool theirs"]);
    assert_eq!(content(&source), Content::LeftAlone);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_refuses_everybody_for_a_while_gives_nothing_of_cilium_to_us() {
    let (server, directory) = (Server::new(), directory());
    server.define(CILIUM_POOLS);
    server.define(CILIUM_POLICIES);
    server.put(CILIUM_POOLS, pool("theirs", "192.0.2.64/28"));
    server.renew(Some(Timestamp::now().to_string()));
    server.forbid(LEASE);
    let mut source = Source::start(&server, &directory);
    assert_eq!(
        source.told_within(Duration::from_secs(5)).await,
        Vec::<String>::new()
    );
    assert!(!source.state.borrow().is_synced());
    server.allow(LEASE);
    assert_eq!(
        delivered(&source.until_synced().await),
        Vec::<String>::new()
    );
    server.forbid(LEASE);
    assert_eq!(source.told_within(LONG).await, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn who_may_not_look_at_the_operator_of_cilium_takes_it_for_gone() {
    let (server, directory) = (Server::new(), directory());
    server.define(CILIUM_POOLS);
    server.define(CILIUM_POLICIES);
    server.put(CILIUM_POOLS, pool("ours", "192.0.2.64/28"));
    server.forbid(LEASE);
    let (_source, batch) = Source::synced(&server, &directory).await;
    assert_eq!(delivered(&batch), ["Pool ours"]);
}

#[tokio::test(start_paused = true)]
async fn kinds_of_cilium_that_are_not_ours_are_not_even_looked_for() {
    let (server, directory) = (Server::new(), directory());
    server.define(CILIUM_POOLS);
    let class = ClassPolicy {
        cilium: false,
        ..ClassPolicy::default()
    };
    let mut source = Source::of_class(&server, &directory, class);
    source.until_synced().await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let asked = server.requests();
    assert!(!asked.iter().any(|it| it.contains("cilium")), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn a_definition_that_is_gone_for_a_moment_takes_nothing_away() {
    let (server, directory) = (Server::new(), directory());
    server.put(POOLS, pool("lan", "192.0.2.64/28"));
    let (mut source, _) = Source::synced(&server, &directory).await;
    let objects = server.undefine(POOLS);
    server.compact();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(
        source.state.borrow().kinds[&WatchedKind::Pool]
            .trouble
            .is_some()
    );
    server.define_with(POOLS, objects);
    let told = source.told_within(Duration::from_secs(60)).await;
    assert_eq!(told, Vec::<String>::new());
    assert_eq!(source.state.borrow().trouble(), None);
}

#[tokio::test(start_paused = true)]
async fn a_definition_that_stays_away_takes_its_objects_along() {
    let (server, directory) = (Server::new(), directory());
    server.put(POOLS, pool("lan", "192.0.2.64/28"));
    let (mut source, _) = Source::synced(&server, &directory).await;
    server.undefine(POOLS);
    server.undefine(POLICIES);
    server.compact();
    let soon = source.told_within(Duration::from_secs(3)).await;
    assert_eq!(soon, Vec::<String>::new());
    let later = source.until(|batch| !delivered(batch).is_empty()).await;
    assert_eq!(delivered(&later), ["-Pool lan"]);
    assert!(
        complaints(&later)[0].contains("is not installed"),
        "{later:?}"
    );
}
