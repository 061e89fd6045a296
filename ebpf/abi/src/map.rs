//! Names of maps and programs, for both sides.

/// Frontends by what clients address: hash of [`crate::service::FrontendKey`] to [`crate::service::Frontend`].
pub const FRONTENDS: &str = "FRONTENDS";
/// Bit filter over frontends' addresses: array of `u64`.
pub const FRONTEND_FILTER: &str = "FRONTEND_FILTER";
/// Lookup tables: array of [`crate::service::SlotRow`].
pub const SLOTS: &str = "SLOTS";
/// Endpoints: array of [`crate::service::Backend`].
pub const BACKENDS: &str = "BACKENDS";
/// Bit filter over this node's endpoints' addresses: array of `u64`.
pub const BACKEND_FILTER: &str = "BACKEND_FILTER";
/// Nodes: array of [`crate::node::Node`].
pub const NODES: &str = "NODES";
/// This node's interfaces: array of [`crate::node::Interface`].
pub const INTERFACES: &str = "INTERFACES";
/// Source ranges: longest-prefix trie of [`crate::service::SourceRange`].
pub const SOURCE_RANGES: &str = "SOURCE_RANGES";
/// Flows as clients see them: hash of [`crate::flow::FlowKey`] to [`crate::flow::Flow`].
pub const FLOWS: &str = "FLOWS";
/// Flows as endpoints answer them: hash of [`crate::flow::ReplyKey`] to [`crate::flow::Reply`].
pub const REPLIES: &str = "REPLIES";
/// Flows that no longer match the tables: hash of [`crate::flow::FlowKey`] to a node's index as `u32`.
pub const MOVED_FLOWS: &str = "MOVED_FLOWS";
/// Announced addresses: hash of [`crate::announce::AnnouncedKey`] to [`crate::announce::Announced`].
pub const ANNOUNCED: &str = "ANNOUNCED";
/// The right to answer: array of one [`crate::announce::Deadline`].
pub const DEADLINE: &str = "DEADLINE";
/// Nodes by Ethernet address: hash of [`crate::node::PeerKey`] to a node's index as `u32`.
pub const PEERS: &str = "PEERS";
/// Bit filter over peers' Ethernet addresses: array of `u64`.
pub const PEER_FILTER: &str = "PEER_FILTER";
/// Verdict counters: per-CPU array of `u64` by [`crate::counter::Counter`].
pub const COUNTERS: &str = "COUNTERS";
/// Original destinations of rewritten sockets: LRU hash of [`crate::socket::SocketKey`].
pub const SOCKET_ORIGINS: &str = "SOCKET_ORIGINS";

/// What the maps of this layout hold, as [`crate::layout`] describes it: array of one text of [`crate::layout::TEXT`] octets.
pub const LAYOUT: &str = "LAYOUT";

/// All maps but [`LAYOUT`]; every one of them is pinned.
pub const ALL: [&str; 17] = [
    FRONTENDS,
    FRONTEND_FILTER,
    SLOTS,
    BACKENDS,
    BACKEND_FILTER,
    NODES,
    PEERS,
    PEER_FILTER,
    INTERFACES,
    SOURCE_RANGES,
    FLOWS,
    REPLIES,
    MOVED_FLOWS,
    ANNOUNCED,
    DEADLINE,
    COUNTERS,
    SOCKET_ORIGINS,
];

/// Ingress of an uplink at XDP.
pub const PROGRAM_XDP_UPLINK: &str = "xdp_uplink";
/// Ingress of an uplink at tcx or clsact.
pub const PROGRAM_TC_UPLINK: &str = "tc_uplink";
/// Egress of an uplink at tcx or clsact.
pub const PROGRAM_TC_RESTORE: &str = "tc_restore";
/// Programs of sockets in the node's cgroup.
pub const PROGRAMS_SOCKET: [&str; 8] = [
    "connect4",
    "connect6",
    "sendmsg4",
    "sendmsg6",
    "recvmsg4",
    "recvmsg6",
    "getpeername4",
    "getpeername6",
];
