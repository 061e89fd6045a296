//! Output formats, tables and colours.

use std::fmt::Write as _;
use std::io::Write as _;

use anstyle::{AnsiColor, Style};
use clap::{Args, ValueEnum};
use serde::Serialize;
use tabwriter::TabWriter;

/// Things as they should be.
pub(super) const GOOD: Style = AnsiColor::Green.on_default();
/// Things to look at.
pub(super) const WARN: Style = AnsiColor::Yellow.on_default();
/// Things that need a person.
pub(super) const BAD: Style = AnsiColor::Red.on_default().bold();
/// Headings.
pub(super) const HEAD: Style = Style::new().bold();
/// Asides.
pub(super) const DIM: Style = Style::new().dimmed();

/// The output flag.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct Output {
    /// How to print
    #[arg(
        short = 'o',
        long = "output",
        value_enum,
        default_value_t,
        value_name = "FORMAT"
    )]
    pub(super) format: Format,
}

/// How to print.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// A table
    #[default]
    Table,
    /// A table with more columns
    Wide,
    /// JSON
    Json,
    /// YAML
    Yaml,
}

impl Output {
    /// Prints `report` as asked; `render` makes the table, wide or not.
    pub(super) fn print<T: Serialize>(
        &self,
        report: &T,
        render: impl FnOnce(&T, bool) -> String,
    ) -> anyhow::Result<()> {
        let text = match self.format {
            Format::Table => render(report, false),
            Format::Wide => render(report, true),
            Format::Json => serde_json::to_string_pretty(report)? + "\n",
            Format::Yaml => serde_norway::to_string(report)?,
        };
        write(&text)
    }
}

/// Writes text to standard output, colours only for a terminal. A reader that has seen enough
/// (`| head`) is no error.
pub(super) fn write(text: &str) -> anyhow::Result<()> {
    let mut out = anstream::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

/// `text` in `style`.
pub(super) fn paint(style: Style, text: impl std::fmt::Display) -> String {
    format!("{}{text}{}", style.render(), style.render_reset())
}

/// A table: a heading, rows, columns aligned.
#[derive(Debug)]
pub(super) struct Table {
    text: String,
}

impl Table {
    /// A table with these columns.
    pub(super) fn new(columns: &[&str]) -> Self {
        let mut table = Self {
            text: String::new(),
        };
        let heading: Vec<String> = columns.iter().map(|column| paint(HEAD, column)).collect();
        table.line(&heading);
        table
    }

    /// Adds a row. Lists make it several lines high: the other columns stay empty on the later ones.
    pub(super) fn row(&mut self, cells: &[Cell]) {
        let height = cells.iter().map(Cell::height).max().unwrap_or(1);
        for index in 0..height {
            let line: Vec<String> = cells.iter().map(|cell| cell.line(index)).collect();
            self.line(&line);
        }
    }

    fn line(&mut self, cells: &[String]) {
        let _ = writeln!(self.text, "{}", cells.join("\t"));
    }

    /// The table as text, without trailing blanks.
    pub(super) fn render(&self) -> String {
        let mut writer = TabWriter::new(Vec::new()).padding(3).minwidth(2).ansi(true);
        writer
            .write_all(self.text.as_bytes())
            .expect("memory takes everything");
        let bytes = writer.into_inner().expect("memory takes everything");
        let text = String::from_utf8(bytes).expect("text went in");
        text.lines()
            .map(|line| format!("{}\n", line.trim_end()))
            .collect()
    }
}

/// A cell of a table.
#[derive(Clone, Debug)]
pub(super) enum Cell {
    /// One line.
    Text(String),
    /// A line each.
    Lines(Vec<String>),
}

impl Cell {
    fn height(&self) -> usize {
        match self {
            Self::Text(_) => 1,
            Self::Lines(lines) => lines.len().max(1),
        }
    }

    fn line(&self, index: usize) -> String {
        match self {
            Self::Text(text) if index == 0 => text.clone(),
            Self::Text(_) => String::new(),
            Self::Lines(lines) => lines.get(index).cloned().unwrap_or_default(),
        }
    }
}

impl<T: ToString> From<T> for Cell {
    fn from(value: T) -> Self {
        Self::Text(value.to_string())
    }
}

/// A duration in its two largest units: `3m12s`, as kubectl prints ages; below ten seconds with a
/// tenth.
pub(super) fn age(duration: std::time::Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..10 => format!("{:.1}s", duration.as_secs_f64()),
        10..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m{}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h{}m", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{}d{}h", seconds / 86_400, seconds / 3_600 % 24),
    }
}
