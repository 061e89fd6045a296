//! The admin socket: HTTP/1.1 over a Unix socket, for root alone.
//!
//! Fed by a [`Snapshot`](snapshot::Snapshot); read by the command line, or by
//! `curl --unix-socket /run/landfall/landfall.sock http://landfall/v1/status`. HTTP and not a
//! protocol of its own, because hyper serves the metrics anyway and every tool speaks it. Nothing here changes anything: there are only `GET`s.
//!
//! Who may ask is decided twice: by the socket's mode (0600, in a directory of mode 0700) and by
//! the kernel's word on the peer (`SO_PEERCRED`), which a descriptor passed on or a loosened
//! directory does not get around.

pub mod client;
pub mod report;
pub mod server;
pub mod snapshot;

/// Paths of the questions there are.
pub mod route {
    /// [`Status`](super::snapshot::Status).
    pub const STATUS: &str = "/v1/status";
    /// A list of [`Frontend`](super::snapshot::Frontend).
    pub const SERVICES: &str = "/v1/services";
    /// A list of [`Pool`](super::snapshot::Pool).
    pub const POOLS: &str = "/v1/pools";
    /// A list of [`Lease`](super::snapshot::Lease).
    pub const LEASES: &str = "/v1/leases";
    /// A list of [`Announcement`](super::snapshot::Announcement).
    pub const L2: &str = "/v1/l2";
}
