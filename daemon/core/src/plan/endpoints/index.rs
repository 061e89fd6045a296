//! Which Services a Pod or an EndpointSlice concerns, without looking at all of them.
//!
//! Labels are indexed by a fingerprint of namespace, key and value. Two that share a fingerprint cost a
//! comparison and nothing else: every hit is checked against the objects themselves.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{Hash, Hasher};

use super::EndpointRule;
use crate::model::{DesiredState, EndpointSlice, ObjectName, Pod, PodName, Service, ServiceName};

type Labels = BTreeMap<String, String>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Fingerprint(u64);

/// The index. Told of every change of a Service, Pod or EndpointSlice, it answers whom that concerns.
#[derive(Clone, Debug, Default)]
pub struct EndpointIndex {
    rule: EndpointRule,
    slices: HashMap<ServiceName, BTreeSet<ObjectName>>,
    /// Services by one label of their selector, the one that had the fewest Services when it was chosen.
    services: HashMap<Fingerprint, BTreeSet<ServiceName>>,
    anchors: HashMap<ServiceName, Fingerprint>,
    /// Pods by each of their labels.
    pods: HashMap<Fingerprint, BTreeSet<PodName>>,
}

impl EndpointIndex {
    /// An empty index.
    pub fn new(rule: EndpointRule) -> Self {
        Self {
            rule,
            ..Self::default()
        }
    }

    /// A Service came, changed (`service` is its new state) or went.
    pub fn service_changed(&mut self, name: &ServiceName, service: Option<&Service>) {
        if let Some(anchor) = self.anchors.remove(name) {
            remove(&mut self.services, anchor, name);
        }
        let Some(service) = service.filter(|_| self.rule == EndpointRule::PodsFirst) else {
            return;
        };
        let anchor = fingerprints(&name.namespace, &service.selector)
            .min_by_key(|pair| self.services.get(pair).map_or(0, BTreeSet::len));
        if let Some(anchor) = anchor {
            self.anchors.insert(name.clone(), anchor);
            self.services
                .entry(anchor)
                .or_default()
                .insert(name.clone());
        }
    }

    /// An EndpointSlice changed from `before` to `after`; adds the Services concerned to `touched`.
    pub fn slice_changed(
        &mut self,
        before: Option<&EndpointSlice>,
        after: Option<&EndpointSlice>,
        touched: &mut BTreeSet<ServiceName>,
    ) {
        if let Some(slice) = before {
            remove(&mut self.slices, slice.service.clone(), &slice.name);
            touched.insert(slice.service.clone());
        }
        if let Some(slice) = after {
            self.slices
                .entry(slice.service.clone())
                .or_default()
                .insert(slice.name.clone());
            touched.insert(slice.service.clone());
        }
    }

    /// A Pod changed from `before` to `after`; adds the Services that select either to `touched`.
    pub fn pod_changed(
        &mut self,
        state: &DesiredState,
        before: Option<&Pod>,
        after: Option<&Pod>,
        touched: &mut BTreeSet<ServiceName>,
    ) {
        if self.rule == EndpointRule::SlicesOnly {
            return;
        }
        let relabelled = before.map(|pod| &pod.labels) != after.map(|pod| &pod.labels);
        if let Some(pod) = before {
            self.selecting(state, pod, touched);
            for pair in fingerprints(&pod.name.namespace, &pod.labels).filter(|_| relabelled) {
                remove(&mut self.pods, pair, &pod.name);
            }
        }
        if let Some(pod) = after {
            for pair in fingerprints(&pod.name.namespace, &pod.labels).filter(|_| relabelled) {
                self.pods.entry(pair).or_default().insert(pod.name.clone());
            }
            self.selecting(state, pod, touched);
        }
    }

    /// The Pods that `service` selects, in the order of their names.
    pub(super) fn pods_of<'a>(
        &'a self,
        state: &'a DesiredState,
        service: &'a Service,
    ) -> impl Iterator<Item = &'a Pod> {
        let rarest = fingerprints(&service.name.namespace, &service.selector)
            .filter(|_| self.rule == EndpointRule::PodsFirst)
            .map(|pair| self.pods.get(&pair))
            .min_by_key(|bucket| bucket.map_or(0, BTreeSet::len))
            .flatten();
        rarest
            .into_iter()
            .flatten()
            .filter_map(|name| state.pods.get(name))
            .filter(|pod| selects(service, pod))
    }

    /// The EndpointSlices of a Service, in the order of their names.
    pub(super) fn slices_of<'a>(
        &'a self,
        state: &'a DesiredState,
        service: &ServiceName,
    ) -> impl Iterator<Item = &'a EndpointSlice> {
        let names = self.slices.get(service).into_iter().flatten();
        names.filter_map(|name| state.slices.get(name))
    }

    fn selecting(&self, state: &DesiredState, pod: &Pod, touched: &mut BTreeSet<ServiceName>) {
        for pair in fingerprints(&pod.name.namespace, &pod.labels) {
            for name in self.services.get(&pair).into_iter().flatten() {
                if state
                    .services
                    .get(name)
                    .is_some_and(|service| selects(service, pod))
                {
                    touched.insert(name.clone());
                }
            }
        }
    }
}

fn selects(service: &Service, pod: &Pod) -> bool {
    let mut pairs = service.selector.iter();
    service.name.namespace == pod.name.namespace
        && !service.selector.is_empty()
        && pairs.all(|(key, value)| pod.labels.get(key) == Some(value))
}

fn fingerprints<'a>(
    namespace: &'a str,
    labels: &'a Labels,
) -> impl Iterator<Item = Fingerprint> + use<'a> {
    labels.iter().map(move |pair| {
        // SipHash with fixed keys: the choice of anchors is the same in every run.
        let mut hasher = DefaultHasher::new();
        (namespace, pair).hash(&mut hasher);
        Fingerprint(hasher.finish())
    })
}

fn remove<K: Eq + Hash, V: Ord>(buckets: &mut HashMap<K, BTreeSet<V>>, key: K, value: &V) {
    if let Some(bucket) = buckets.get_mut(&key) {
        bucket.remove(value);
        if bucket.is_empty() {
            buckets.remove(&key);
        }
    }
}
