//! `landfall status`: one screen, the worst where the eye ends.

use std::fmt::Write as _;
use std::time::Duration;

use crate::api::snapshot::{Complaint, Datapath, Ground, Interface, Level, Status};
use crate::cli::format::{BAD, Cell, DIM, GOOD, HEAD, Table, WARN, age, paint};
use crate::cli::render::{l2, or_dash};

/// The screen; wide shows every map, not only those that fill up.
pub(in crate::cli) fn screen(status: &Status, wide: bool) -> String {
    let mut screen = heading(status);
    for (label, text) in summary(status) {
        let _ = writeln!(
            screen,
            "  {}{text}",
            paint(HEAD, format_args!("{label:<11}"))
        );
    }
    if status.ground.members.len() > 1 {
        let _ = write!(screen, "\n{}", members(&status.ground));
    }
    if !status.datapath.interfaces.is_empty() {
        let _ = write!(screen, "\n{}", interfaces(&status.datapath.interfaces));
    }
    if !status.announced.is_empty() {
        let _ = write!(screen, "\n{}", l2::table(&status.announced, status.now));
    }
    let maps = maps(&status.datapath, wide);
    if !maps.is_empty() {
        let _ = write!(screen, "\n{maps}");
    }
    if !status.complaints.is_empty() {
        let _ = write!(screen, "\n{}", complaints(&status.complaints));
    }
    screen
}

fn heading(status: &Status) -> String {
    let health = if status.drained {
        paint(WARN, "drained")
    } else if status.healthy() {
        paint(GOOD, "healthy")
    } else if status.sources.iter().all(|source| source.synced) {
        paint(BAD, "needs attention")
    } else {
        paint(WARN, "starting")
    };
    let node = paint(HEAD, &status.node);
    let up = age(status.started.age(status.now));
    format!(
        "Landfall {} on {node}, up {up}: {health}\n\n",
        status.version
    )
}

fn summary(status: &Status) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    for (index, source) in status.sources.iter().enumerate() {
        let state = if source.synced {
            paint(GOOD, "synced")
        } else {
            paint(WARN, "not synced")
        };
        let label = if index == 0 { "Sources" } else { "" };
        lines.push((
            label,
            format!("{} from {}, {state}", source.name, source.from),
        ));
    }
    let services = &status.services;
    let waiting = services.ours.saturating_sub(services.satisfied);
    let waiting = match waiting {
        0 => String::new(),
        waiting => paint(WARN, format_args!(", {waiting} without")),
    };
    lines.push((
        "Services",
        format!(
            "{} of ours, {} with their addresses{waiting}; {} frontends, {} backends",
            services.ours, services.satisfied, services.frontends, services.backends
        ),
    ));
    let leases = &status.leases;
    let renewed = leases.renewed_ms_ago.map_or_else(
        || paint(WARN, "node lease not held"),
        |ms| format!("node lease renewed {} ago", age(Duration::from_millis(ms))),
    );
    lines.push((
        "Leases",
        format!(
            "{} of {} held here, {renewed}; {}",
            leases.held, leases.total, leases.store
        ),
    ));
    lines.push(("Ground", ground(&status.ground)));
    let datapath = match &status.datapath.pinned {
        Some(path) => format!("{}, pinned at {}", paint(GOOD, "loaded"), path.display()),
        None => paint(BAD, "not loaded"),
    };
    lines.push(("Data path", datapath));
    lines
}

/// What the right to answer rests on, and how long it lasts.
fn ground(ground: &Ground) -> String {
    let epoch = ground.epoch.map(|epoch| format!(", epoch {epoch}"));
    let changing = if ground.changing {
        paint(WARN, ", members changing")
    } else {
        String::new()
    };
    let least = ground.least_slack_ms;
    let least = least.map(|ms| format!(", {ms} ms at the least in the last minute"));
    let right = match ground.holds_ms {
        Some(ms) => {
            let may = paint(GOOD, "may answer");
            format!("{may} for {ms} ms more{}", least.unwrap_or_default())
        }
        None if ground.refused => paint(BAD, "may not answer, its term is refused"),
        None => paint(BAD, "may not answer"),
    };
    format!(
        "{}{}{changing}; {right}",
        ground.kind,
        epoch.unwrap_or_default()
    )
}

fn members(ground: &Ground) -> String {
    let mut table = Table::new(&["MEMBER", "GRANTS", "STATE", "HEARD"]);
    for member in &ground.members {
        let state = match member.state.as_str() {
            "self" => "this node".to_owned(),
            "heard" => paint(GOOD, "heard"),
            other => paint(BAD, other),
        };
        let heard = member.heard_ms_ago;
        table.row(&[
            member.node.as_str().into(),
            if member.grants { "yes" } else { "-" }.into(),
            state.into(),
            or_dash(heard.map(|ms| age(Duration::from_millis(ms)) + " ago")).into(),
        ]);
    }
    table.render()
}

fn interfaces(interfaces: &[Interface]) -> String {
    let mut table = Table::new(&["INTERFACE", "CARRIER", "ATTACHED", "FORWARDING", "PROBLEM"]);
    for interface in interfaces {
        let carrier = if interface.up {
            "up".to_owned()
        } else {
            paint(WARN, "down")
        };
        let attached = interface
            .attached
            .clone()
            .unwrap_or_else(|| paint(BAD, "nothing"));
        let problem = interface.problem.as_deref().unwrap_or_default();
        let row: [Cell; 5] = [
            interface.name.as_str().into(),
            carrier.into(),
            attached.into(),
            interface.forwarding.as_str().into(),
            problem.into(),
        ];
        table.row(&row);
    }
    table.render()
}

/// Maps worth a look: half full, or all of them.
fn maps(datapath: &Datapath, wide: bool) -> String {
    let shown: Vec<_> = datapath
        .maps
        .iter()
        .filter(|map| wide || map.percent() >= 50)
        .collect();
    if shown.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&["MAP", "ENTRIES", "CAPACITY", "FILL"]);
    for map in shown {
        let style = match map.percent() {
            0..75 => GOOD,
            75..95 => WARN,
            _ => BAD,
        };
        let fill = paint(style, format_args!("{}%", map.percent()));
        table.row(&[
            map.name.as_str().into(),
            map.entries.into(),
            map.capacity.into(),
            fill.into(),
        ]);
    }
    table.render()
}

/// Complaints, the errors first; also what `landfall check` prints.
pub(in crate::cli) fn complaints(complaints: &[Complaint]) -> String {
    let mut sorted: Vec<&Complaint> = complaints.iter().collect();
    sorted.sort_by_key(|complaint| std::cmp::Reverse(complaint.severity));
    let mut text = String::new();
    for complaint in sorted {
        let (style, word) = match complaint.severity {
            Level::Error => (BAD, "error"),
            Level::Warning => (WARN, "warning"),
        };
        let place: Vec<&str> = [&complaint.object, &complaint.field]
            .into_iter()
            .map(String::as_str)
            .filter(|part| !part.is_empty())
            .collect();
        let place = if place.is_empty() {
            String::new()
        } else {
            place.join(", ") + ": "
        };
        let _ = writeln!(
            text,
            "{} {place}{}",
            paint(style, format_args!("{word}:")),
            complaint.problem
        );
        let _ = writeln!(text, "  {} {}", paint(DIM, "in"), complaint.origin);
        let _ = writeln!(text, "  {} {}", paint(DIM, "remedy:"), complaint.remedy);
    }
    text
}
