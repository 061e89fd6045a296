use std::process::Command;

use landfall_core::model::{LinkKind, MacAddress};
use nix::sched::{CloneFlags, unshare};
use tokio::sync::mpsc::Receiver;

use super::*;
use crate::source::BATCHES;

/// Longest any single change is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs `ip` with the words of `line` in this thread's network namespace.
fn ip(line: &str) {
    let output = Command::new("ip")
        .args(line.split_whitespace())
        .output()
        .expect("ip is needed");
    assert!(
        output.status.success(),
        "ip {line}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Runs `test` with a source in a network namespace of its own, which ends with the thread.
fn in_namespace<F: Future<Output = ()>>(test: impl FnOnce(Receiver<Batch>) -> F + Send + 'static) {
    std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("root is needed for a network namespace");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let (sender, receiver) = mpsc::channel(BATCHES);
            let cancelled = CancellationToken::new();
            let _stop = cancelled.clone().drop_guard();
            tokio::spawn(open().unwrap().run(sender, cancelled));
            test(receiver).await;
        });
    })
    .join()
    .unwrap();
}

/// Takes batches until the links are as `wanted` says.
async fn until(receiver: &mut Receiver<Batch>, wanted: impl Fn(&[Link]) -> bool) -> Vec<Link> {
    let mut last = Vec::new();
    let waited = tokio::time::timeout(PATIENCE, async {
        loop {
            for change in receiver.recv().await.expect("the task runs") {
                if let Change::Links(links) = change {
                    if wanted(&links) {
                        return links;
                    }
                    last = links;
                }
            }
        }
    })
    .await;
    waited.unwrap_or_else(|_| panic!("did not come in time; last seen: {last:#?}"))
}

fn find<'a>(links: &'a [Link], name: &str) -> Option<&'a Link> {
    links.iter().find(|link| &*link.name == name)
}

fn is(links: &[Link], name: &str, check: impl Fn(&Link) -> bool) -> bool {
    find(links, name).is_some_and(check)
}

#[test]
fn interfaces_are_followed_as_they_come_change_and_go() {
    in_namespace(|mut receiver| async move {
        let first = receiver.recv().await.unwrap();
        assert!(matches!(
            first[..],
            [Change::Links(_), Change::Synced(SourceId::Links)]
        ));

        ip("link add ens3 address 02:00:00:00:00:03 mtu 1400 type veth peer name far");
        let links = until(&mut receiver, |links| find(links, "ens3").is_some()).await;
        let link = find(&links, "ens3").unwrap();
        assert_eq!(link.mac, Some(MacAddress([2, 0, 0, 0, 0, 3])));
        assert_eq!((link.mtu, link.up, link.kind), (1400, false, LinkKind::Pod));

        ip("link set ens3 up");
        ip("link set far up");
        until(&mut receiver, |links| is(links, "ens3", |it| it.up)).await;
        ip("address add 192.0.2.3/24 dev ens3");
        ip("-6 address add 2001:db8::3/64 dev ens3 nodad");
        let links = until(&mut receiver, |links| {
            is(links, "ens3", |it| {
                it.addresses.len() >= 2
                    && it.kind == LinkKind::Uplink
                    && it
                        .addresses
                        .iter()
                        .any(|a| a.address.to_string() == "2001:db8::3")
            })
        })
        .await;
        let addresses: Vec<_> = find(&links, "ens3")
            .unwrap()
            .addresses
            .iter()
            .map(|it| format!("{}/{}", it.address, it.prefix_len))
            .collect();
        assert!(
            addresses.contains(&"192.0.2.3/24".to_owned()),
            "{addresses:?}"
        );
        assert!(
            addresses.contains(&"2001:db8::3/64".to_owned()),
            "{addresses:?}"
        );

        // Carrier lost: the far end goes down.
        ip("link set far down");
        until(&mut receiver, |links| is(links, "ens3", |it| !it.up)).await;
        ip("link set far up");
        until(&mut receiver, |links| is(links, "ens3", |it| it.up)).await;

        ip("address del 192.0.2.3/24 dev ens3");
        let gone = |it: &Link| !it.addresses.iter().any(|it| it.address.is_ipv4());
        until(&mut receiver, |links| is(links, "ens3", gone)).await;
        ip("link set ens3 down");
        ip("link set ens3 name ens4");
        until(&mut receiver, |links| {
            find(links, "ens3").is_none() && find(links, "ens4").is_some()
        })
        .await;
        ip("link delete ens4");
        until(&mut receiver, |links| find(links, "ens4").is_none()).await;
    });
}

#[test]
fn kinds_are_told_apart_by_what_the_kernel_says() {
    in_namespace(|mut receiver| async move {
        ip("link add br0 type bridge");
        ip("link add pod0 type veth peer name p0");
        ip("link add port0 type veth peer name p1");
        ip("link set port0 master br0");
        let kinds = [
            ("lo", LinkKind::Other),
            ("br0", LinkKind::Pod),
            ("pod0", LinkKind::Pod),
            ("port0", LinkKind::Port),
        ];
        until(&mut receiver, |links| {
            kinds
                .iter()
                .all(|(name, kind)| is(links, name, |it| it.kind == *kind))
        })
        .await;
        ip("link set port0 nomaster");
        until(&mut receiver, |links| {
            is(links, "port0", |it| it.kind == LinkKind::Pod)
        })
        .await;
    });
}

#[test]
fn a_storm_of_events_ends_in_the_truth() {
    in_namespace(|mut receiver| async move {
        // More than a socket's buffer holds, as nobody reads while `ip` runs on this thread.
        let witness =
            NlSocket::connect(NlFamily::Route, None, Groups::new_groups(&GROUPS)).unwrap();
        witness.nonblock().unwrap();
        let lines: String = (0..2000)
            .map(|i| format!("address add 10.1.{}.{}/32 dev lo\n", i / 250, i % 250 + 1))
            .collect();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), lines).unwrap();
        ip(&format!("-batch {}", file.path().display()));
        let lost = loop {
            match witness.recv(&mut [0_u8; 4096][..], Msg::empty()) {
                Ok(_) => {}
                Err(error) => break error.raw_os_error() == Some(libc::ENOBUFS),
            }
        };
        assert!(lost, "the storm was too small for events to be lost");
        until(&mut receiver, |links| {
            is(links, "lo", |it| it.addresses.len() == 2000)
        })
        .await;
    });
}
