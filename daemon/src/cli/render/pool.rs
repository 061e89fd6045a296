//! `landfall pool list`.

use crate::api::snapshot::Pool;
use crate::cli::format::{BAD, Cell, DIM, GOOD, Table, WARN, paint};

/// One row a pool, one line a block.
pub(in crate::cli) fn table(pools: &[Pool]) -> String {
    let mut table = Table::new(&["NAME", "STATE", "TOTAL", "USED", "FREE", "BLOCKS"]);
    for pool in pools {
        table.row(&[
            pool.name.as_str().into(),
            state(pool).into(),
            pool.total.as_str().into(),
            pool.used.into(),
            pool.free.as_str().into(),
            Cell::Lines(pool.blocks.clone()),
        ]);
    }
    table.render()
}

fn state(pool: &Pool) -> String {
    match &pool.conflicts_with {
        Some(other) => paint(BAD, format_args!("overlaps {other}")),
        None if pool.disabled => paint(DIM, "disabled"),
        None if pool.free == "0" => paint(WARN, "exhausted"),
        None => paint(GOOD, "ready"),
    }
}
