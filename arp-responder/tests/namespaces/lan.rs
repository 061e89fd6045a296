//! A node with the task, a client with a packet socket, and the link between them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::process::Command;
use std::time::{Duration, Instant};

use landfall_arp_responder::codec::Frame;
use landfall_arp_responder::{
    Answering, BootInstant, Deadline, Desired, DesiredInterface, DesiredVip, Event, InterfaceIndex,
    MacAddr, ResponderTask, Role, Timing,
};
use nix::sched::{CloneFlags, setns, unshare};
use pnet::datalink::{self, Channel, Config, DataLinkReceiver, DataLinkSender};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// Longer than anything waited for takes, even on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
pub(crate) const VIP4: &str = "192.0.2.80";
pub(crate) const VIP6: &str = "2001:db8::80";
pub(crate) const CLIENT4: &str = "192.0.2.9";
pub(crate) const CLIENT6: &str = "2001:db8::9";
pub(crate) const NODE4: &str = "192.0.2.11";
pub(crate) const NODE_MAC: MacAddr = MacAddr(2, 0, 0, 0, 0, 0x11);
pub(crate) const CLIENT_MAC: MacAddr = MacAddr(2, 0, 0, 0, 0, 0x99);
pub(crate) const STRANGER: MacAddr = MacAddr(2, 0, 0, 0, 0, 0xee);

/// Two namespaces; the thread that made them is in the node's.
pub(crate) struct Lan {
    node: File,
    client: File,
}

impl Lan {
    /// `ens3` on the node and `eth0` on the client, up and addressed.
    pub(crate) fn new() -> Self {
        let client = new_namespace();
        let node = new_namespace();
        let lan = Self { node, client };
        lan.on_node("link set lo up");
        lan.link_up();
        lan
    }

    /// Makes the link; also after it was deleted.
    pub(crate) fn link_up(&self) {
        let client = format!(
            "/proc/{}/fd/{}",
            std::process::id(),
            self.client.as_raw_fd()
        );
        self.on_node(&format!(
            "link add ens3 address {NODE_MAC} type veth peer name eth0 address {CLIENT_MAC} netns {client}"
        ));
        for command in [
            &format!("address add {CLIENT4}/24 dev eth0"),
            &format!("address add {CLIENT6}/64 dev eth0 nodad"),
            "link set eth0 up",
        ] {
            self.on_client(command);
        }
        self.on_node(&format!("address add {NODE4}/24 dev ens3"));
        self.on_node("link set ens3 up");
        // Until the kernel has noticed the carrier it sends nothing, and does not speak IPv6.
        let ready = |shown: String| shown.contains("state UP") && shown.contains("inet6 fe80:");
        wait_for("ens3 to be ready", || {
            ready(self.on_node("address show dev ens3"))
        });
        wait_for("eth0 to be ready", || {
            ready(self.on_client("address show dev eth0"))
        });
    }

    /// Runs `ip` in the node's namespace and gives what it printed.
    pub(crate) fn on_node(&self, arguments: &str) -> String {
        ip(arguments)
    }

    /// Runs `ip` in the client's namespace and gives what it printed.
    pub(crate) fn on_client(&self, arguments: &str) -> String {
        self.in_client(|| ip(arguments))
    }

    pub(crate) fn in_client<T>(&self, body: impl FnOnce() -> T) -> T {
        setns(&self.client, CloneFlags::CLONE_NEWNET).expect("the client's namespace is open");
        let result = body();
        setns(&self.node, CloneFlags::CLONE_NEWNET).expect("the node's namespace is open");
        result
    }

    pub(crate) fn ens3(&self) -> InterfaceIndex {
        let ens3 = datalink::interfaces()
            .into_iter()
            .find(|i| i.name == "ens3");
        InterfaceIndex(ens3.expect("ens3 is there").index)
    }

    /// What the node announces: both VIPs, answered for by socket.
    pub(crate) fn desired(&self, role: Role) -> Desired {
        let vips = [VIP4, VIP6].map(|vip| vip.parse().unwrap());
        self.desired_vips(role, vips)
    }

    pub(crate) fn desired_vips(
        &self,
        role: Role,
        vips: impl IntoIterator<Item = IpAddr>,
    ) -> Desired {
        let vip = DesiredVip {
            role,
            acquisition: 1,
        };
        let interface = DesiredInterface {
            name: "ens3".into(),
            mac: NODE_MAC,
            answering: Answering::Socket,
            peers: BTreeSet::new(),
            witnesses: BTreeSet::new(),
            addresses: Vec::new(),
            examined: false,
            vips: vips.into_iter().map(|ip| (ip, vip)).collect(),
        };
        Desired {
            interfaces: BTreeMap::from([(self.ens3(), interface)]),
        }
    }

    /// The client's kernel's opinion on who has `ip`.
    pub(crate) fn client_neighbour(&self, ip: &str) -> String {
        self.on_client(&format!("neigh show {ip} dev eth0"))
    }

    pub(crate) fn wire(&self) -> Wire {
        let config = Config {
            read_timeout: Some(Duration::from_millis(5)),
            promiscuous: false,
            ..Config::default()
        };
        let channel = self.in_client(|| {
            let eth0 = datalink::interfaces()
                .into_iter()
                .find(|i| i.name == "eth0");
            datalink::channel(&eth0.expect("eth0 is there"), config).expect("root may")
        });
        let Channel::Ethernet(sender, receiver) = channel else {
            panic!("veth is Ethernet")
        };
        Wire { sender, receiver }
    }
}

/// The client's end of the link, frame by frame.
pub(crate) struct Wire {
    sender: Box<dyn DataLinkSender>,
    receiver: Box<dyn DataLinkReceiver>,
}

impl Wire {
    pub(crate) fn send(&mut self, frame: &Frame) {
        self.sender
            .send_to(&frame.encode(), None)
            .expect("one interface")
            .expect("eth0 is up");
    }

    /// The next frame within a few milliseconds, as it came.
    pub(crate) fn next_bytes(&mut self) -> Option<&[u8]> {
        match self.receiver.next() {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == std::io::ErrorKind::TimedOut => None,
            Err(error) => panic!("cannot read eth0: {error}"),
        }
    }

    /// The next ARP or neighbour discovery from the node within a few milliseconds, if there is one.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        let frame = self
            .next_bytes()
            .and_then(|bytes| Frame::decode(bytes).ok());
        frame.filter(|frame| frame.source == NODE_MAC)
    }

    /// Waits for a frame from the node that `matches`; gives it and those before it.
    pub(crate) fn wait_for(&mut self, what: &str, matches: impl Fn(&Frame) -> bool) -> Vec<Frame> {
        let mut seen = Vec::new();
        wait_for(what, || {
            seen.extend(self.next());
            seen.last().is_some_and(&matches)
        });
        seen
    }

    pub(crate) fn wait_for_frame(&mut self, expected: &Frame) {
        self.wait_for(&format!("{expected:?}"), |frame| frame == expected);
    }
}

/// The task on the node.
pub(crate) struct Node {
    pub(crate) desired: watch::Sender<Desired>,
    pub(crate) deadline: Deadline,
    pub(crate) task: ResponderTask,
    events: mpsc::Receiver<Event>,
    cancel: CancellationToken,
    runtime: Runtime,
}

impl Node {
    /// Starts the task with nothing to do and the right to do it for an hour.
    pub(crate) fn start(timing: Timing) -> Self {
        let (desired, desired_receiver) = watch::channel(Desired::default());
        let (event_sender, events) = mpsc::channel(4);
        let (deadline, cancel) = (Deadline::new(), CancellationToken::new());
        deadline.set(BootInstant::now() + Duration::from_secs(3_600));
        let task = ResponderTask::spawn(
            timing,
            desired_receiver,
            deadline.clone(),
            event_sender,
            cancel.clone(),
        )
        .expect("the task starts");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        Self {
            desired,
            deadline,
            task,
            events,
            cancel,
            runtime,
        }
    }

    pub(crate) fn next_event(&mut self) -> Event {
        let next = async { tokio::time::timeout(PATIENCE, self.events.recv()).await };
        self.runtime
            .block_on(next)
            .expect("an event comes in time")
            .expect("the task lives")
    }

    /// Waits for an event that `matches` and gives it with those before it.
    pub(crate) fn wait_for_event(&mut self, matches: impl Fn(&Event) -> bool) -> Vec<Event> {
        let mut events = vec![self.next_event()];
        while !events.last().is_some_and(&matches) {
            events.push(self.next_event());
        }
        events
    }

    /// Has a stranger claim `vip` until the task, which asks again before it believes, tells of it.
    pub(crate) fn told_of_claim(&mut self, wire: &mut Wire, vip: IpAddr) -> Event {
        let begun = Instant::now();
        loop {
            wire.send(&Frame::announcements(STRANGER, vip)[0]);
            let next =
                async { tokio::time::timeout(Duration::from_millis(50), self.events.recv()).await };
            match self.runtime.block_on(next) {
                Ok(Some(told @ Event::LateConflict { .. })) => return told,
                _ => assert!(begun.elapsed() < PATIENCE, "the claim is told in time"),
            }
        }
    }

    /// Cancels the task and waits for its end.
    pub(crate) fn stop(self) {
        self.cancel.cancel();
        let ended = async { tokio::time::timeout(PATIENCE, self.task.ended()).await };
        self.runtime.block_on(ended).expect("the task ends in time");
    }
}

/// Waits until `condition` holds.
pub(crate) fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::yield_now();
    }
}

fn new_namespace() -> File {
    unshare(CloneFlags::CLONE_NEWNET).expect("making network namespaces needs root");
    File::open("/proc/thread-self/ns/net").expect("proc is mounted")
}

fn ip(arguments: &str) -> String {
    let output = Command::new("ip")
        .args(arguments.split(' '))
        .output()
        .expect("iproute2 is there");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments}: {error}");
    String::from_utf8(output.stdout).expect("ip prints text")
}
