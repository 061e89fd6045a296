//! `kubectl` as a person at the control plane uses it.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::lab::host::Host;

/// Runs kubectl with one identity.
#[derive(Debug, Clone)]
pub struct Kubectl {
    pub(crate) host: Host,
    pub(crate) program: PathBuf,
    pub(crate) kubeconfig: PathBuf,
    /// What kubectl has learned of the API, which would be in the home directory otherwise.
    pub(crate) cache: PathBuf,
}

impl Kubectl {
    /// Runs `kubectl WORDS...`, words being without spaces in them, and gives what it printed.
    ///
    /// # Errors
    /// When it does not succeed, with what it said.
    pub fn run(&self, words: &str) -> Result<String> {
        let mut command = self.command(words)?;
        let output = command.stdin(Stdio::null()).output();
        finish(words, output.context("run kubectl")?)
    }

    /// As [`Self::run`] with `-o json`, parsed.
    ///
    /// # Errors
    /// When it does not succeed or does not print JSON.
    pub fn json(&self, words: &str) -> Result<Value> {
        let text = self.run(&format!("{words} -o json"))?;
        serde_json::from_str(&text).with_context(|| format!("kubectl {words}: {text}"))
    }

    /// Runs `kubectl WORDS...` with `text` as its input, for words such as `apply -f -`.
    ///
    /// # Errors
    /// When it does not succeed, with what it said.
    pub fn feed(&self, words: &str, text: &str) -> Result<String> {
        let mut child = self
            .command(words)?
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("run kubectl")?;
        let mut input = child.stdin.take().context("stdin is piped")?;
        input.write_all(text.as_bytes())?;
        drop(input);
        finish(words, child.wait_with_output()?)
    }

    /// Applies manifests.
    ///
    /// # Errors
    /// When the API server refuses one, with what it said.
    pub fn apply(&self, manifests: &str) -> Result<()> {
        self.feed("apply -f -", manifests).map(drop)
    }

    fn command(&self, words: &str) -> Result<Command> {
        let mut command = self.host.command(&self.program)?;
        command
            .arg(format!("--kubeconfig={}", self.kubeconfig.display()))
            .arg(format!("--cache-dir={}", self.cache.display()))
            .args(words.split_whitespace());
        Ok(command)
    }
}

fn finish(words: &str, output: Output) -> Result<String> {
    ensure!(
        output.status.success(),
        "kubectl {words}: {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
