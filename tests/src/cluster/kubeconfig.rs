//! Kubeconfigs: one per identity, in the cluster's directory.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::json;

use super::pki::{Authority, Identity};

/// Makes a certificate for an identity and writes the kubeconfig `DIR/NAME.kubeconfig` that uses it.
///
/// # Errors
/// When a file cannot be written.
pub(super) fn write(
    dir: &Path,
    name: &str,
    identity: Identity<'_>,
    authority: &Authority,
    server: &str,
) -> Result<PathBuf> {
    let pair = authority.client(name, identity)?;
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "lab",
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": identity.user}}],
        "clusters": [{"name": "lab", "cluster": {
            "server": server, "certificate-authority": authority.certificate(),
        }}],
        "users": [{"name": identity.user, "user": {
            "client-certificate": pair.certificate, "client-key": pair.key,
        }}],
    });
    let place = dir.join(format!("{name}.kubeconfig"));
    fs::write(&place, serde_norway::to_string(&config)?)
        .with_context(|| place.display().to_string())?;
    Ok(place)
}
