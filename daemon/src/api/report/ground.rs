//! What the node's right to answer rests on, and how the others stand to it.

use std::collections::BTreeSet;
use std::time::Duration;

use landfall_core::election::{LeaseTable, Moment};
use landfall_core::model::NodeName;
use landfall_core::quorum::record::{MemberRecord, granters_of};
use landfall_core::quorum::{PeerLease, Settings, View};

use crate::api::snapshot::{Ground, Member};

/// The ground as `view` has it. `record` is that of the store; before it was read, the members are those heard of.
pub fn ground(
    view: &View,
    record: Option<&MemberRecord>,
    (table, me): (&LeaseTable, &NodeName),
    settings: &Settings,
    now: Moment,
) -> Ground {
    let kind = match (view.by_quorum, view.by_lease) {
        (true, true) => "quorum and lease",
        (true, false) => "quorum",
        (false, true) => "lease",
        (false, false) => "none",
    };
    let holds = view.deadline().filter(|deadline| now < *deadline);
    let holds = holds.map(|deadline| deadline.since(now));
    // While both are needed, grants are what runs out first.
    let good_for = if view.by_quorum {
        view.granted_for
    } else {
        settings
            .lease_duration
            .saturating_sub(settings.lease_margin)
    };
    let (members, granters) = match record {
        Some(record) => {
            let sides = || {
                [Some(&record.members), record.previous.as_ref()]
                    .into_iter()
                    .flatten()
            };
            let granters: BTreeSet<NodeName> = sides().flat_map(granters_of).collect();
            (sides().flatten().cloned().collect(), granters)
        }
        None => {
            let heard_of: BTreeSet<NodeName> = view.peers.keys().cloned().collect();
            let granters = granters_of(&heard_of);
            (heard_of, granters)
        }
    };
    let members = members.iter().map(|node| Member {
        node: node.to_string(),
        grants: view.by_quorum && granters.contains(node),
        state: state(view, (table, me), node, now).to_owned(),
        heard_ms_ago: heard_at(view, node).map(|at| millis(now.since(at))),
    });
    Ground {
        kind: kind.to_owned(),
        epoch: view.epoch.map(|epoch| epoch.0),
        changing: view.joint,
        term: view.term.map(|term| term.0),
        refused: view.is_refused(),
        holds_ms: holds.map(millis),
        grant_age_ms: holds.map(|holds| millis(good_for.saturating_sub(holds))),
        least_slack_ms: None,
        members: members.collect(),
    }
}

fn heard_at(view: &View, node: &NodeName) -> Option<Moment> {
    view.peers.get(node)?.heard_at
}

fn state(
    view: &View,
    (table, me): (&LeaseTable, &NodeName),
    node: &NodeName,
    now: Moment,
) -> &'static str {
    if node == me {
        return "self";
    }
    let seen = table.node(node);
    let Some((seen, lease)) = seen.and_then(|seen| Some((seen, seen.present()?))) else {
        return "silent";
    };
    let lease = PeerLease {
        term: lease.term,
        fenced: lease.fenced_by.is_some(),
        changed_at: seen.changed_at,
        duration: lease.duration,
    };
    let lapsed = view.peers.get(node).and_then(|peer| peer.lapsed);
    if lease.fenced || lapsed >= Some(lease.term) {
        "refused"
    } else if view.is_live(node, &lease, now) {
        "heard"
    } else {
        "silent"
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use landfall_core::election::{
        BootId, Content, Incarnation, LeaseName, NodeLease, Record, Revision, Term,
    };
    use landfall_core::quorum::record::Epoch;
    use landfall_core::quorum::{Event, Identity, Quorum};

    use super::*;

    fn at(ms: u64) -> Moment {
        Moment::from_boot(Duration::from_millis(ms))
    }

    /// A table in which each of `nodes` has a lease of its first term, renewed at 10 s.
    fn table(nodes: &[&str]) -> LeaseTable {
        let mut table = LeaseTable::default();
        for node in nodes.iter().map(|node| NodeName::new(*node)) {
            let name = LeaseName::of_node(&node);
            let lease = Record::Node(NodeLease {
                node,
                incarnation: Incarnation(1),
                boot: BootId(1),
                term: Term(1),
                renewals: 1,
                duration: Duration::from_secs(3),
                fenced_by: None,
                bequests: Arc::default(),
                payload: Arc::from(""),
            });
            table.observe(&name, Some(Revision(1)), Content::Record(lease), at(10_000));
        }
        table
    }

    #[test]
    fn alone_a_node_stands_on_its_lease_and_its_right_is_as_old_as_the_renewal() {
        let me = NodeName::new("n1");
        let identity = Identity {
            node: me.clone(),
            incarnation: Incarnation(1),
        };
        let settings = Settings::default();
        let mut machine = Quorum::new(identity, settings, Default::default(), at(9_000));
        let record = MemberRecord {
            epoch: Epoch(4),
            members: [me.clone()].into(),
            previous: None,
        };
        let mut now = at(10_000);
        let told = [
            Event::Tenure(Some(Term(1))),
            Event::Leases(Default::default()),
            Event::Record {
                revision: Some(Revision(7)),
                record: Some(record.clone()),
            },
            Event::Renewed {
                term: Term(1),
                started: now,
            },
        ];
        let mut waiting: std::collections::VecDeque<Event> = told.into();
        // Carries out what the machine wants: the disk and the store answer at once.
        while let Some(event) = waiting.pop_front() {
            now = now + Duration::from_millis(1);
            for action in machine.handle(event, now) {
                match action {
                    landfall_core::quorum::Action::Store { version, .. } => {
                        waiting.push_back(Event::Stored { version });
                    }
                    landfall_core::quorum::Action::Survey { number } => {
                        waiting.push_back(Event::Surveyed {
                            number,
                            revision: Some(Revision(7)),
                            record: Some(record.clone()),
                            leases: Default::default(),
                        });
                    }
                    _ => {}
                }
            }
        }
        let view = machine.view(at(10_500));
        let told = ground(
            &view,
            Some(&record),
            (&table(&["n1"]), &me),
            &settings,
            at(10_500),
        );
        assert_eq!(
            (told.kind.as_str(), told.epoch, told.term),
            ("lease", Some(4), Some(1))
        );
        assert_eq!((told.grant_age_ms, told.holds_ms), (Some(500), Some(2_350)));
        let member = &told.members[0];
        assert_eq!(
            (member.node.as_str(), member.state.as_str(), member.grants),
            ("n1", "self", false)
        );
        let late = ground(
            &view,
            Some(&record),
            (&table(&["n1"]), &me),
            &settings,
            at(13_000),
        );
        assert_eq!((late.grant_age_ms, late.holds_ms), (None, None));
    }

    #[test]
    fn members_are_heard_silent_or_refused_and_seven_of_more_grant() {
        let names: Vec<String> = (1..=8).map(|number| format!("n{number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let me = NodeName::new("n1");
        let record = MemberRecord {
            epoch: Epoch(9),
            members: names.iter().map(|name| NodeName::new(*name)).collect(),
            previous: None,
        };
        let mut view = View::default();
        view.by_quorum = true;
        let peer = |lapsed| landfall_core::quorum::PeerView {
            heard_at: Some(at(10_100)),
            vouched: true,
            lapsed,
            ..Default::default()
        };
        view.peers.insert(NodeName::new("n2"), peer(None));
        view.peers.insert(NodeName::new("n3"), peer(Some(Term(1))));
        let told = ground(
            &view,
            Some(&record),
            (&table(&names), &me),
            &Settings::default(),
            at(10_140),
        );
        let states: Vec<&str> = told
            .members
            .iter()
            .map(|member| member.state.as_str())
            .collect();
        assert_eq!(states[..4], ["self", "heard", "refused", "silent"]);
        assert_eq!(
            told.members.iter().filter(|member| member.grants).count(),
            7
        );
        assert_eq!(told.members[1].heard_ms_ago, Some(40));
        assert_eq!(told.members[3].heard_ms_ago, None);
    }
}
