//! The admin socket: HTTP/1.1 over a Unix socket, for root alone.
//!
//! Fed by a [`Snapshot`](snapshot::Snapshot); read by the command line, or by
//! `curl --unix-socket /run/landfall/landfall.sock http://landfall/v1/status`. HTTP and not a
//! protocol of its own, because hyper serves the metrics anyway and every tool speaks it. `GET` changes nothing; the one thing that
//! can be changed is whether this node announces (`POST` to [`route::DRAIN`] and [`route::UNDRAIN`]).
//!
//! Who may ask is decided twice: by the socket's mode (0600, in a directory of mode 0700) and by
//! the kernel's word on the peer (`SO_PEERCRED`), which a descriptor passed on or a loosened
//! directory does not get around.

pub mod client;
pub mod health;
pub mod report;
pub mod server;
pub mod snapshot;

/// Paths of the questions there are.
pub mod route {
    /// [`Status`](super::snapshot::Status).
    pub const STATUS: &str = "/v1/status";
    /// A list of [`Frontend`](super::snapshot::Frontend).
    pub const SERVICES: &str = "/v1/services";
    /// [`Service`](super::snapshot::Service): `NAMESPACE/NAME` follows.
    pub const SERVICE: &str = "/v1/services/";
    /// A list of [`Pool`](super::snapshot::Pool).
    pub const POOLS: &str = "/v1/pools";
    /// A list of [`Lease`](super::snapshot::Lease).
    pub const LEASES: &str = "/v1/leases";
    /// A list of [`Announcement`](super::snapshot::Announcement).
    pub const L2: &str = "/v1/l2";
    /// A list of [`HandOver`](super::snapshot::HandOver), the latest first.
    pub const HISTORY: &str = "/v1/l2/history";
    /// [`Drain`](super::snapshot::Drain); a `POST` makes this node hand over what others can announce.
    pub const DRAIN: &str = "/v1/drain";
    /// A `POST` lets this node announce again; answers with [`Drain`](super::snapshot::Drain).
    pub const UNDRAIN: &str = "/v1/undrain";
}
