//! What the server said last of every object, and what follows from that for the model. Pure.
//!
//! Fed with objects as they are seen; answers with the batch of changes. Keeps the last good state of each object, so that one
//! that is refused changes nothing. Of a kind and its twin, which share their names, the object that was created first counts,
//! and the other one is complained about.
//!
//! A kind is *open* once it was read, or once it is acted on by what was remembered; of one that is not nothing is delivered.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use landfall_core::model::{Change, ObjectError, ObjectRef, Severity, SourceId};
use serde_json::Value;

use super::copy::Texts;
use super::kind::WatchedKind;
use super::object::{Birth, Place, Seen, Text};
use crate::source::check::duplicate;
use crate::source::object::{Object, ObjectKey};
use crate::source::reading::{self, Reading};
use crate::source::{Batch, ClassPolicy, overlap};

/// The objects of all kinds.
#[derive(Debug)]
pub(super) struct Shelf {
    class: ClassPolicy,
    kinds: BTreeMap<WatchedKind, BTreeMap<Place, Entry>>,
    open: BTreeSet<WatchedKind>,
    missing: BTreeSet<WatchedKind>,
    /// Objects with complaints of their own.
    complaining: BTreeSet<(WatchedKind, Place)>,
    /// Keys that both twins have.
    contested: BTreeSet<ObjectKey>,
    /// What the model has, and from where.
    delivered: BTreeMap<ObjectKey, (WatchedKind, Arc<Reading>)>,
    between: Vec<ObjectError>,
    complained: Vec<ObjectError>,
    /// Keys that have to be looked at.
    touched: BTreeSet<(ObjectKey, WatchedKind, Place)>,
    /// Good states that came or went.
    news: Texts,
}

#[derive(Debug)]
struct Entry {
    birth: Birth,
    /// The latest state.
    text: Text,
    /// The last good one.
    good: Option<Good>,
    /// What is wrong with the latest state.
    complaints: Vec<ObjectError>,
}

#[derive(Debug)]
struct Good {
    text: Text,
    reading: Arc<Reading>,
}

impl Shelf {
    pub(super) fn new(class: ClassPolicy) -> Self {
        Self {
            class,
            kinds: BTreeMap::new(),
            open: BTreeSet::new(),
            missing: BTreeSet::new(),
            complaining: BTreeSet::new(),
            contested: BTreeSet::new(),
            delivered: BTreeMap::new(),
            between: Vec::new(),
            complained: Vec::new(),
            touched: BTreeSet::new(),
            news: Texts::new(),
        }
    }

    /// Whether there is no object of `kind`, not even a remembered one.
    pub(super) fn is_empty(&self, kind: WatchedKind) -> bool {
        self.count(kind) == 0
    }

    /// How many objects of `kind` there are, remembered ones among them.
    pub(super) fn count(&self, kind: WatchedKind) -> usize {
        self.kinds.get(&kind).map_or(0, BTreeMap::len)
    }

    /// Takes in an object that came or changed.
    pub(super) fn put(&mut self, kind: WatchedKind, seen: Seen) {
        let Seen { place, birth, text } = seen;
        let before = self
            .kinds
            .get_mut(&kind)
            .and_then(|all| all.get_mut(&place));
        if before.as_ref().is_some_and(|before| before.text == text) {
            return;
        }
        let reading = read(kind, &place, &text, self.class);
        let complaints = reading.complaints.clone();
        let good = if reading.converted.is_some() {
            let (text, reading) = (text.clone(), Arc::new(reading));
            Some(Good { text, reading })
        } else {
            // Another object of the same name is no later state of this one.
            before
                .filter(|before| before.birth == birth)
                .and_then(|before| before.good.take())
        };
        self.note(kind, &place, good.as_ref().map(|good| good.text.clone()));
        if complaints.is_empty() {
            self.complaining.remove(&(kind, place.clone()));
        } else {
            self.complaining.insert((kind, place.clone()));
        }
        let entry = Entry {
            birth,
            text,
            good,
            complaints,
        };
        self.kinds.entry(kind).or_default().insert(place, entry);
    }

    /// Takes in the end of an object.
    pub(super) fn remove(&mut self, kind: WatchedKind, place: Place) {
        let objects = self.kinds.entry(kind).or_default();
        if objects.remove(&place).is_some() {
            self.complaining.remove(&(kind, place.clone()));
            self.note(kind, &place, None);
        }
    }

    /// Takes in all objects of a kind.
    pub(super) fn replace(&mut self, kind: WatchedKind, objects: Vec<Seen>) {
        let there: BTreeSet<&Place> = objects.iter().map(|seen| &seen.place).collect();
        let known = self.kinds.get(&kind).into_iter().flat_map(BTreeMap::keys);
        let gone: Vec<Place> = known
            .filter(|place| !there.contains(place))
            .cloned()
            .collect();
        for place in gone {
            self.remove(kind, place);
        }
        for seen in objects {
            self.put(kind, seen);
        }
        self.missing.remove(&kind);
        self.open(kind);
    }

    /// Takes in that the server does not know a kind: there are no objects of it.
    pub(super) fn absent(&mut self, kind: WatchedKind) {
        self.replace(kind, Vec::new());
        self.missing.insert(kind);
    }

    /// Acts on what is there of a kind from now on.
    pub(super) fn open(&mut self, kind: WatchedKind) {
        if self.open.insert(kind) {
            let places = self.kinds.get(&kind).into_iter().flat_map(BTreeMap::keys);
            let touched = places.map(|place| (kind.key(place), kind, place.clone()));
            self.touched.extend(touched);
        }
    }

    /// Good states that came or went since the last call.
    pub(super) fn news(&mut self) -> Texts {
        std::mem::take(&mut self.news)
    }

    /// The good states of all objects.
    pub(super) fn texts(&self) -> Texts {
        let all = self.kinds.iter().flat_map(|(kind, objects)| {
            let good = objects
                .iter()
                .filter_map(|(place, entry)| Some((place, entry.good.as_ref()?)));
            good.map(move |(place, good)| (*kind, place.clone(), Some(good.text.clone())))
        });
        all.collect()
    }

    fn note(&mut self, kind: WatchedKind, place: &Place, good: Option<Text>) {
        self.touched.insert((kind.key(place), kind, place.clone()));
        self.news.push((kind, place.clone(), good));
    }

    /// What follows for the model from what was taken in.
    pub(super) fn settle(&mut self) -> Batch {
        let mut batch = Batch::new();
        let mut judge = false;
        for (key, kind, place) in std::mem::take(&mut self.touched) {
            judge |= self.bears_on_others(&key);
            batch.extend(self.decide(&key, kind, &place));
            judge |= self.bears_on_others(&key);
        }
        if judge {
            let delivered = self.delivered.values();
            let placed = delivered.filter_map(|(_, reading)| reading.placed());
            self.between = overlap::complaints(placed);
        }
        batch.extend(self.complaints());
        batch
    }

    /// Decides which object `key` stands for, and tells the change, if that is one.
    fn decide(&mut self, key: &ObjectKey, kind: WatchedKind, place: &Place) -> Option<Change> {
        let mut rivals: Vec<(&Birth, WatchedKind, &Good)> = kind
            .twins()
            .iter()
            .filter(|kind| self.open.contains(kind))
            .filter_map(|kind| {
                let entry = self.kinds.get(kind)?.get(place)?;
                Some((&entry.birth, *kind, entry.good.as_ref()?))
            })
            .collect();
        rivals.sort_by_key(|(birth, kind, _)| (*birth, *kind));
        if rivals.len() > 1 {
            self.contested.insert(key.clone());
        } else {
            self.contested.remove(key);
        }
        let Some((_, owner, good)) = rivals.first() else {
            return self.delivered.remove(key).map(|_| key.clone().end());
        };
        let (owner, reading) = (*owner, Arc::clone(&good.reading));
        let object = reading
            .converted
            .clone()
            .expect("only converted objects are good");
        let before = self.delivered.insert(key.clone(), (owner, reading));
        let same = before.is_some_and(|(_, before)| before.converted.as_ref() == Some(&object));
        (!same).then(|| object.change())
    }

    /// Whether complaints between objects depend on `key` as it is delivered.
    fn bears_on_others(&self, key: &ObjectKey) -> bool {
        let delivered = self.delivered.get(key);
        match delivered.and_then(|(_, reading)| reading.converted.as_ref()) {
            Some(Object::Pool(_) | Object::Node(_)) => true,
            Some(Object::Service(service)) => !service.requested_ips.is_empty(),
            _ => false,
        }
    }

    /// All complaints, if they are not the same as last time.
    fn complaints(&mut self) -> Option<Change> {
        let missing = self.missing.iter().filter(|kind| !kind.is_cilium());
        let mut all: Vec<ObjectError> = missing.map(|kind| undefined(*kind)).collect();
        for (kind, place) in &self.complaining {
            let entry = self.kinds.get(kind).and_then(|all| all.get(place));
            let open = entry.filter(|_| self.open.contains(kind));
            all.extend(
                open.into_iter()
                    .flat_map(|it| it.complaints.iter().cloned()),
            );
        }
        for key in &self.contested {
            let Some((owner, first)) = self.delivered.get(key) else {
                continue;
            };
            let name = Place {
                namespace: Box::default(),
                name: first.object.name.as_str().into(),
            };
            let losers = owner.twins().iter().filter(|kind| *kind != owner);
            let losers = losers.filter_map(|kind| self.kinds.get(kind)?.get(&name)?.good.as_ref());
            all.extend(losers.map(|good| duplicate(&good.reading, &first.origin)));
        }
        all.extend(self.between.iter().cloned());
        if all == self.complained {
            return None;
        }
        self.complained.clone_from(&all);
        Some(Change::Errors(SourceId::Kubernetes, all))
    }
}

/// Reads an object's text.
fn read(kind: WatchedKind, place: &Place, text: &Text, class: ClassPolicy) -> Reading {
    // What is no JSON any more is no object either, and is told as such.
    let object: Value = serde_json::from_str(text.as_str()).unwrap_or_default();
    let version = object.get("apiVersion").and_then(Value::as_str);
    let path = kind.path(version.unwrap_or_default(), place);
    reading::served(path, object, class)
}

/// That a kind's definition is not there.
fn undefined(kind: WatchedKind) -> ObjectError {
    let definition = kind.definition();
    ObjectError {
        origin: format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{definition}"),
        object: ObjectRef {
            kind: "CustomResourceDefinition".to_owned(),
            name: definition,
        },
        field: String::new(),
        problem: format!("is not installed, so that there is no {kind}"),
        remedy: "install it: landfall crds | kubectl apply -f -".to_owned(),
        severity: Severity::Error,
    }
}
