//! Lists, pages, watches.

use std::time::Duration;

use super::server::{CILIUM_POLICIES, CILIUM_POOLS, NODES, POOLS, SERVICES, SLICES, Server};
use super::*;

#[tokio::test(start_paused = true)]
async fn everything_that_is_there_is_told_before_the_source_has_synced() {
    let (server, directory) = (Server::new(), directory());
    server.pages_of(2);
    for name in ["a", "b", "c", "d", "e"] {
        server.put(SERVICES, service(name));
    }
    server.put(NODES, node("node1", "1"));
    server.put(SLICES, slice("web-x", "10.244.1.5", "1"));
    server.put(POOLS, pool("lan", "192.0.2.64/28"));
    let (source, batch) = Source::synced(&server, &directory).await;
    let mut told = delivered(&batch);
    told.sort();
    let expected = [
        "EndpointSlice default/web-x",
        "Node node1",
        "Pool lan",
        "Service default/a",
        "Service default/b",
        "Service default/c",
        "Service default/d",
        "Service default/e",
    ];
    assert_eq!(told, expected);
    assert_no_errors(&batch);
    assert!(source.state.borrow().is_synced());
    assert_eq!(source.state.borrow().trouble(), None);
    let pages = server.requests();
    let pages = pages
        .iter()
        .filter(|it| it.starts_with(SERVICES) && it.contains("continue="));
    assert_eq!(pages.count(), 2);
    source.stop().await;
}

#[tokio::test(start_paused = true)]
async fn changes_are_told_in_the_order_of_the_server_and_ends_as_such() {
    let (server, directory) = (Server::new(), directory());
    let (mut source, _) = Source::synced(&server, &directory).await;
    server.put(SERVICES, service("a"));
    assert_eq!(delivered(&source.next().await), ["Service default/a"]);
    let mut other = service("a");
    other["spec"]["ports"][0]["port"] = 81.into();
    server.put(SERVICES, other);
    let changed = last_service(source.next().await);
    assert_eq!(changed.ports[0].port.get(), 81);
    server.delete(SERVICES, "a");
    assert_eq!(delivered(&source.next().await), ["-Service default/a"]);
    server.put(SERVICES, service("a"));
    assert_eq!(delivered(&source.next().await), ["Service default/a"]);
}

#[tokio::test(start_paused = true)]
async fn what_does_not_matter_to_the_model_is_no_change() {
    let (server, directory) = (Server::new(), directory());
    server.put(NODES, node("node1", "1"));
    server.put(SLICES, slice("web-x", "10.244.1.5", "1"));
    server.put(POOLS, pool("lan", "192.0.2.64/28"));
    let (mut source, _) = Source::synced(&server, &directory).await;
    server.put(NODES, node("node1", "2"));
    server.put(SLICES, slice("web-x", "10.244.1.5", "2"));
    let mut counted = pool("lan", "192.0.2.64/28");
    counted["status"] = json!({"conditions": [{"type": "anything", "of": "Cilium's"}]});
    server.put(POOLS, counted);
    server.cut();
    server.compact();
    let told = timeout(LONG, source.batches.recv()).await;
    assert!(told.is_err(), "{told:?}");
    server.put(SLICES, slice("web-x", "10.244.1.6", "3"));
    assert_eq!(
        delivered(&source.next().await),
        ["EndpointSlice default/web-x"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_cut_off_goes_on_where_it_was() {
    let (server, directory) = (Server::new(), directory());
    let (mut source, _) = Source::synced(&server, &directory).await;
    server.put(SERVICES, service("a"));
    source.next().await;
    server.requests();
    server.cut();
    server.put(SERVICES, service("b"));
    assert_eq!(delivered(&source.next().await), ["Service default/b"]);
    let asked = server.requests();
    let mut asked = asked.iter().filter(|it| it.starts_with(SERVICES));
    let again = asked.next().expect("a request");
    assert!(
        again.contains("watch=true") && again.contains("resourceVersion=101"),
        "{again}"
    );
    assert_eq!(asked.next(), None);
}

#[tokio::test(start_paused = true)]
async fn a_bookmark_spares_a_list_when_the_past_is_forgotten() {
    let (server, directory) = (Server::new(), directory());
    let (mut source, _) = Source::synced(&server, &directory).await;
    server.put(SERVICES, service("a"));
    source.next().await;
    server.bookmark();
    tokio::time::sleep(Duration::from_secs(1)).await;
    server.forget();
    server.requests();
    server.cut();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let asked = server.requests();
    let listed: Vec<_> = asked.iter().filter(|it| it.contains("limit=")).collect();
    assert!(listed.is_empty(), "{listed:?}");
    let watched = asked.iter().filter(|it| it.contains("resourceVersion=102"));
    assert_eq!(watched.count(), 5, "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn after_a_gap_what_vanished_ends_and_what_stayed_is_not_told_again() {
    let (server, directory) = (Server::new(), directory());
    server.put(SERVICES, service("a"));
    server.put(SERVICES, service("b"));
    let (mut source, _) = Source::synced(&server, &directory).await;
    server.stop();
    server.delete(SERVICES, "a");
    server.put(SERVICES, service("c"));
    server.compact();
    server.start();
    let told = source.told_within(Duration::from_secs(10)).await;
    assert_eq!(told, ["-Service default/a", "Service default/c"]);
}

#[tokio::test(start_paused = true)]
async fn a_list_whose_next_page_is_too_old_begins_anew() {
    let (server, directory) = (Server::new(), directory());
    server.pages_of(2);
    for name in ["a", "b", "c"] {
        server.put(SERVICES, service(name));
    }
    server.expire_next_page();
    let (_source, batch) = Source::synced(&server, &directory).await;
    assert_eq!(delivered(&batch).len(), 3, "{batch:?}");
}

#[tokio::test(start_paused = true)]
async fn at_rest_the_server_is_asked_for_nothing_but_news_of_the_operator_of_cilium() {
    let (server, directory) = (Server::new(), directory());
    for collection in [CILIUM_POOLS, CILIUM_POLICIES] {
        server.define(collection);
    }
    let (source, _) = Source::synced(&server, &directory).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    server.requests();
    tokio::time::sleep(Duration::from_secs(200)).await;
    let asked = server.requests();
    assert!((19..=21).contains(&asked.len()), "{asked:?}");
    let strange = asked
        .iter()
        .find(|it| !it.ends_with("leases/cilium-operator-resource-lock"));
    assert_eq!(strange, None);
    assert!(source.state.borrow().is_synced());
}

#[tokio::test(start_paused = true)]
async fn services_that_another_proxy_serves_are_not_asked_for() {
    let (server, directory) = (Server::new(), directory());
    let (_source, _) = Source::synced(&server, &directory).await;
    let asked = server.requests();
    for collection in [SERVICES, SLICES] {
        let asked = asked.iter().filter(|it| it.starts_with(collection));
        for request in asked {
            assert!(request.contains("service-proxy-name"), "{request}");
            assert!(request.contains("headless"), "{request}");
        }
    }
}
