//! The log and the metrics.
//!
//! Log lines are constant sentences with structured fields, on standard error: text for people,
//! JSON for collectors. Metrics are named in [`metric`], set in [`gauge`] from what the admin socket
//! would report, and served over HTTP by [`exporter`].

pub mod exporter;
pub mod gauge;
pub mod metric;

use std::io::IsTerminal;

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, LogSettings};

/// Installs the log for the whole process.
///
/// # Errors
/// When the level does not parse (which validation has ruled out) or a log is installed already.
pub fn install_log(settings: &LogSettings) -> anyhow::Result<()> {
    // The crate that chooses the allocator tells at each look who has the lease. What is written in the settings goes before.
    let level = format!("kube_leader_election=warn,{}", settings.level);
    let filter = EnvFilter::try_new(level).context("log.level")?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    // The journal stamps every line itself.
    let journal = std::env::var_os("JOURNAL_STREAM").is_some();
    let installed = match (settings.format, journal) {
        (LogFormat::Json, _) => builder.json().flatten_event(true).try_init(),
        (LogFormat::Text, true) => builder.without_time().try_init(),
        (LogFormat::Text, false) => builder.try_init(),
    };
    installed.map_err(|error| anyhow::anyhow!("cannot install the log: {error}"))
}

/// What the metrics of this thread say, as a scrape would find it.
#[cfg(test)]
pub(crate) struct Scrape(metrics_exporter_prometheus::PrometheusRecorder);

#[cfg(test)]
impl Scrape {
    pub(crate) fn new() -> Self {
        Self(metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder())
    }

    /// Has this thread's metrics counted here for as long as the guard lives.
    pub(crate) fn here(&self) -> metrics::LocalRecorderGuard<'_> {
        metrics::set_default_local_recorder(&self.0)
    }

    /// The value of a series such as `name{label="value"}`.
    pub(crate) fn value(&self, series: &str) -> Option<f64> {
        let text = self.0.handle().render();
        let mut values = text.lines().filter_map(|line| line.strip_prefix(series));
        values.find_map(|value| value.trim().parse().ok())
    }
}

/// An error with its causes, as one line of a log or a status has it.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let causes: Vec<String> = causes.map(ToString::to_string).collect();
    causes.join(": ")
}
