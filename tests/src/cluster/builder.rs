//! How a cluster is brought up.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result};
use serde_json::Value;

use super::agents;
use super::api::Api;
use super::control_plane::{Component, ControlPlane, KUBELET_CLIENT};
use super::image::Image;
use super::member::{self, Member};
use super::pki::Authority;
use super::programs::{Programs, cache_dir};
use super::{AGNHOST_IMAGE, Access, Cluster, PATIENCE, PAUSE_IMAGE};
use crate::lab::manifests::Labels;
use crate::lab::pod::IMAGE as POD_IMAGE;
use crate::lab::programs::landfall_lab;
use crate::lab::settings::Common;
use crate::lab::{Lab, LabBuilder, wait};

/// The last octet of the control plane's address.
const CONTROL_PLANE: u8 = 102;

/// How a cluster is to be.
#[derive(Debug, Clone, Default)]
pub struct ClusterBuilder {
    lab: LabBuilder,
    node_labels: BTreeMap<u8, Labels>,
    agents: Option<Common>,
    daemon_set: bool,
}

impl ClusterBuilder {
    /// The number of nodes, 3 unless set.
    #[must_use]
    pub fn nodes(mut self, nodes: u8) -> Self {
        self.lab = self.lab.nodes(nodes);
        self
    }

    /// Gives the node with this number (from 1) a label.
    #[must_use]
    pub fn node_label(mut self, number: u8, key: &str, value: &str) -> Self {
        let labels = self.node_labels.entry(number).or_default();
        labels.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Lets the nodes' agents in: the cluster has Landfall's kinds and roles, and each agent, when it
    /// is started, is the service account of the manifest. None is started.
    #[must_use]
    pub fn agents(mut self, common: Common) -> Self {
        self.agents = Some(common);
        self
    }

    /// Deploys Landfall as its users do, by the manifest and the image.
    #[must_use]
    pub fn daemon_set(mut self) -> Self {
        self.daemon_set = true;
        self
    }

    /// Brings the cluster up and waits until all nodes are ready. The calling thread leaves the
    /// machine's network for good: see [`LabBuilder::build`].
    ///
    /// # Errors
    /// When a program is missing or does not serve in time.
    pub fn start(self, programs: &Programs) -> Result<Cluster> {
        let mut images = images(programs)?;
        if self.daemon_set {
            let file = cache_dir().join("images/landfall.tar");
            agents::image(&file)?;
            images.push(file);
        }
        let mut lab = self.lab.build()?;
        let host = lab.add_machine("control-plane", CONTROL_PLANE)?;
        let authority = Authority::new(lab.dir().join("pki"))?;
        let control_plane = ControlPlane::new(host, lab.dir(), programs, &authority)?;
        control_plane.start(Component::Etcd)?;
        control_plane.start(Component::ApiServer)?;
        let url = control_plane.url();
        let mut members = Vec::new();
        for node in lab.nodes() {
            members.push(Member::new(node, lab.dir(), programs, &authority, &url)?);
        }
        // Loading images takes as long as the API server takes to be ready.
        thread::scope(|scope| {
            let load = |member| scope.spawn(|| Member::start_containerd(member, &images));
            let loaders: Vec<_> = members.iter_mut().map(load).collect();
            let ready = control_plane.wait_ready();
            for loader in loaders {
                loader.join().expect("a loader does not panic")?;
            }
            ready
        })?;
        let (dir, switch) = (lab.dir().to_owned(), lab.shared_switch());
        let api = Arc::new(Api::new(members, control_plane, dir, switch)?);
        join_nodes(&api, &lab, &self.node_labels)?;
        lab.set_source(api.clone());
        if let Some(common) = &self.agents {
            agents::admit(&api, &mut lab, &authority, common)?;
        }
        if self.daemon_set {
            agents::deploy(&api, &lab)?;
        }
        let access = Access { api };
        Ok(Cluster { access, lab })
    }
}

/// The images that every node has, written anew where a program is newer.
fn images(programs: &Programs) -> Result<Vec<PathBuf>> {
    let dir = cache_dir().join("images");
    fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
    let mut files = Vec::new();
    let server = landfall_lab()?;
    for (name, program) in [
        (PAUSE_IMAGE, programs.path("pause")),
        (AGNHOST_IMAGE, programs.path("agnhost")),
        (POD_IMAGE, &server),
    ] {
        let file = dir.join(format!("{}.tar", name.replace(['/', ':'], "-")));
        if !is_newer(&file, program)? {
            Image { name, program }.write(&file)?;
        }
        files.push(file);
    }
    Ok(files)
}

fn is_newer(file: &Path, than: &Path) -> Result<bool> {
    let modified = |path: &Path| path.metadata().and_then(|metadata| metadata.modified());
    let than = modified(than).with_context(|| than.display().to_string())?;
    Ok(modified(file).is_ok_and(|time| time > than))
}

/// Registers the nodes, starts what acts on them, and waits until they are ready.
fn join_nodes(api: &Api, lab: &Lab, labels: &BTreeMap<u8, Labels>) -> Result<()> {
    let mut objects = vec![kubelet_access()];
    let none = Labels::new();
    for node in lab.nodes() {
        let labels = labels.get(&node.number()).unwrap_or(&none);
        objects.push(member::manifest(node, labels));
    }
    let kubectl = api.kubectl();
    let texts: Result<Vec<String>, _> = objects.iter().map(serde_norway::to_string).collect();
    kubectl.apply(&texts?.join("---\n"))?;
    api.control_plane.start(Component::ControllerManager)?;
    api.control_plane.start(Component::Scheduler)?;
    let mut members = api.members();
    members.iter_mut().try_for_each(Member::start_kubelet)?;
    wait::until(PATIENCE, "all nodes to be ready", || {
        members.iter_mut().try_for_each(Member::check)?;
        let words = "wait --for=condition=Ready node --all --timeout=5s";
        Ok(kubectl.run(words).is_ok())
    })?;
    // Pods are refused before their namespace has its service account.
    wait::until(PATIENCE, "the default service account", || {
        Ok(kubectl.run("get serviceaccount default").is_ok())
    })
}

/// What the API server may do at kubelets: fetch logs, run commands, forward ports.
fn kubelet_access() -> Value {
    serde_json::json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": KUBELET_CLIENT},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
            "name": "system:kubelet-api-admin",
        },
        "subjects": [{
            "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": KUBELET_CLIENT,
        }],
    })
}
