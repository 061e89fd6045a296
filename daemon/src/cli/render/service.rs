//! `landfall service list`, in the columns Cilium's users know, and `landfall service describe`.

use std::fmt::Write as _;
use std::net::SocketAddr;

use crate::api::snapshot::{Backend, Event, Frontend, Service, Timestamp};
use crate::cli::format::{BAD, Cell, DIM, GOOD, HEAD, Table, WARN, age, paint};
use crate::cli::render::{l2, or_dash};
use crate::objects::{Condition, ConditionStatus};

/// One row a frontend, one line a backend.
pub(in crate::cli) fn table(frontends: &[Frontend], wide: bool) -> String {
    let mut columns = vec!["ID", "FRONTEND", "TYPE", "BACKENDS"];
    if wide {
        columns.splice(3..3, ["SERVICE", "PORT", "POLICY", "SOURCES"]);
    }
    let mut table = Table::new(&columns);
    for frontend in frontends {
        let address = SocketAddr::new(frontend.address, frontend.port);
        let mut row: Vec<Cell> = vec![
            frontend.id.into(),
            format!("{address}/{}", frontend.protocol).into(),
            frontend.kind.as_str().into(),
        ];
        if wide {
            let sources = if frontend.source_ranges.is_empty() {
                "any".to_owned()
            } else {
                frontend.source_ranges.join(",")
            };
            let port = if frontend.port_name.is_empty() {
                "-"
            } else {
                &frontend.port_name
            };
            row.extend([
                frontend.service.as_str().into(),
                port.into(),
                frontend.traffic_policy.as_str().into(),
                sources.into(),
            ]);
        }
        row.push(backends(&frontend.backends, wide));
        table.row(&row);
    }
    table.render()
}

/// One Service as `kubectl describe` would show it.
pub(in crate::cli) fn description(service: &Service, now: Timestamp, wide: bool) -> String {
    let assigned = service.addresses.iter();
    let assigned = assigned.map(|one| format!("{} (pool {})", one.address, one.pool));
    let external = service
        .external_ips
        .iter()
        .map(|ip| format!("{ip} (external)"));
    let addresses: Vec<String> = assigned.chain(external).collect();
    let addresses = match addresses.is_empty() {
        true => paint(WARN, "none"),
        false => addresses.join(", "),
    };
    let mut text = String::new();
    for (label, value) in [
        ("Name:", service.name.as_str()),
        ("Namespace:", &service.namespace),
        ("Addresses:", &addresses),
    ] {
        let _ = writeln!(text, "{}{value}", paint(HEAD, format_args!("{label:<12}")));
    }
    if !service.announced.is_empty() {
        let _ = write!(text, "\n{}", l2::table(&service.announced, now));
    }
    if !service.frontends.is_empty() {
        let _ = write!(text, "\n{}", table(&service.frontends, wide));
    }
    let _ = write!(text, "\n{}", conditions(&service.conditions, now));
    if service.events.is_empty() {
        let _ = writeln!(text, "\nNo events.");
    } else {
        let _ = write!(text, "\n{}", events(&service.events, now));
    }
    text
}

fn conditions(conditions: &[Condition], now: Timestamp) -> String {
    let mut table = Table::new(&["CONDITION", "STATUS", "REASON", "SINCE", "MESSAGE"]);
    for condition in conditions {
        let (style, status) = match condition.status {
            ConditionStatus::True => (GOOD, "True"),
            ConditionStatus::False => (BAD, "False"),
            ConditionStatus::Unknown => (WARN, "Unknown"),
        };
        let since = humantime::parse_rfc3339(&condition.last_transition_time);
        table.row(&[
            condition.type_.as_str().into(),
            paint(style, status).into(),
            condition.reason.as_str().into(),
            or_dash(since.ok().map(|since| age(Timestamp(since).age(now)))).into(),
            condition.message.as_str().into(),
        ]);
    }
    table.render()
}

fn events(events: &[Event], now: Timestamp) -> String {
    let mut table = Table::new(&["EVENT", "REASON", "AGE", "FROM", "MESSAGE"]);
    for event in events {
        let style = if event.kind == "Normal" { DIM } else { WARN };
        let last = age(event.last_timestamp.age(now));
        let when = match event.count {
            0 | 1 => last,
            count => format!(
                "{last} (x{count} over {})",
                age(event.first_timestamp.age(now))
            ),
        };
        table.row(&[
            paint(style, &event.kind).into(),
            event.reason.as_str().into(),
            when.into(),
            event.reporting_instance.as_str().into(),
            event.message.as_str().into(),
        ]);
    }
    table.render()
}

fn backends(backends: &[Backend], wide: bool) -> Cell {
    if backends.is_empty() {
        return paint(WARN, "none ready: connections are rejected").into();
    }
    let lines = backends.iter().enumerate().map(|(index, backend)| {
        let address = SocketAddr::new(backend.address, backend.port);
        let style = if backend.state == "active" { GOOD } else { DIM };
        let state = paint(style, format_args!("({})", backend.state));
        let node = match &backend.node {
            Some(node) if wide => format!(" on {node}"),
            _ => String::new(),
        };
        format!("{} => {address} {state}{node}", index + 1)
    });
    Cell::Lines(lines.collect())
}
