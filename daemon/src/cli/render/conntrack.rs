//! `landfall bpf ct list`.

use std::net::SocketAddr;

use super::protocol;
use crate::cli::bpf::KernelFlow;
use crate::cli::format::Table;

/// One row a connection.
pub(in crate::cli) fn table(flows: &[KernelFlow]) -> String {
    let mut table = Table::new(&["PROTOCOL", "CLIENT", "FRONTEND", "BACKEND", "STATE", "IDLE"]);
    for flow in flows {
        table.row(&[
            protocol(flow.protocol).into(),
            SocketAddr::new(flow.client, flow.client_port).into(),
            SocketAddr::new(flow.frontend, flow.frontend_port).into(),
            SocketAddr::new(flow.backend, flow.backend_port).into(),
            flow.state.as_str().into(),
            format!("{}s", flow.idle_s).into(),
        ]);
    }
    table.render()
}
