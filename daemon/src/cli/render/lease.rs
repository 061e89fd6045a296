//! `landfall lease list`.

use crate::api::snapshot::{Lease, Timestamp};
use crate::cli::format::{BAD, Cell, GOOD, Table, age, paint};
use crate::cli::render::or_dash;

/// One row a lease; addresses, transitions and the cause of the last in the wide table.
pub(in crate::cli) fn table(leases: &[Lease], now: Timestamp, wide: bool) -> String {
    let mut columns = vec!["NAME", "KIND", "HOLDER", "STATE", "AGE"];
    if wide {
        columns.extend(["TRANSITIONS", "CAUSE", "ADDRESSES"]);
    }
    let mut table = Table::new(&columns);
    for lease in leases {
        let mut row: Vec<Cell> = vec![
            lease.name.as_str().into(),
            lease.kind.as_str().into(),
            or_dash(lease.holder.as_deref()).into(),
            state(lease).into(),
            or_dash(lease.since.map(|since| age(since.age(now)))).into(),
        ];
        if wide {
            row.push(lease.transitions.into());
            row.push(or_dash(lease.cause.as_deref()).into());
            row.push(Cell::Lines(
                lease.addresses.iter().map(ToString::to_string).collect(),
            ));
        }
        table.row(&row);
    }
    table.render()
}

fn state(lease: &Lease) -> String {
    match (&lease.holder, lease.valid, lease.ours) {
        (Some(_), true, true) => paint(
            GOOD,
            if lease.recorded {
                "held here"
            } else {
                "held here, record pending"
            },
        ),
        (Some(_), true, false) if lease.recorded => "held".to_owned(),
        (Some(_), true, false) => "held, record pending".to_owned(),
        (Some(_), false, _) => paint(BAD, "lapsed"),
        (None, ..) => "free".to_owned(),
    }
}
