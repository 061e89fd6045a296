//! `landfall service list`, in the columns Cilium's users know.

use std::net::SocketAddr;

use crate::api::snapshot::{Backend, Frontend};
use crate::cli::format::{Cell, DIM, GOOD, Table, WARN, paint};

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
