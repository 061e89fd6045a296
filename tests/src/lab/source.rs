//! Where a lab's agents learn of objects, and who runs its pods: the seam at which scenarios run
//! unchanged on plain machines and on a cluster.

use std::fmt::Debug;

use anyhow::Result;
use serde_json::Value;

use super::manifests::{Manifests, example};
use super::node::Node;
use super::pod::{Pod, PodSpec, PodState};

/// A source of objects. Files are how scenarios name what they write together; a source that has
/// no files keeps in mind what each of them held.
pub trait Source: Debug + Send + Sync {
    /// Makes the objects of a file be as it says; what an earlier file of that name held besides
    /// is no more.
    ///
    /// # Errors
    /// When an object is refused.
    fn write(&self, file: &str, text: &str) -> Result<()>;

    /// Removes the objects of a file; none being there is fine.
    ///
    /// # Errors
    /// When one cannot be removed.
    fn remove(&self, file: &str) -> Result<()>;

    /// Brings a pod up on a node, and waits until it serves. It is no endpoint yet.
    ///
    /// # Errors
    /// When it does not come up.
    fn start_pod(&self, node: &Node, spec: PodSpec) -> Result<Pod>;

    /// Lets a pod be what an endpoint of a Service is made from, in a given state. From
    /// [`PodState::Terminating`] there is no way back.
    ///
    /// # Errors
    /// When the source refuses.
    fn list_pod(&self, pod: &Pod, state: PodState) -> Result<()>;

    /// Lets a pod be no endpoint any more; it goes on serving.
    ///
    /// # Errors
    /// When the source refuses.
    fn unlist_pod(&self, pod: &Pod) -> Result<()>;

    /// Removes a pod for good. Its server ends now, or when the last holder of its handle lets go.
    ///
    /// # Errors
    /// When the source refuses.
    fn remove_pod(&self, pod: &Pod) -> Result<()>;

    /// Starts what runs pods on a node that has booted anew.
    ///
    /// # Errors
    /// When it does not start.
    fn boot(&self, node: &Node) -> Result<()>;

    /// Waits until a node that has booted anew can run pods.
    ///
    /// # Errors
    /// When it does not come up.
    fn wait_booted(&self, node: &Node) -> Result<()>;

    /// Whether the pods of a node that has booted anew come up while what the agents keep in common
    /// is away.
    fn runs_pods_alone(&self) -> bool {
        true
    }

    /// Takes what the agents keep in common (leases, and with an API everything else) away from
    /// these nodes without a word, or gives it back.
    ///
    /// # Errors
    /// When the fault cannot be made.
    fn set_reachable(&self, nodes: &[&Node], reachable: bool) -> Result<()>;

    /// The pod that was on a node before its reboot, now that it runs there again.
    ///
    /// # Errors
    /// When it does not come up.
    fn resume_pod(&self, node: &Node, spec: PodSpec) -> Result<Pod>;

    /// Writes one object to a file of its own.
    ///
    /// # Errors
    /// When the object is refused.
    fn write_object(&self, file: &str, object: &Value) -> Result<()> {
        self.write(file, &serde_norway::to_string(object)?)
    }

    /// Writes a file of `tests/examples`.
    ///
    /// # Errors
    /// When there is no such example, or an object of it is refused.
    fn example(&self, name: &str) -> Result<()> {
        self.write(name, &example(name)?)
    }
}

/// The manifest directory. The lab runs the pods itself.
impl Source for Manifests {
    fn write(&self, file: &str, text: &str) -> Result<()> {
        Self::write(self, file, text)
    }

    fn remove(&self, file: &str) -> Result<()> {
        Self::remove(self, file)
    }

    fn start_pod(&self, node: &Node, spec: PodSpec) -> Result<Pod> {
        Pod::start(node, spec)
    }

    fn list_pod(&self, pod: &Pod, state: PodState) -> Result<()> {
        Self::write_object(self, &pod.file(), &pod.manifest(state))
    }

    fn unlist_pod(&self, pod: &Pod) -> Result<()> {
        Self::remove(self, &pod.file())
    }

    fn remove_pod(&self, pod: &Pod) -> Result<()> {
        Source::unlist_pod(self, pod)
    }

    fn boot(&self, _node: &Node) -> Result<()> {
        Ok(())
    }

    fn wait_booted(&self, _node: &Node) -> Result<()> {
        Ok(())
    }

    fn set_reachable(&self, nodes: &[&Node], reachable: bool) -> Result<()> {
        nodes.iter().try_for_each(|node| node.set_store(reachable))
    }

    fn resume_pod(&self, node: &Node, spec: PodSpec) -> Result<Pod> {
        Pod::start(node, spec)
    }
}
