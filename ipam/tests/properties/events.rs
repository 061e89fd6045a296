//! Random events for the small world.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use landfall_ipam::{
    Created, CrossNamespace, Family, FamilyRequest, FirstLast, Protocol, ServiceId, ServicePort,
    ServiceRequest, TrafficPolicy,
};
use proptest::prelude::*;

use super::model::{For, ModelPool, Piece, address};

/// Something that happens.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Pools(Vec<ModelPool>),
    /// One pool of the list is replaced; an index beyond it adds.
    OnePool(usize, ModelPool),
    Upsert(Box<ServiceRequest>),
    Remove(ServiceId),
    Forbid(BTreeSet<IpAddr>),
    /// The allocator is made anew and imports services in an order given by the number.
    Restart(u64),
}

fn family() -> impl Strategy<Value = Family> {
    prop_oneof![3 => Just(Family::V4), 2 => Just(Family::V6)]
}

fn any_address() -> impl Strategy<Value = IpAddr> {
    (family(), 0_u8..20).prop_map(|(family, number)| address(family, number))
}

fn piece() -> impl Strategy<Value = Piece> {
    prop_oneof![
        (family(), 0_u8..5, 0_u8..4).prop_map(|(family, index, size)| {
            Piece::Cidr {
                family,
                index: index >> size.saturating_sub(1),
                size,
            }
        }),
        (family(), 0_u8..16, 0_u8..4).prop_map(|(family, start, more)| Piece::Range {
            family,
            start,
            stop: start + more
        }),
    ]
}

fn pool() -> impl Strategy<Value = ModelPool> {
    let who = prop_oneof![
        3 => Just(For::Everyone),
        1 => Just(For::Color("blue")),
        1 => Just(For::Color("red")),
        1 => Just(For::Namespace("a")),
    ];
    let pieces = prop::collection::vec(piece(), 0..4);
    (
        0_u8..4,
        0_u64..3,
        pieces,
        any::<bool>(),
        who,
        prop::bool::weighted(0.15),
    )
        .prop_map(
            |(name, created, pieces, reserved, who, disabled)| ModelPool {
                name: format!("pool-{name}"),
                created,
                pieces,
                first_last: if reserved {
                    FirstLast::Reserved
                } else {
                    FirstLast::Allowed
                },
                who,
                disabled,
            },
        )
        .prop_filter("pieces of a pool do not overlap", |pool| {
            pool.build().is_some()
        })
}

fn pools() -> impl Strategy<Value = Vec<ModelPool>> {
    prop::collection::vec(pool(), 0..4).prop_map(|pools| {
        let by_name: BTreeMap<String, ModelPool> = pools
            .into_iter()
            .map(|pool| (pool.name.clone(), pool))
            .collect();
        by_name.into_values().collect()
    })
}

fn id() -> impl Strategy<Value = ServiceId> {
    (prop::sample::select(vec!["a", "b"]), 0_u8..4)
        .prop_map(|(namespace, name)| ServiceId::new(namespace, &format!("service-{name}")))
}

fn sharing() -> impl Strategy<Value = (Option<String>, CrossNamespace, TrafficPolicy)> {
    let key = prop_oneof![
        2 => Just(None),
        3 => Just(Some("key".to_owned())),
        1 => Just(Some("other".to_owned())),
        1 => Just(Some(String::new())),
    ];
    let cross = prop_oneof![
        1 => Just(CrossNamespace::Never),
        2 => Just(CrossNamespace::Any),
        1 => Just(CrossNamespace::Only(["a".to_owned()].into())),
    ];
    let policy = prop_oneof![
        4 => Just(TrafficPolicy::Cluster),
        1 => Just(TrafficPolicy::Local { endpoints: "app=web".to_owned() }),
        1 => Just(TrafficPolicy::Local { endpoints: "app=mail".to_owned() }),
    ];
    (key, cross, policy)
}

fn families() -> impl Strategy<Value = FamilyRequest> {
    (family(), 0_u8..3).prop_map(|(family, policy)| match policy {
        0 => FamilyRequest::SingleStack(family),
        1 => FamilyRequest::PreferDualStack(family),
        _ => FamilyRequest::RequireDualStack(family),
    })
}

fn service() -> impl Strategy<Value = ServiceRequest> {
    let color = prop::option::of(prop::sample::select(vec!["blue", "red"]));
    let requested = prop_oneof![
        3 => Just(Vec::new()),
        1 => prop::collection::vec(any_address(), 1..4),
    ];
    let ports = prop::collection::btree_set(80_u16..84, 0..3);
    let pool = prop::option::weighted(0.15, (0_u8..4).prop_map(|name| format!("pool-{name}")));
    let current = prop_oneof![
        3 => Just(Vec::new()),
        1 => prop::collection::vec(any_address(), 1..3),
    ];
    (
        id(),
        0_u64..4,
        color,
        families(),
        requested,
        sharing(),
        ports,
        pool,
        current,
    )
        .prop_map(
            |(id, created, color, families, requested, sharing, ports, pool, current)| {
                let mut request = ServiceRequest::new(id, Created(created));
                request.labels = color
                    .into_iter()
                    .map(|color| ("color".to_owned(), color.to_owned()))
                    .collect();
                request.families = families;
                request.requested = requested;
                (
                    request.sharing_key,
                    request.cross_namespace,
                    request.traffic_policy,
                ) = sharing;
                request.ports = ports
                    .into_iter()
                    .map(|number| ServicePort {
                        protocol: Protocol::Tcp,
                        number,
                    })
                    .collect();
                request.pool = pool;
                request.current = current;
                request
            },
        )
}

/// A history: pools first, then anything.
pub(crate) fn history() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        1 => pools().prop_map(Event::Pools),
        3 => (0_usize..4, pool()).prop_map(|(index, pool)| Event::OnePool(index, pool)),
        9 => service().prop_map(|service| Event::Upsert(Box::new(service))),
        2 => id().prop_map(Event::Remove),
        1 => prop::collection::btree_set(any_address(), 0..4).prop_map(Event::Forbid),
        1 => any::<u64>().prop_map(Event::Restart),
    ];
    (pools(), prop::collection::vec(event, 4..28)).prop_map(|(pools, mut events)| {
        events.insert(0, Event::Pools(pools));
        events
    })
}
