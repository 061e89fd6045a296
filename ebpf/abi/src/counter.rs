//! Counters of verdicts, per CPU, always on.

/// Why a packet went where it went: an index into the counter array.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Counter {
    /// Re-sent to the chosen node.
    Forwarded,
    /// Delivered to an endpoint of this node, flow known.
    DeliveredEstablished,
    /// Delivered to an endpoint of this node, flow new.
    DeliveredNew,
    /// Translated to an endpoint of another node.
    Translated,
    /// Passed on, marked, to the node that knows the flow.
    PassedOn,
    /// A marked frame arrived.
    MarkedArrived,
    /// An endpoint's answer got its frontend's address back.
    Restored,
    /// ARP request answered.
    ArpAnswered,
    /// Neighbour solicitation answered.
    NdpAnswered,
    /// ARP request or solicitation for an announced address left unanswered: the deadline had passed.
    DeadlinePassed,
    /// ICMP echo answered.
    EchoAnswered,
    /// Rejected: no endpoint is ready.
    RejectedNoEndpoint,
    /// Rejected: no service has the port.
    RejectedNoService,
    /// Dropped: the client is outside the service's source ranges.
    DroppedSourceRange,
    /// Dropped: the connection tracking table is full.
    DroppedFlowTableFull,
    /// Dropped: the chosen node is unreachable.
    DroppedNodeUnreachable,
    /// Dropped: no route to the endpoint or the client.
    DroppedNoRoute,
    /// Dropped: no free source port.
    DroppedNoSourcePort,
    /// Dropped: a frame that cannot be parsed.
    DroppedMalformed,
    /// Liveness probe of another node echoed.
    ProbeEchoed,
    /// A local client's connect was rewritten.
    SocketRewritten,
    /// Sent to the node that has told that it keeps the flow.
    AskedKeeper,
    /// Arrived for a flow that this node had told of, and does not know any more.
    AskedInVain,
    /// Dropped for its sender to re-send: who keeps the connection is about to be told.
    DroppedUnsettled,
}

impl Counter {
    /// All counters in order of their index.
    pub const ALL: [Self; 24] = [
        Self::Forwarded,
        Self::DeliveredEstablished,
        Self::DeliveredNew,
        Self::Translated,
        Self::PassedOn,
        Self::MarkedArrived,
        Self::Restored,
        Self::ArpAnswered,
        Self::NdpAnswered,
        Self::DeadlinePassed,
        Self::EchoAnswered,
        Self::RejectedNoEndpoint,
        Self::RejectedNoService,
        Self::DroppedSourceRange,
        Self::DroppedFlowTableFull,
        Self::DroppedNodeUnreachable,
        Self::DroppedNoRoute,
        Self::DroppedNoSourcePort,
        Self::DroppedMalformed,
        Self::ProbeEchoed,
        Self::SocketRewritten,
        Self::AskedKeeper,
        Self::AskedInVain,
        Self::DroppedUnsettled,
    ];

    /// Its name as a label value.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Forwarded => "forwarded",
            Self::DeliveredEstablished => "delivered_established",
            Self::DeliveredNew => "delivered_new",
            Self::Translated => "translated",
            Self::PassedOn => "passed_on",
            Self::MarkedArrived => "marked_arrived",
            Self::Restored => "restored",
            Self::ArpAnswered => "arp_answered",
            Self::NdpAnswered => "ndp_answered",
            Self::DeadlinePassed => "deadline_passed",
            Self::EchoAnswered => "echo_answered",
            Self::RejectedNoEndpoint => "rejected_no_endpoint",
            Self::RejectedNoService => "rejected_no_service",
            Self::DroppedSourceRange => "dropped_source_range",
            Self::DroppedFlowTableFull => "dropped_flow_table_full",
            Self::DroppedNodeUnreachable => "dropped_node_unreachable",
            Self::DroppedNoRoute => "dropped_no_route",
            Self::DroppedNoSourcePort => "dropped_no_source_port",
            Self::DroppedMalformed => "dropped_malformed",
            Self::ProbeEchoed => "probe_echoed",
            Self::SocketRewritten => "socket_rewritten",
            Self::AskedKeeper => "asked_keeper",
            Self::AskedInVain => "asked_in_vain",
            Self::DroppedUnsettled => "dropped_unsettled",
        }
    }
}

/// Size of the counter array.
pub const COUNTERS: u32 = Counter::ALL.len() as u32;
