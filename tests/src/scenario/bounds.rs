//! What must hold, in numbers: issue 4's bounds, with default settings.

use std::time::Duration;

/// The longest silence when a node dies, is frozen, is killed or loses its carrier.
pub const HARD: Duration = Duration::from_millis(500);

/// The median of such silences.
pub const HARD_MEDIAN: Duration = Duration::from_millis(330);

/// The longest silence when frames are lost in one direction.
pub const ONE_WAY: Duration = Duration::from_secs(1);

/// The longest silence when a node hands its VIPs over in order.
pub const ORDERLY: Duration = Duration::from_millis(50);

/// The longest silence when one of two nodes dies: a lease's duration.
pub const LEASE: Duration = Duration::from_secs(3);

/// How long a lease store is away.
pub const DARK: Duration = Duration::from_secs(90);

/// How long a flapping node flaps, and how often a second.
pub const FLAPPING: Duration = Duration::from_secs(60);

/// The processor time that heartbeats take at most, in percent of a core.
pub const HEARTBEAT_CPU: f64 = 1.0;

/// The bandwidth that heartbeats take at most, in kbit/s a node, sent and received together.
pub const HEARTBEAT_RATE: f64 = 500.0;

/// The connections that are open while a node dies.
pub const CONNECTIONS: usize = 1000;

/// The VIPs of the dead node that has many.
pub const VIPS: usize = 700;
