//! Wrong objects, and objects that do not go together.

use super::server::{CILIUM_POLICIES, CILIUM_POOLS, POOLS, SERVICES, Server};
use super::*;

#[tokio::test(start_paused = true)]
async fn a_wrong_object_is_named_by_its_path_and_harms_no_other() {
    let (server, directory) = (Server::new(), directory());
    server.put(POOLS, pool("good", "192.0.2.64/28"));
    let mut misspelt = pool("misspelt", "192.0.2.96/28");
    misspelt["spec"]["serviceSelectors"] = json!({});
    server.put(POOLS, misspelt);
    server.put(
        POOLS,
        json!({"metadata": {"name": "odd"}, "spec": "what", "status": 7}),
    );
    let mut wrong = service("wrong");
    wrong["metadata"]["annotations"] = json!({"landfall.dev/ips": "10.0.0.300"});
    server.put(SERVICES, wrong);
    server.put(SERVICES, service("right"));
    let (_source, batch) = Source::synced(&server, &directory).await;
    let mut told = delivered(&batch);
    told.sort();
    assert_eq!(told, ["Pool good", "Service default/right"]);
    let told = complaints(&batch);
    assert_eq!(told.len(), 3, "{told:#?}");
    let named = |path: &str, field: &str| {
        let mut told = told.iter();
        told.any(|it| it.starts_with(path) && it.contains(field))
    };
    assert!(
        named(
            "/api/v1/namespaces/default/services/wrong:",
            "landfall.dev/ips"
        ),
        "{told:#?}"
    );
    assert!(
        named(&format!("{POOLS}/misspelt:"), "spec.serviceSelectors"),
        "{told:#?}"
    );
    assert!(named(&format!("{POOLS}/odd:"), "spec"), "{told:#?}");
}

#[tokio::test(start_paused = true)]
async fn an_object_that_turns_wrong_stays_as_it_was_and_one_that_turns_right_counts() {
    let (server, directory) = (Server::new(), directory());
    server.put(POOLS, pool("lan", "192.0.2.64/28"));
    let (mut source, _) = Source::synced(&server, &directory).await;
    server.put(POOLS, pool("lan", "192.0.2.64/99"));
    let batch = source.next().await;
    assert_eq!(delivered(&batch), Vec::<String>::new());
    assert_eq!(complaints(&batch).len(), 1, "{batch:?}");
    server.put(POOLS, pool("lan", "192.0.2.64/27"));
    let batch = source.next().await;
    assert_eq!(delivered(&batch), ["Pool lan"]);
    assert!(errors(&batch).expect("none any more").is_empty());
    server.put(POOLS, pool("lan", "192.0.2.64/99"));
    source.next().await;
    server.delete(POOLS, "lan");
    let batch = source.next().await;
    assert_eq!(delivered(&batch), ["-Pool lan"]);
    assert!(errors(&batch).expect("none any more").is_empty());
}

#[tokio::test(start_paused = true)]
async fn of_two_twins_with_one_name_the_first_counts_and_the_other_one_waits() {
    let (server, directory) = (Server::new(), directory());
    server.define(CILIUM_POOLS);
    server.define(CILIUM_POLICIES);
    server.put(CILIUM_POOLS, pool("lan", "192.0.2.64/28"));
    server.put(POOLS, pool("lan", "192.0.2.96/28"));
    let (mut source, batch) = Source::synced(&server, &directory).await;
    let last = batch.iter().rev().find_map(|change| match change {
        Change::Pool(_, pool) => pool.as_ref(),
        _ => None,
    });
    assert_eq!(
        last.expect("a pool").blocks()[0].to_string(),
        "192.0.2.64/28"
    );
    let told = complaints(&batch);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with(POOLS), "{told:?}");
    assert!(
        told[0].contains(&format!("taken by {CILIUM_POOLS}/lan")),
        "{told:?}"
    );
    server.delete(CILIUM_POOLS, "lan");
    let batch = source.next().await;
    assert_eq!(delivered(&batch), ["Pool lan"]);
    assert!(errors(&batch).expect("none any more").is_empty());
}

#[tokio::test(start_paused = true)]
async fn objects_that_do_not_go_together_are_told_as_with_files() {
    let (server, directory) = (Server::new(), directory());
    server.put(POOLS, pool("first", "192.0.2.64/28"));
    server.put(POOLS, pool("second", "192.0.2.72/29"));
    let mut wanting = service("wanting");
    wanting["metadata"]["annotations"] = json!({"landfall.dev/ips": "198.51.100.1"});
    server.put(SERVICES, wanting);
    let (_source, batch) = Source::synced(&server, &directory).await;
    let told = complaints(&batch);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told[0].contains("overlaps") && told[0].contains("`first`"),
        "{told:?}"
    );
    assert!(told[1].contains("outside every pool"), "{told:?}");
}
