//! The cluster as a lab's source of objects: what scenarios write goes to the API server, kubelets
//! run the pods, and a node that boots anew joins again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use serde::Deserialize as _;
use serde_json::Value;

use super::PATIENCE;
use super::client::Client;
use super::control_plane::ControlPlane;
use super::kubectl::Kubectl;
use super::member::Member;
use super::resource::Resource;
use crate::lab::node::Node;
use crate::lab::pod::{Pod, PodSpec, PodState};
use crate::lab::source::Source;
use crate::lab::switch::Switch;
use crate::lab::wait;

/// The cluster's programs, and what has been applied to it.
#[derive(Debug)]
pub(super) struct Api {
    /// In the order of the lab's nodes.
    members: Mutex<Vec<Member>>,
    pub(super) control_plane: ControlPlane,
    pub(super) client: Client,
    lab: PathBuf,
    switch: Arc<Switch>,
    applied: Mutex<BTreeMap<String, Vec<Value>>>,
    /// The nodes that are kept from the API server.
    estranged: Mutex<BTreeSet<String>>,
}

impl Api {
    pub(super) fn new(
        members: Vec<Member>,
        control_plane: ControlPlane,
        lab: PathBuf,
        switch: Arc<Switch>,
    ) -> Result<Self> {
        Ok(Self {
            members: Mutex::new(members),
            client: control_plane.client()?,
            control_plane,
            lab,
            switch,
            applied: Mutex::default(),
            estranged: Mutex::default(),
        })
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
        for object in objects {
            self.client.delete(&Resource::of(object)?)?;
        }
        Ok(())
    }
}

impl Source for Api {
    fn write(&self, file: &str, text: &str) -> Result<()> {
        let objects = parse(text).with_context(|| file.to_owned())?;
        let mut applied = self.applied();
        for object in &objects {
            self.client.apply(object).with_context(|| file.to_owned())?;
        }
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

    /// Starts containerd and the kubelet, whether there is an API server or not.
    fn boot(&self, node: &Node) -> Result<()> {
        let index = usize::from(node.number()) - 1;
        self.members()[index].boot(node.host().clone(), &self.lab)
    }

    /// Waits until the API knows the new boot and calls the node ready.
    fn wait_booted(&self, node: &Node) -> Result<()> {
        let index = usize::from(node.number()) - 1;
        let boot = fs::read_to_string(self.lab.join(node.name()).join("boot_id"))?;
        let place = Resource::new("v1", "Node", "", node.name());
        let mut members = self.members();
        wait::until(PATIENCE, "the node to be ready again", || {
            members[index].check()?;
            // The API server may be away; that is not this node's fault.
            let Ok(object) = self.client.get(&place) else {
                return Ok(false);
            };
            let conditions = object["status"]["conditions"].as_array();
            let mut conditions = conditions.into_iter().flatten();
            Ok(object["status"]["nodeInfo"]["bootID"] == boot.trim()
                && conditions.any(|one| one["type"] == "Ready" && one["status"] == "True"))
        })
    }

    fn runs_pods_alone(&self) -> bool {
        false
    }

    /// Loses every frame between these nodes and the control plane's machine.
    fn set_reachable(&self, nodes: &[&Node], reachable: bool) -> Result<()> {
        let mut estranged = self
            .estranged
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for node in nodes {
            if reachable {
                estranged.remove(node.name());
            } else {
                estranged.insert(node.name().to_owned());
            }
        }
        let others: Vec<&str> = estranged.iter().map(String::as_str).collect();
        let machine = self.control_plane.host().name();
        self.switch.estrange(machine, &others)
    }

    fn resume_pod(&self, node: &Node, spec: PodSpec) -> Result<Pod> {
        self.serving_pod(node, spec)
    }
}

/// The objects of a YAML stream.
pub(super) fn parse(text: &str) -> Result<Vec<Value>> {
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
