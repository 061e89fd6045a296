//! `landfall config`: the settings in effect, as a file that says where each line comes from.

use std::fmt::Write as _;

use super::exit::Exit;
use super::format::{DIM, HEAD, Output, paint};
use crate::config::{Loaded, REFERENCE, environment_variable};

/// Prints them.
pub(super) fn show(loaded: &Loaded, output: &Output) -> anyhow::Result<Exit> {
    let report: Vec<serde_json::Value> = REFERENCE
        .iter()
        .filter_map(|setting| {
            let effective = loaded.effective.get(setting.key)?;
            Some(serde_json::json!({
                "key": setting.key,
                "value": effective.value,
                "origin": effective.origin,
                "environment": environment_variable(setting.key),
                "does": setting.does,
            }))
        })
        .collect();
    output.print(&report, |_, wide| render(loaded, wide))?;
    Ok(Exit::Done)
}

/// TOML with origins as comments; the wide form says what each setting does.
fn render(loaded: &Loaded, wide: bool) -> String {
    let mut text = String::new();
    let mut section = "";
    let lines: Vec<(&str, String, &str, &str)> = REFERENCE
        .iter()
        .filter_map(|setting| {
            let effective = loaded.effective.get(setting.key)?;
            let (section, name) = setting.key.split_once('.')?;
            // JSON's strings, numbers and lists are TOML's.
            Some((
                section,
                format!("{name} = {}", effective.value),
                &*effective.origin,
                setting.does,
            ))
        })
        .collect();
    let width = lines
        .iter()
        .map(|(_, line, ..)| line.len())
        .max()
        .unwrap_or(0);
    for (of, line, origin, does) in lines {
        if of != section {
            let gap = if section.is_empty() { "" } else { "\n" };
            let _ = writeln!(text, "{gap}{}", paint(HEAD, format_args!("[{of}]")));
            section = of;
        }
        if wide {
            let _ = writeln!(text, "{}", paint(DIM, format_args!("# {does}.")));
        }
        let origin = paint(DIM, format_args!("# {origin}"));
        let _ = writeln!(text, "{line:<width$}  {origin}");
    }
    text
}
