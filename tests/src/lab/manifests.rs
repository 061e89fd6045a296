//! The manifest directory that all agents of a lab read, and the objects that a lab writes to it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// Labels of an object.
pub type Labels = BTreeMap<String, String>;

/// The manifest directory.
#[derive(Debug, Clone)]
pub struct Manifests {
    dir: PathBuf,
    scratch: PathBuf,
}

impl Manifests {
    pub(super) fn new(lab: &Path) -> Result<Self> {
        let (dir, scratch) = (lab.join("manifests"), lab.join("scratch"));
        for made in [&dir, &scratch] {
            fs::create_dir(made).with_context(|| made.display().to_string())?;
        }
        Ok(Self { dir, scratch })
    }

    /// Where the directory is.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Writes or replaces a whole file in one step, as a careful person or tool would.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, file: &str, text: &str) -> Result<()> {
        let (new, place) = (self.scratch.join(file), self.dir.join(file));
        fs::write(&new, text).with_context(|| new.display().to_string())?;
        fs::rename(&new, &place).with_context(|| place.display().to_string())
    }

    /// Writes one object to a file of its own, as YAML.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_object(&self, file: &str, object: &Value) -> Result<()> {
        self.write(file, &serde_norway::to_string(object)?)
    }

    /// Copies a file of `tests/examples`.
    ///
    /// # Errors
    /// When there is no such example.
    pub fn example(&self, name: &str) -> Result<()> {
        self.write(name, &example(name)?)
    }

    /// Removes a file; none being there is fine.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove(&self, file: &str) -> Result<()> {
        let place = self.dir.join(file);
        match fs::remove_file(&place) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(e).with_context(|| place.display().to_string())
            }
            _ => Ok(()),
        }
    }
}

/// The text of a file of `tests/examples`.
///
/// # Errors
/// When there is no such example.
pub fn example(name: &str) -> Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("examples")
        .join(name);
    fs::read_to_string(&path).with_context(|| path.display().to_string())
}

/// A Node as the kubelet would write it.
#[must_use]
pub fn node(name: &str, addresses: &[String], labels: &Labels) -> Value {
    let addresses: Vec<Value> = addresses
        .iter()
        .map(|address| json!({"type": "InternalIP", "address": address}))
        .chain([json!({"type": "Hostname", "address": name})])
        .collect();
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "status": {
            "addresses": addresses,
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    })
}

/// A Service of type LoadBalancer in the namespace `default`, with a named port per entry of
/// `ports` (name, protocol, port), the target port being the same.
#[must_use]
pub fn service(
    name: &str,
    labels: &Labels,
    selector: &Labels,
    ports: &[(&str, &str, u16)],
) -> Value {
    let ports: Vec<Value> = ports
        .iter()
        .map(|(name, protocol, port)| {
            json!({"name": name, "protocol": protocol, "port": port, "targetPort": port})
        })
        .collect();
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "namespace": "default", "labels": labels},
        "spec": {"type": "LoadBalancer", "selector": selector, "ports": ports},
    })
}

/// Adds a port, the target port being the same, to a Service.
///
/// # Errors
/// When the object has no list of ports.
pub fn add_port(service: &mut Value, name: &str, protocol: &str, port: u16) -> Result<()> {
    let ports = service["spec"]["ports"]
        .as_array_mut()
        .context("a Service has spec.ports")?;
    ports.push(json!({"name": name, "protocol": protocol, "port": port, "targetPort": port}));
    Ok(())
}

/// Labels from pairs.
#[must_use]
pub fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}
