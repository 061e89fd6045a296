//! `landfall l2 list`.

use crate::api::snapshot::{Announcement, Timestamp};
use crate::cli::format::{Cell, Table, age};
use crate::cli::render::or_dash;

/// One row an address.
pub(in crate::cli) fn table(announced: &[Announcement], now: Timestamp) -> String {
    let columns = [
        "ADDRESS",
        "SERVICE",
        "NODE",
        "INTERFACE",
        "RESPONDER",
        "SINCE",
        "ANSWERS",
    ];
    let mut table = Table::new(&columns);
    for one in announced {
        table.row(&[
            one.address.into(),
            Cell::Lines(one.services.clone()),
            one.node.as_str().into(),
            or_dash(one.interface.as_deref()).into(),
            or_dash(one.responder.as_deref()).into(),
            or_dash(one.since.map(|since| age(since.age(now)))).into(),
            or_dash(one.answers).into(),
        ]);
    }
    table.render()
}
