//! Flows: listing them, and taking away those that are over.
//!
//! A flow lives while either side was seen within its time-out; a TCP connection that neither side has closed keeps five
//! days, as netfilter's does, and only when the table is nearly full are handshakes that never ended taken early.

use std::collections::{HashMap, HashSet};
use std::io;
use std::time::Duration;

use aya::maps::{MapData, MapError};
use landfall_ebpf_abi::flow::{
    FLOW_ANSWERED, FLOW_ESTABLISHED, FLOW_FIN, FLOW_RESET, FLOW_SNAT, FLOW_SUPERSEDED, Flow,
    FlowKey, Reply, ReplyKey,
};
use landfall_ebpf_abi::{Address, PortNumber, map};

use crate::batch;
use crate::clock;
use crate::loader::{Hash, Loaded};

const TCP: u8 = 6;

/// How long a silent flow is kept.
#[derive(Clone, Copy, Debug)]
pub struct TimeOuts {
    /// TCP, handshake not ended.
    pub tcp_opening: Duration,
    /// TCP, established.
    pub tcp_established: Duration,
    /// TCP, closed by both sides or reset.
    pub tcp_closed: Duration,
    /// TCP, closed by one side.
    pub tcp_half_closed: Duration,
    /// UDP, answered.
    pub udp_answered: Duration,
    /// UDP, not answered.
    pub udp_unanswered: Duration,
}

impl Default for TimeOuts {
    fn default() -> Self {
        Self {
            tcp_opening: Duration::from_secs(60),
            tcp_established: Duration::from_secs(5 * 24 * 3600),
            tcp_closed: Duration::from_secs(20),
            tcp_half_closed: Duration::from_secs(3600),
            udp_answered: Duration::from_secs(180),
            udp_unanswered: Duration::from_secs(30),
        }
    }
}

/// What a flow is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowState {
    /// Not yet answered, or a handshake in progress.
    Opening,
    /// Both sides have spoken.
    Established,
    /// One side has closed.
    HalfClosed,
    /// Both sides have closed, or one has reset.
    Closed,
}

impl FlowState {
    /// The state that both directions' entries add up to.
    pub fn of(protocol: u8, flow: &Flow, reply: Option<&Reply>) -> Self {
        let asked = flow.mark.flags();
        let answer = reply.map_or(0, |reply| reply.mark.flags());
        if (asked | answer) & (FLOW_RESET | FLOW_SUPERSEDED) != 0 {
            return Self::Closed;
        }
        match (asked & FLOW_FIN != 0, answer & FLOW_FIN != 0) {
            (true, true) => Self::Closed,
            (true, false) | (false, true) => Self::HalfClosed,
            (false, false) if protocol == TCP && asked & FLOW_ESTABLISHED == 0 => Self::Opening,
            (false, false) if protocol != TCP && answer & FLOW_ANSWERED == 0 => Self::Opening,
            (false, false) => Self::Established,
        }
    }

    fn time_out(self, protocol: u8, limits: &TimeOuts) -> Duration {
        match (protocol == TCP, self) {
            (true, Self::Opening) => limits.tcp_opening,
            (true, Self::Established) => limits.tcp_established,
            (true, Self::HalfClosed) => limits.tcp_half_closed,
            (true, Self::Closed) => limits.tcp_closed,
            (false, Self::Opening) => limits.udp_unanswered,
            (false, _) => limits.udp_answered,
        }
    }
}

/// One flow, both directions.
#[derive(Clone, Copy, Debug)]
pub struct TrackedFlow {
    /// As the client sees it.
    pub key: FlowKey,
    /// Where it goes.
    pub flow: Flow,
    /// Its answers, if the entry is there.
    pub reply: Option<Reply>,
}

impl TrackedFlow {
    /// What it is doing.
    pub fn state(&self) -> FlowState {
        FlowState::of(self.key.protocol, &self.flow, self.reply.as_ref())
    }

    /// Time since either side was last seen, to a tick.
    pub fn silence(&self, now: u32) -> Duration {
        Duration::from_nanos(u64::from(self.age(now)) << landfall_ebpf_abi::flow::TICK_SHIFT)
    }

    /// Whether it is over at `now`.
    pub fn is_over(&self, now: u32, limits: &TimeOuts) -> bool {
        let limit = self.state().time_out(self.key.protocol, limits);
        self.age(now) > clock::ticks(limit)
    }

    /// Ticks since either side was last seen.
    fn age(&self, now: u32) -> u32 {
        let asked = self.flow.mark.age(now);
        self.reply
            .map_or(asked, |reply| reply.mark.age(now).min(asked))
    }

    fn reply_key(&self) -> ReplyKey {
        reply_key(&self.key, &self.flow)
    }
}

fn reply_key(key: &FlowKey, flow: &Flow) -> ReplyKey {
    ReplyKey {
        backend: flow.backend,
        source: flow.source,
        backend_port: flow.backend_port,
        source_port: flow.source_port,
        protocol: key.protocol,
        zero: [0; 3],
    }
}

/// What a collection did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Flows that stay.
    pub kept: u64,
    /// Flows taken away because their time was up.
    pub expired: u64,
    /// Flows taken away because their endpoint is gone.
    pub orphaned: u64,
    /// Answers' entries without a flow, taken away.
    pub stray: u64,
}

/// An endpoint with its protocol.
pub type LiveEndpoint = (Address, PortNumber, u8);

/// The flows that end at this node, to be looked through beside their owner.
pub struct LocalFlows {
    flows: MapData,
}

impl LocalFlows {
    /// Opens the table of the loaded data path.
    ///
    /// # Errors
    /// The pin is gone or may not be opened.
    pub fn open(loaded: &Loaded) -> Result<Self, MapError> {
        let flows = MapData::from_pin(loaded.pins().maps().join(map::FLOWS))?;
        Ok(Self { flows })
    }

    /// Calls `each` for every flow but those that this node only translates.
    ///
    /// # Errors
    /// The kernel's.
    pub fn for_each(&self, mut each: impl FnMut(&FlowKey, &Flow)) -> io::Result<()> {
        batch::for_each(self.flows.fd(), |key: &FlowKey, flow: &Flow| {
            if flow.mark.flags() & FLOW_SNAT == 0 {
                each(key, flow);
            }
        })
    }
}

/// The flow tables. One owner: the connection tracking task.
pub struct Conntrack {
    flows: Hash<FlowKey, Flow>,
    replies: Hash<ReplyKey, Reply>,
    /// The same two maps, to read them in batches.
    flows_data: MapData,
    replies_data: MapData,
    limits: TimeOuts,
}

impl Conntrack {
    /// Takes the tables out of the loaded data path.
    ///
    /// # Errors
    /// A pin is gone or may not be opened.
    pub fn take(loaded: &mut Loaded, limits: TimeOuts) -> Result<Self, MapError> {
        let pins = loaded.pins().maps();
        Ok(Self {
            flows_data: MapData::from_pin(pins.join(map::FLOWS))?,
            replies_data: MapData::from_pin(pins.join(map::REPLIES))?,
            flows: loaded.take(map::FLOWS),
            replies: loaded.take(map::REPLIES),
            limits,
        })
    }

    /// All flows.
    ///
    /// # Errors
    /// The kernel's.
    pub fn list(&self) -> io::Result<Vec<TrackedFlow>> {
        // Replies first: a flow that begins in between is then found without its answer, never an answer without its flow.
        let mut replies = HashMap::new();
        batch::for_each(self.replies_data.fd(), |key: &ReplyKey, reply: &Reply| {
            replies.insert(*key, *reply);
        })?;
        let mut found = Vec::new();
        batch::for_each(self.flows_data.fd(), |key: &FlowKey, flow: &Flow| {
            let reply = replies.get(&reply_key(key, flow)).copied();
            found.push(TrackedFlow {
                key: *key,
                flow: *flow,
                reply,
            });
        })?;
        Ok(found)
    }

    /// Takes away flows whose time is up, and those whose endpoint of this node is not in `live`; nothing is orphaned where
    /// `live` is absent, as before the first plan.
    ///
    /// # Errors
    /// The kernel's, while reading; entries that vanish meanwhile are none.
    pub fn collect(&mut self, live: Option<&HashSet<LiveEndpoint>>) -> io::Result<Collected> {
        let now = clock::tick();
        let mut collected = Collected::default();
        let mut known = HashSet::new();
        for tracked in self.list()? {
            let endpoint = (
                tracked.flow.backend,
                tracked.flow.backend_port,
                tracked.key.protocol,
            );
            let local = tracked.flow.mark.flags() & FLOW_SNAT == 0;
            let orphan = local && live.is_some_and(|live| !live.contains(&endpoint));
            if !orphan && !tracked.is_over(now, &self.limits) {
                collected.kept += 1;
                known.insert(tracked.reply_key());
                continue;
            }
            // The flow may have been renewed since it was read: look again before it goes.
            if let Ok(current) = self.flows.get(&tracked.key, 0)
                && !orphan
                && current.mark != tracked.flow.mark
            {
                collected.kept += 1;
                known.insert(reply_key(&tracked.key, &current));
                continue;
            }
            let _ = self.flows.remove(&tracked.key);
            let _ = self.replies.remove(&tracked.reply_key());
            *(if orphan {
                &mut collected.orphaned
            } else {
                &mut collected.expired
            }) += 1;
        }
        collected.stray = self.collect_stray(&known, now)?;
        Ok(collected)
    }

    /// Answers' entries whose flow is gone: begun and not finished, or left by a daemon that died in between.
    fn collect_stray(&mut self, known: &HashSet<ReplyKey>, now: u32) -> io::Result<u64> {
        let mut stray = Vec::new();
        batch::for_each(self.replies_data.fd(), |key: &ReplyKey, reply: &Reply| {
            if !known.contains(key) {
                stray.push((*key, *reply));
            }
        })?;
        let mut removed = 0;
        for (key, reply) in stray {
            let flow = FlowKey {
                client: reply.client,
                frontend: reply.frontend,
                client_port: reply.client_port,
                frontend_port: reply.frontend_port,
                protocol: key.protocol,
                zero: [0; 3],
            };
            let begun_meanwhile = self
                .flows
                .get(&flow, 0)
                .is_ok_and(|flow| flow.backend == key.backend);
            if !begun_meanwhile && reply.mark.age(now) > 0 {
                let _ = self.replies.remove(&key);
                removed += 1;
            }
        }
        Ok(removed)
    }
}

#[cfg(test)]
mod tests {
    use landfall_ebpf_abi::flow::Mark;

    use super::*;

    const UDP: u8 = 17;

    fn tracked(protocol: u8, flags: u32, answer: u32, seen: u32, answered: u32) -> TrackedFlow {
        TrackedFlow {
            key: FlowKey {
                protocol,
                ..FlowKey::default()
            },
            flow: Flow {
                mark: Mark::new(seen, flags),
                ..Flow::default()
            },
            reply: Some(Reply {
                mark: Mark::new(answered, answer),
                ..Reply::default()
            }),
        }
    }

    #[test]
    fn a_connection_that_only_the_endpoint_speaks_on_stays_alive() {
        let limits = TimeOuts::default();
        let day = clock::ticks(Duration::from_secs(24 * 3600));
        let flow = tracked(TCP, FLOW_ESTABLISHED, FLOW_ESTABLISHED, 1, 10 * day);
        assert!(!flow.is_over(11 * day, &limits));
    }

    #[test]
    fn an_idle_connection_survives_days_and_a_half_open_one_does_not_survive_minutes() {
        let limits = TimeOuts::default();
        let day = clock::ticks(Duration::from_secs(24 * 3600));
        assert!(!tracked(TCP, FLOW_ESTABLISHED, FLOW_ESTABLISHED, 1, 1).is_over(4 * day, &limits));
        assert!(tracked(TCP, FLOW_ESTABLISHED, FLOW_ESTABLISHED, 1, 1).is_over(6 * day, &limits));
        assert!(tracked(TCP, 0, 0, 1, 0).is_over(clock::ticks(Duration::from_secs(90)), &limits));
    }

    #[test]
    fn closed_connections_make_room_soon_and_half_closed_ones_may_go_on() {
        let limits = TimeOuts::default();
        let half_minute = clock::ticks(Duration::from_secs(30));
        assert_eq!(
            tracked(TCP, FLOW_FIN, FLOW_FIN, 1, 1).state(),
            FlowState::Closed
        );
        assert!(tracked(TCP, FLOW_FIN, FLOW_FIN, 1, 1).is_over(half_minute + 2, &limits));
        assert!(!tracked(TCP, FLOW_FIN, 0, 1, 1).is_over(half_minute + 2, &limits));
        assert!(tracked(TCP, FLOW_ESTABLISHED, FLOW_RESET, 1, 1).is_over(half_minute + 2, &limits));
    }

    #[test]
    fn an_unanswered_datagram_is_forgotten_before_an_answered_one() {
        let limits = TimeOuts::default();
        let minute = clock::ticks(Duration::from_secs(60));
        assert!(tracked(UDP, 0, 0, 1, 0).is_over(minute + 1, &limits));
        assert!(!tracked(UDP, 0, FLOW_ANSWERED, 1, 1).is_over(minute + 1, &limits));
    }
}
