//! The alert rules and the dashboard of the packages name metrics that the agent has, with labels
//! that these have.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// Where the agent's metrics are written down: each once, by its name as a string.
const METRICS: &str = "daemon/src/telemetry/metric.rs";
const ALERTS: &str = "packaging/alerts/landfall.rules.yaml";
const DASHBOARD: &str = "packaging/grafana/landfall.json";
/// What the alerts are to do.
const ALERT_TESTS: &str = "packaging/alerts/landfall.rules.test.yaml";

fn text(file: &str) -> Result<String> {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    fs::read_to_string(&path).with_context(|| path.display().to_string())
}

/// Every word that begins as our metrics do.
fn named(expression: &str) -> BTreeSet<String> {
    expression
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| word.starts_with("landfall_"))
        .map(str::to_owned)
        .collect()
}

/// The agent's metrics and their labels.
fn metrics() -> Result<BTreeMap<String, String>> {
    let source = text(METRICS)?;
    let mut found = BTreeMap::new();
    for (at, _) in source.match_indices("\"landfall_") {
        let rest = &source[at + 1..];
        let name = rest.split('"').next().context("a string ends")?;
        let labels = rest.split_once("&[").context("a metric has labels")?.1;
        let labels = labels.split(']').next().context("a list ends")?;
        found.insert(name.to_owned(), labels.to_owned());
    }
    ensure!(
        found.len() > 10,
        "{METRICS} does not read as it did: {found:?}"
    );
    Ok(found)
}

/// Every expression of the rules, by the alert's name.
fn alerts() -> Result<Vec<(String, String)>> {
    let rules: Value = serde_norway::from_str(&text(ALERTS)?)?;
    let groups = rules["groups"].as_array().context("groups")?;
    let rules = groups.iter().filter_map(|group| group["rules"].as_array());
    rules
        .flatten()
        .map(|rule| {
            let field = |name: &str| {
                let value = rule[name].as_str().map(str::to_owned);
                value.with_context(|| format!("{name} of {rule}"))
            };
            let alert = field("alert")?;
            for note in ["summary", "description"] {
                ensure!(rule["annotations"][note].is_string(), "{alert}: no {note}");
            }
            let severity = rule["labels"]["severity"].as_str();
            ensure!(matches!(severity, Some("critical" | "warning")), "{alert}");
            Ok((alert, field("expr")?))
        })
        .collect()
}

/// Every expression of the dashboard, by the panel's title.
fn panels() -> Result<Vec<(String, String)>> {
    let dashboard: Value = serde_json::from_str(&text(DASHBOARD)?)?;
    let mut found = Vec::new();
    for panel in dashboard["panels"].as_array().context("panels")? {
        let title = panel["title"].as_str().context("a panel's title")?;
        for target in panel["targets"].as_array().context(title.to_owned())? {
            let expression = target["expr"].as_str().context(title.to_owned())?;
            found.push((title.to_owned(), expression.to_owned()));
        }
    }
    Ok(found)
}

#[test]
fn every_metric_that_alerts_and_panels_name_exists() -> Result<()> {
    let metrics = metrics()?;
    let (alerts, panels) = (alerts()?, panels()?);
    ensure!(alerts.len() >= 8 && panels.len() >= 10, "too few to be all");
    for (place, expression) in alerts.iter().chain(&panels) {
        let named = named(expression);
        let scraped = expression.starts_with("up{");
        ensure!(scraped || !named.is_empty(), "{place}: {expression}");
        for name in named {
            ensure!(metrics.contains_key(&name), "{place}: no metric {name}");
        }
    }
    Ok(())
}

#[test]
fn every_label_that_alerts_and_panels_group_by_exists() -> Result<()> {
    let metrics = metrics()?;
    for (place, expression) in alerts()?.iter().chain(&panels()?) {
        for group in expression.split("by (").skip(1) {
            let labels = group.split(')').next().context("a group ends")?;
            for label in labels.split(", ").filter(|label| *label != "instance") {
                let mut known = named(expression).into_iter();
                let quoted = format!("\"{label}\"");
                ensure!(
                    known.any(|name| metrics[&name].contains(&quoted)),
                    "{place}: no metric with the label {label} in {expression}"
                );
            }
        }
    }
    Ok(())
}

/// What an operator is to be told of, by alerts and by panels.
const WATCHED: [&str; 7] = [
    "landfall_right_to_answer",
    "landfall_members",
    "landfall_deadline_slack_seconds",
    "landfall_address_conflicts",
    "landfall_self_proofs_total",
    "landfall_lease_store_synced",
    "landfall_handovers_total",
];

#[test]
fn what_keeps_a_vip_answered_has_an_alert_that_is_tested_and_a_panel() -> Result<()> {
    let (alerts, panels) = (alerts()?, panels()?);
    let tests = text(ALERT_TESTS)?;
    let names = |places: &[(String, String)], metric: &str| {
        places.iter().any(|(_, text)| named(text).contains(metric))
    };
    for metric in WATCHED {
        ensure!(names(&alerts, metric), "no alert on {metric}");
        ensure!(names(&panels, metric), "no panel of {metric}");
        ensure!(
            named(&tests).contains(metric),
            "no test of alerts on {metric}"
        );
    }
    for metric in named(&tests) {
        ensure!(
            names(&alerts, &metric),
            "{metric} is tested, and no alert is on it"
        );
    }
    for name in tests.split("alertname: ").skip(1) {
        let name = name.split([',', '}', '\n']).next().unwrap_or_default();
        ensure!(
            alerts.iter().any(|(alert, _)| alert == name),
            "no alert {name}"
        );
    }
    Ok(())
}

#[test]
fn the_dashboard_imports() -> Result<()> {
    let dashboard: Value = serde_json::from_str(&text(DASHBOARD)?)?;
    // 39 is what Grafana 11 writes; later ones take it and migrate, earlier ones from 10 on read it.
    assert_eq!(dashboard["schemaVersion"], 39);
    assert!(dashboard["uid"].is_string() && dashboard["title"].is_string());
    let panels = dashboard["panels"].as_array().context("panels")?;
    let ids: BTreeSet<u64> = panels.iter().filter_map(|p| p["id"].as_u64()).collect();
    assert_eq!(ids.len(), panels.len(), "each panel has an id of its own");
    for panel in panels {
        let place = &panel["gridPos"];
        let number = |name: &str| place[name].as_u64().context(name.to_owned());
        assert!(number("x")? + number("w")? <= 24, "{place} is off the grid");
        // The importing user's data source, not ours.
        assert_eq!(panel["datasource"]["uid"], "${datasource}");
    }
    Ok(())
}
