//! Liveness of nodes apart from their agents: the pinned kernel program of each peer echoes probes.
//!
//! Fed by this node's and the peers' interfaces; feeds the set of nodes whose program is silent, so that their endpoints
//! are left out long before anybody lists them away. An agent's death changes nothing here: its program goes on echoing.
//!
//! A thread with packet sockets, apart from the async threads: a stall of theirs must not look like a dead node. A node is
//! dead after [`SILENT`] without an echo though it was probed all that time, and alive again with the first echo.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use landfall_core::model::{Link, LinkIndex, NodeName};
use landfall_ebpf::abi::wire::{ETHERTYPE_LANDFALL, PROBE_ECHO, PROBE_REQUEST, PROBE_VERSION};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::membership::Peers;

/// Time between two probes to a peer.
pub const PERIOD: Duration = Duration::from_millis(100);
/// Silence after which a node counts as dead.
pub const SILENT: Duration = Duration::from_millis(1_000);

/// Nodes whose kernel program is silent.
pub type DeadNodes = Arc<BTreeSet<NodeName>>;

/// What the thread is told.
pub struct Inputs {
    /// This node.
    pub node: NodeName,
    /// This node's interfaces.
    pub links: watch::Receiver<Arc<Vec<Link>>>,
    /// Other nodes' interfaces.
    pub peers: watch::Receiver<Peers>,
}

/// One road to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Road {
    index: LinkIndex,
    own: [u8; 6],
    peer: [u8; 6],
}

/// Starts the thread; the receiver holds the nodes that are dead at present.
///
/// # Errors
/// The packet socket could not be had (CAP_NET_RAW), or no thread.
pub fn spawn(
    inputs: Inputs,
    cancel: CancellationToken,
) -> io::Result<(thread::JoinHandle<()>, watch::Receiver<DeadNodes>)> {
    let socket = open()?;
    let (publish, dead) = watch::channel(Arc::default());
    let thread = thread::Builder::new()
        .name("landfall-alive".into())
        .spawn(move || {
            Liveness {
                socket,
                inputs,
                publish,
                heard: HashMap::new(),
                nonce: 0,
            }
            .run(&cancel);
        })?;
    Ok((thread, dead))
}

/// When a node was first probed in a row, and last heard.
#[derive(Clone, Copy)]
struct Heard {
    probed_since: Instant,
    last: Option<Instant>,
    dead: bool,
}

struct Liveness {
    socket: OwnedFd,
    inputs: Inputs,
    publish: watch::Sender<DeadNodes>,
    heard: HashMap<NodeName, Heard>,
    nonce: u64,
}

impl Liveness {
    fn run(mut self, cancel: &CancellationToken) {
        let mut next = Instant::now();
        while !cancel.is_cancelled() {
            let roads = self.roads();
            if Instant::now() >= next {
                self.probe(&roads);
                next = Instant::now() + PERIOD;
            }
            self.listen(&roads, next);
            // After a stall of this thread nobody is blamed for it: silence counts while probes go out.
            let now = Instant::now();
            if now > next + SILENT / 2 {
                for heard in self.heard.values_mut() {
                    heard.probed_since = now;
                }
            }
            self.judge(&roads);
        }
    }

    /// Roads by peer: every pair of interfaces with a shared subnet.
    fn roads(&self) -> BTreeMap<NodeName, Vec<Road>> {
        let links = self.inputs.links.borrow().clone();
        let Some(peers) = self.inputs.peers.borrow().clone() else {
            return BTreeMap::new();
        };
        let mut roads: BTreeMap<NodeName, Vec<Road>> = BTreeMap::new();
        for (name, theirs) in peers.iter().filter(|(name, _)| **name != self.inputs.node) {
            for own in links.iter().filter(|link| link.up) {
                for their in theirs {
                    let shared = their.addresses.iter().any(|address| {
                        own.addresses.iter().any(|held| held.holds(address.address))
                    });
                    if let (true, Some(own_mac), Some(mac)) = (shared, own.mac, their.mac) {
                        let road = Road {
                            index: own.index,
                            own: own_mac.0,
                            peer: mac.0,
                        };
                        roads.entry(name.clone()).or_default().push(road);
                    }
                }
            }
        }
        roads
    }

    fn probe(&mut self, roads: &BTreeMap<NodeName, Vec<Road>>) {
        self.nonce = self.nonce.wrapping_add(1);
        for road in roads.values().flatten() {
            let mut frame = [0_u8; 60];
            frame[0..6].copy_from_slice(&road.peer);
            frame[6..12].copy_from_slice(&road.own);
            frame[12..14].copy_from_slice(&ETHERTYPE_LANDFALL.to_be_bytes());
            frame[14] = PROBE_REQUEST;
            frame[15] = PROBE_VERSION;
            frame[18..26].copy_from_slice(&self.nonce.to_be_bytes());
            // A full queue or a link that goes down costs this probe; the next one is near.
            let _ = send(&self.socket, road.index, &frame);
        }
    }

    fn listen(&mut self, roads: &BTreeMap<NodeName, Vec<Road>>, until: Instant) {
        loop {
            let wait = until.saturating_duration_since(Instant::now());
            let mut poll = libc::pollfd {
                fd: self.socket.as_raw_fd(),
                events: libc::POLLIN,
                revents: 0,
            };
            // SAFETY: one valid pollfd.
            let ready = unsafe { libc::poll(&raw mut poll, 1, wait.as_millis() as i32 + 1) };
            if ready <= 0 {
                return;
            }
            let mut frame = [0_u8; 128];
            while let Some(len) = receive(&self.socket, &mut frame) {
                if len < 26 || frame[14] != PROBE_ECHO || frame[15] != PROBE_VERSION {
                    continue;
                }
                let source: [u8; 6] = frame[6..12].try_into().expect("six octets");
                let heard = roads
                    .iter()
                    .find(|(_, roads)| roads.iter().any(|road| road.peer == source));
                if let Some((name, _)) = heard {
                    let now = Instant::now();
                    let entry = self.heard.entry(name.clone());
                    entry
                        .or_insert(Heard {
                            probed_since: now,
                            last: None,
                            dead: false,
                        })
                        .last = Some(now);
                }
            }
            if Instant::now() >= until {
                return;
            }
        }
    }

    fn judge(&mut self, roads: &BTreeMap<NodeName, Vec<Road>>) {
        let now = Instant::now();
        // Without a road nothing can be said of a node; it counts as alive.
        self.heard.retain(|name, _| roads.contains_key(name));
        for name in roads.keys() {
            let heard = self.heard.entry(name.clone()).or_insert(Heard {
                probed_since: now,
                last: None,
                dead: false,
            });
            let since = heard
                .last
                .unwrap_or(heard.probed_since)
                .max(heard.probed_since);
            let dead = if heard.dead {
                heard.last.is_none_or(|last| now - last > SILENT)
            } else {
                now - since > SILENT
            };
            if dead != heard.dead {
                heard.dead = dead;
                if dead {
                    warn!(node = %name, "node does not echo; its endpoints are left out");
                } else {
                    info!(node = %name, "node echoes again; its endpoints count");
                }
            }
        }
        let dead: BTreeSet<NodeName> = self
            .heard
            .iter()
            .filter(|(_, heard)| heard.dead)
            .map(|(name, _)| name.clone())
            .collect();
        self.publish.send_if_modified(|held| {
            let changed = **held != dead;
            if changed {
                *held = Arc::new(dead);
            }
            changed
        });
    }
}

fn open() -> io::Result<OwnedFd> {
    let protocol = i32::from(ETHERTYPE_LANDFALL.to_be());
    // SAFETY: plain system call.
    let fd = unsafe {
        libc::socket(
            libc::AF_PACKET,
            libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK,
            protocol,
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made it for this process.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn send(socket: &OwnedFd, index: LinkIndex, frame: &[u8]) -> io::Result<()> {
    // SAFETY: all-zero is a valid address to fill.
    let mut to: libc::sockaddr_ll = unsafe { zeroed() };
    to.sll_family = libc::AF_PACKET as u16;
    to.sll_ifindex = index.0 as i32;
    to.sll_halen = 6;
    to.sll_addr[..6].copy_from_slice(&frame[0..6]);
    // SAFETY: frame and address are valid for their lengths.
    let sent = unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            frame.as_ptr().cast(),
            frame.len(),
            0,
            (&raw const to).cast(),
            size_of::<libc::sockaddr_ll>() as u32,
        )
    };
    if sent < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

fn receive(socket: &OwnedFd, frame: &mut [u8]) -> Option<usize> {
    // SAFETY: the buffer is valid for its length.
    let len = unsafe {
        libc::recv(
            socket.as_raw_fd(),
            frame.as_mut_ptr().cast(),
            frame.len(),
            0,
        )
    };
    usize::try_from(len).ok()
}
