//! `landfall l2 history`.

use crate::api::snapshot::{HandOver, Timestamp};
use crate::cli::format::{Cell, Table, age};
use crate::cli::render::or_dash;

/// One row a change of hands.
pub(in crate::cli) fn table(changes: &[HandOver], now: Timestamp) -> String {
    let columns = [
        "AGO",
        "LEASE",
        "ADDRESSES",
        "FROM",
        "TO",
        "CAUSE",
        "SILENCE",
    ];
    let mut table = Table::new(&columns);
    for one in changes {
        let silence = one.silence_ms.map(|silence| format!("{silence}ms"));
        table.row(&[
            age(one.at.age(now)).into(),
            one.lease.as_str().into(),
            Cell::Lines(one.addresses.iter().map(ToString::to_string).collect()),
            or_dash(one.from.as_deref()).into(),
            or_dash(one.to.as_deref()).into(),
            one.cause.as_str().into(),
            or_dash(silence).into(),
        ]);
    }
    table.render()
}
