//! The cluster as a lab's source of objects: what scenarios write goes to the API server, kubelets
//! run the pods, and a node that boots anew joins again.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use serde::Deserialize as _;
use serde_json::Value;

use super::PATIENCE;
use super::control_plane::ControlPlane;
use super::kubectl::Kubectl;
use super::member::Member;
use crate::lab::node::Node;
use crate::lab::pod::{Pod, PodSpec, PodState};
use crate::lab::source::Source;
use crate::lab::wait;

/// The cluster's programs, and what has been applied to it.
#[derive(Debug)]
pub(super) struct Api {
    /// In the order of the lab's nodes.
    members: Mutex<Vec<Member>>,
    pub(super) control_plane: ControlPlane,
    lab: PathBuf,
    applied: Mutex<BTreeMap<String, Vec<Value>>>,
}

impl Api {
    pub(super) fn new(members: Vec<Member>, control_plane: ControlPlane, lab: PathBuf) -> Self {
        Self {
            members: Mutex::new(members),
            control_plane,
            lab,
            applied: Mutex::default(),
        }
    }

    pub(super) fn kubectl(&self) -> Kubectl {
        self.control_plane.kubectl()
    }

    /// The containerds and kubelets.
    pub(super) fn members(&self) -> MutexGuard<'_, Vec<Member>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn applied(&self) -> MutexGuard<'_, BTreeMap<String, Vec<Value>>> {
        self.applied.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn delete<'a>(&self, objects: impl Iterator<Item = &'a Value>) -> Result<()> {
        let texts: Vec<String> = objects.map(ToString::to_string).collect();
        if texts.is_empty() {
            return Ok(());
        }
        let words = "delete --ignore-not-found --wait=false -f -";
        self.kubectl().feed(words, &texts.join("\n---\n")).map(drop)
    }
}

impl Source for Api {
    fn write(&self, file: &str, text: &str) -> Result<()> {
        let objects = parse(text).with_context(|| file.to_owned())?;
        let mut applied = self.applied();
        self.kubectl()
            .apply(text)
            .with_context(|| file.to_owned())?;
        let before = applied.insert(file.to_owned(), objects);
        let now: Vec<_> = applied[file].iter().map(identity).collect();
        let before = before.unwrap_or_default();
        self.delete(before.iter().filter(|one| !now.contains(&identity(one))))
    }

    fn remove(&self, file: &str) -> Result<()> {
        let gone = self.applied().remove(file).unwrap_or_default();
        self.delete(gone.iter())
    }

    fn start_pod(&self, node: &Node, spec: PodSpec) -> Result<Pod> {
        Self::start_pod(self, node, spec)
    }

    fn list_pod(&self, pod: &Pod, state: PodState) -> Result<()> {
        Self::list_pod(self, pod, state)
    }

    fn unlist_pod(&self, pod: &Pod) -> Result<()> {
        Self::unlist_pod(self, pod)
    }

    fn remove_pod(&self, pod: &Pod) -> Result<()> {
        Self::remove_pod(self, pod)
    }

    /// Starts containerd and the kubelet, and waits until the API knows the new boot and calls the
    /// node ready.
    fn boot(&self, node: &Node) -> Result<()> {
        let index = usize::from(node.number()) - 1;
        let mut members = self.members();
        let member = &mut members[index];
        member.boot(node.host().clone(), &self.lab)?;
        let boot = fs::read_to_string(self.lab.join(node.name()).join("boot_id"))?;
        let kubectl = self.kubectl();
        wait::until(PATIENCE, "the node to be ready again", || {
            member.check()?;
            // The API server may be away; that is not this node's fault.
            let Ok(object) = kubectl.json(&format!("get node {}", node.name())) else {
                return Ok(false);
            };
            let conditions = object["status"]["conditions"].as_array();
            let mut conditions = conditions.into_iter().flatten();
            Ok(object["status"]["nodeInfo"]["bootID"] == boot.trim()
                && conditions.any(|one| one["type"] == "Ready" && one["status"] == "True"))
        })
    }

    fn resume_pod(&self, node: &Node, spec: PodSpec) -> Result<Pod> {
        self.serving_pod(node, spec)
    }
}

/// The objects of a YAML stream.
fn parse(text: &str) -> Result<Vec<Value>> {
    let documents = serde_norway::Deserializer::from_str(text);
    let objects: Result<Vec<Value>, _> = documents.map(Value::deserialize).collect();
    let mut objects = objects?;
    objects.retain(|object| !object.is_null());
    Ok(objects)
}

/// What tells an object from the others.
fn identity(object: &Value) -> [&Value; 4] {
    let metadata = &object["metadata"];
    [
        &object["apiVersion"],
        &object["kind"],
        &metadata["namespace"],
        &metadata["name"],
    ]
}
