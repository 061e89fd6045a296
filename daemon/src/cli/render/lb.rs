//! `landfall bpf lb list`.

use std::net::SocketAddr;

use super::protocol;
use crate::cli::bpf::KernelFrontend;
use crate::cli::format::{Cell, Table};

/// One row a frontend, one line an endpoint.
pub(in crate::cli) fn table(frontends: &[KernelFrontend]) -> String {
    let mut table = Table::new(&["ID", "FRONTEND", "BACKENDS"]);
    for frontend in frontends {
        let address = SocketAddr::new(frontend.address, frontend.port);
        let backends = frontend
            .backends
            .iter()
            .enumerate()
            .map(|(index, backend)| {
                let address = SocketAddr::new(backend.address, backend.port);
                format!(
                    "{} => {address} ({}, node {})",
                    index + 1,
                    backend.reached,
                    backend.node
                )
            });
        table.row(&[
            frontend.id.into(),
            format!("{address}/{}", protocol(frontend.protocol)).into(),
            Cell::Lines(backends.collect()),
        ]);
    }
    table.render()
}
