//! Reports made from what planners and effects publish. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, UNIX_EPOCH};

use landfall_core::election::{
    Holder, LeaseName, LeaseTable, Moment, Seen, ServiceLease, Standing,
};
use landfall_core::model::NodeName;
use landfall_core::plan::service_table::{self, FrontendKind, ServiceTable};

use super::snapshot::{Backend, Frontend, Lease, Timestamp};

/// The service table in the order of its keys, numbered from 1.
pub fn frontends(table: &ServiceTable) -> Vec<Frontend> {
    let mut frontends: Vec<Frontend> = Vec::with_capacity(table.frontends.len());
    for (id, (key, frontend)) in (1..).zip(&table.frontends) {
        let active = frontend.backends.iter().map(|one| backend(one, "active"));
        let draining = frontend
            .draining
            .iter()
            .map(|one| backend(one, "terminating"));
        frontends.push(Frontend {
            id,
            address: key.address,
            port: key.port.get(),
            protocol: key.protocol.to_string(),
            kind: match frontend.kind {
                FrontendKind::ClusterIp => "ClusterIP",
                FrontendKind::LoadBalancer => "LoadBalancer",
                FrontendKind::ExternalIp => "ExternalIP",
            }
            .to_owned(),
            service: frontend.service.to_string(),
            port_name: frontend.port_name.to_string(),
            traffic_policy: if frontend.local_only {
                "Local"
            } else {
                "Cluster"
            }
            .to_owned(),
            source_ranges: frontend
                .source_ranges
                .iter()
                .map(ToString::to_string)
                .collect(),
            backends: active.chain(draining).collect(),
        });
    }
    frontends
}

fn backend(backend: &service_table::Backend, state: &str) -> Backend {
    Backend {
        address: backend.address,
        port: backend.port.get(),
        node: backend.node.as_ref().map(ToString::to_string),
        state: state.to_owned(),
    }
}

/// Every lease as this node sees it, nodes first. `addresses` are those that go with each lease.
///
/// A node lease counts as valid while it was seen to change within its own duration.
pub fn leases(
    table: &LeaseTable,
    me: &NodeName,
    now: Moment,
    addresses: &BTreeMap<LeaseName, Vec<IpAddr>>,
) -> Vec<Lease> {
    let mut leases = Vec::new();
    for (name, seen) in table.nodes() {
        let Some(record) = &seen.record else { continue };
        let fresh = now.since(seen.changed_at) <= record.duration;
        leases.push(Lease {
            name: name.as_str().to_owned(),
            kind: "node".to_owned(),
            holder: record.fenced_by.is_none().then(|| record.node.to_string()),
            ours: record.node == *me,
            valid: fresh && record.fenced_by.is_none(),
            since: None,
            transitions: 0,
            addresses: Vec::new(),
        });
    }
    for (name, seen) in table.services() {
        leases.extend(service_lease(
            table,
            name,
            seen,
            me,
            now,
            addresses.get(name),
        ));
    }
    leases
}

fn service_lease(
    table: &LeaseTable,
    name: &LeaseName,
    seen: &Seen<ServiceLease>,
    me: &NodeName,
    now: Moment,
    addresses: Option<&Vec<IpAddr>>,
) -> Option<Lease> {
    let record = seen.present()?;
    let holds = |holder: &Holder| {
        let lease = table.node(&holder.node);
        let fresh = lease.and_then(|lease| {
            let record = lease.record.as_ref()?;
            Some(now.since(lease.changed_at) <= record.duration)
        });
        table.standing(holder) == Standing::Holding && fresh == Some(true)
    };
    Some(Lease {
        name: name.as_str().to_owned(),
        kind: "service".to_owned(),
        holder: record.holder.as_ref().map(|holder| holder.node.to_string()),
        ours: record
            .holder
            .as_ref()
            .is_some_and(|holder| holder.node == *me),
        valid: record.holder.as_ref().is_some_and(holds),
        since: record
            .holder
            .is_some()
            .then(|| Timestamp(UNIX_EPOCH + Duration::from_secs(record.acquired_unix))),
        transitions: record.transitions,
        addresses: addresses.cloned().unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use landfall_core::election::{
        BootId, Cause, Content, Incarnation, NodeLease, Record, Revision, Term,
    };
    use landfall_core::model::{ObjectName, Port, Protocol};
    use landfall_core::plan::service_table::FrontendKey;

    use super::*;

    fn port(number: u16) -> Port {
        Port::new(number).expect("not 0")
    }

    #[test]
    fn draining_backends_are_listed_as_terminating_after_the_active_ones() {
        let backend = |last: u8| service_table::Backend {
            address: IpAddr::from([10, 244, 0, last]),
            port: port(8080),
            node: Some(NodeName::new("node1")),
        };
        let frontend = service_table::Frontend {
            service: ObjectName::new("default", "svc1"),
            port_name: "web".into(),
            kind: FrontendKind::LoadBalancer,
            backends: vec![backend(9)],
            draining: vec![backend(2)],
            source_ranges: Vec::new(),
            affinity: None,
            local_only: true,
        };
        let key = FrontendKey {
            address: IpAddr::from([10, 10, 200, 1]),
            port: port(80),
            protocol: Protocol::Tcp,
        };
        let table = ServiceTable {
            frontends: [(key, Arc::new(frontend))].into(),
        };
        let listed = frontends(&table);
        assert_eq!(listed.len(), 1);
        assert_eq!(
            (listed[0].id, listed[0].traffic_policy.as_str()),
            (1, "Local")
        );
        let states: Vec<_> = listed[0]
            .backends
            .iter()
            .map(|b| (b.address.to_string(), b.state.as_str()))
            .collect();
        assert_eq!(
            states,
            [
                ("10.244.0.9".to_owned(), "active"),
                ("10.244.0.2".to_owned(), "terminating")
            ]
        );
    }

    #[test]
    fn a_service_lease_is_valid_while_its_holders_node_lease_is() {
        let at = |seconds| Moment::from_boot(Duration::from_secs(seconds));
        let node2 = NodeName::new("node2");
        let mut table = LeaseTable::default();
        let node = Record::Node(NodeLease {
            node: node2.clone(),
            incarnation: Incarnation(1),
            boot: BootId(1),
            term: Term(5),
            renewals: 1,
            duration: Duration::from_secs(3),
            fenced_by: None,
            payload: Arc::from(""),
        });
        let name = LeaseName::of_node(&node2);
        table.observe(&name, Some(Revision(1)), Content::Record(node), at(100));
        let service = Record::Service(ServiceLease {
            holder: Some(Holder {
                node: node2,
                term: Term(5),
            }),
            leaving: false,
            previous: None,
            cause: Cause::First,
            acquired_unix: 1_000,
            transitions: 1,
        });
        let name = LeaseName::of_service("default", "svc1");
        table.observe(&name, Some(Revision(1)), Content::Record(service), at(100));

        let me = NodeName::new("node1");
        let addresses = [(name, vec![IpAddr::from([10, 10, 200, 1])])].into();
        let judged = |now| -> Vec<bool> {
            leases(&table, &me, at(now), &addresses)
                .iter()
                .map(|lease| lease.valid)
                .collect()
        };
        assert_eq!(judged(102), [true, true]);
        assert_eq!(judged(104), [false, false]);
        let listed = leases(&table, &me, at(102), &addresses);
        assert_eq!(listed[1].name, "landfall-l2-default.svc1");
        assert_eq!(listed[1].holder.as_deref(), Some("node2"));
        assert!(!listed[1].ours);
        assert_eq!(listed[1].addresses.len(), 1);
    }
}
