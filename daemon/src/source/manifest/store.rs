//! What the directory's files said last, and what follows from that for the model. Pure.
//!
//! Fed with what became of files; answers with the batch of changes. Keeps, per file, the last good
//! state of each object, so that a file that cannot be read, or an object in it that is refused,
//! changes nothing. An object belongs to the file that had it first; another one that brings it too
//! is complained about, and takes over when the first lets go.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::sync::Arc;

use landfall_core::model::{Change, ObjectError, Severity, SourceId};

use super::file::{Content, Fault};
use crate::source::check::duplicate;
use crate::source::object::{Object, ObjectKey};
use crate::source::reading::{self, Reading};
use crate::source::{Batch, ClassPolicy, overlap};

/// What became of a file.
#[derive(Debug)]
pub(super) enum Sight {
    /// It was read.
    Content(Content),
    /// It is there and cannot be read.
    Fault(Fault),
    /// It is not there, perhaps only for the moment in which an editor replaces it. Its objects
    /// stay, but give way to those of the same name in other files.
    Leaving,
    /// It is gone for good.
    Gone,
}

/// The objects of all files.
#[derive(Debug)]
pub(super) struct Store {
    directory: PathBuf,
    class: ClassPolicy,
    directory_fault: Option<ObjectError>,
    files: BTreeMap<OsString, FileState>,
    /// Which files have an object.
    places: BTreeMap<ObjectKey, BTreeSet<OsString>>,
    /// Objects that several files have.
    contested: BTreeSet<ObjectKey>,
    /// What the model has, and from which file.
    delivered: BTreeMap<ObjectKey, (OsString, Arc<Reading>)>,
    between: Vec<ObjectError>,
    complained: Vec<ObjectError>,
}

#[derive(Debug, Default)]
struct FileState {
    objects: BTreeMap<ObjectKey, Arc<Reading>>,
    complaints: Vec<ObjectError>,
    leaving: bool,
}

impl Store {
    pub(super) fn new(directory: PathBuf, class: ClassPolicy) -> Self {
        Self {
            directory,
            class,
            directory_fault: None,
            files: BTreeMap::new(),
            places: BTreeMap::new(),
            contested: BTreeSet::new(),
            delivered: BTreeMap::new(),
            between: Vec::new(),
            complained: Vec::new(),
        }
    }

    /// Takes in what is wrong with the directory itself; nothing, when it is in order.
    pub(super) fn directory(&mut self, fault: Option<ObjectError>) -> Batch {
        self.directory_fault = fault;
        self.complaints().into_iter().collect()
    }

    /// Takes in what became of files, all of them in one step.
    pub(super) fn apply(&mut self, seen: Vec<(OsString, Sight)>) -> Batch {
        let mut affected = BTreeSet::new();
        for (name, sight) in seen {
            self.take(name, sight, &mut affected);
        }
        let mut batch = Batch::new();
        let mut judge = false;
        for key in &affected {
            judge |= self.bears_on_others(key);
            batch.extend(self.settle(key));
            judge |= self.bears_on_others(key);
        }
        if judge {
            let placed = self
                .delivered
                .values()
                .filter_map(|(_, reading)| reading.placed());
            self.between = overlap::complaints(placed);
        }
        batch.extend(self.complaints());
        batch
    }

    /// Whether the last attempt to read `name` failed.
    pub(super) fn is_faulty(&self, name: &OsStr) -> bool {
        self.files
            .get(name)
            .is_none_or(|file| !file.complaints.is_empty())
    }

    /// Whether an object of `name`, or the whole file, was refused when it was last read.
    pub(super) fn is_refused(&self, name: &OsStr) -> bool {
        let complaints = self.files.get(name).map(|file| &file.complaints);
        complaints.is_none_or(|all| all.iter().any(|it| it.severity == Severity::Error))
    }

    fn take(&mut self, name: OsString, sight: Sight, affected: &mut BTreeSet<ObjectKey>) {
        let origin = self.directory.join(&name).display().to_string();
        match sight {
            Sight::Content(content) => {
                let readings = self.read(&origin, &content);
                let file = self.files.entry(name.clone()).or_default();
                file.leaving = false;
                match readings {
                    Ok(readings) => {
                        let old = std::mem::take(&mut file.objects);
                        (file.objects, file.complaints) = adopt(readings, &old);
                        affected.extend(old.keys().chain(file.objects.keys()).cloned());
                        let new = file.objects.keys().cloned().collect();
                        self.place(&name, old.into_keys(), new);
                    }
                    Err(complaint) => file.complaints = vec![*complaint],
                }
            }
            Sight::Fault(fault) => {
                let file = self.files.entry(name).or_default();
                file.leaving = false;
                file.complaints = vec![fault.complaint(&origin)];
            }
            Sight::Leaving => {
                if let Some(file) = self.files.get_mut(&name) {
                    file.leaving = true;
                    affected.extend(file.objects.keys().cloned());
                }
            }
            Sight::Gone => {
                if let Some(file) = self.files.remove(&name) {
                    affected.extend(file.objects.keys().cloned());
                    self.place(&name, file.objects.into_keys(), BTreeSet::new());
                }
            }
        }
    }

    fn read(&self, origin: &str, content: &Content) -> Result<Vec<Reading>, Box<ObjectError>> {
        let first_seen = |key: &ObjectKey| {
            self.delivered
                .get(key)
                .and_then(|(_, reading)| reading.converted.as_ref()?.created())
                .unwrap_or(content.modified)
        };
        reading::objects(origin, &content.bytes, self.class, &first_seen)
    }

    /// Notes that `name` has the objects `new` and no longer those of `old` which are not among them.
    fn place(
        &mut self,
        name: &OsStr,
        old: impl Iterator<Item = ObjectKey>,
        new: BTreeSet<ObjectKey>,
    ) {
        for key in old.filter(|key| !new.contains(key)) {
            if let Some(files) = self.places.get_mut(&key) {
                files.remove(name);
                if files.len() < 2 {
                    self.contested.remove(&key);
                }
                if files.is_empty() {
                    self.places.remove(&key);
                }
            }
        }
        for key in new {
            let files = self.places.entry(key.clone()).or_default();
            files.insert(name.to_owned());
            if files.len() > 1 {
                self.contested.insert(key);
            }
        }
    }

    /// Whether complaints between objects depend on `key` as it is delivered.
    fn bears_on_others(&self, key: &ObjectKey) -> bool {
        match self
            .delivered
            .get(key)
            .and_then(|(_, reading)| reading.converted.as_ref())
        {
            Some(Object::Pool(_) | Object::Node(_)) => true,
            Some(Object::Service(service)) => !service.requested_ips.is_empty(),
            _ => false,
        }
    }

    /// Decides whose object `key` is, and tells the change, if that is one.
    fn settle(&mut self, key: &ObjectKey) -> Option<Change> {
        let owner = self.owner(key);
        let reading = owner
            .as_ref()
            .and_then(|file| self.files[file].objects.get(key))
            .cloned();
        let before = self
            .delivered
            .get(key)
            .map(|(_, reading)| Arc::clone(reading));
        match owner.zip(reading) {
            Some((owner, reading)) => {
                let object = reading
                    .converted
                    .clone()
                    .expect("only converted objects are kept");
                self.delivered.insert(key.clone(), (owner, reading));
                let same = before.is_some_and(|it| it.converted.as_ref() == Some(&object));
                (!same).then(|| object.change())
            }
            None => self.delivered.remove(key).map(|_| key.clone().end()),
        }
    }

    /// The file an object is taken from: the one it was taken from last, unless that is leaving;
    /// else the first by name.
    fn owner(&self, key: &ObjectKey) -> Option<OsString> {
        let files = self.places.get(key)?;
        let stays = |file: &&OsString| !self.files[*file].leaving;
        let last = self
            .delivered
            .get(key)
            .map(|(file, _)| file)
            .filter(|it| files.contains(*it));
        last.filter(stays)
            .or_else(|| files.iter().find(stays))
            .or(last)
            .or_else(|| files.first())
            .cloned()
    }

    /// All complaints, if they are not the same as last time.
    fn complaints(&mut self) -> Option<Change> {
        let mut all: Vec<ObjectError> = self.directory_fault.iter().cloned().collect();
        all.extend(
            self.files
                .values()
                .flat_map(|file| file.complaints.iter().cloned()),
        );
        for key in &self.contested {
            let (owner, first) = &self.delivered[key];
            let losers = self.places[key].iter().filter(|file| *file != owner);
            for file in losers
                .map(|file| &self.files[file])
                .filter(|file| !file.leaving)
            {
                all.push(duplicate(&file.objects[key], &first.origin));
            }
        }
        all.extend(self.between.iter().cloned());
        if all == self.complained {
            return None;
        }
        self.complained.clone_from(&all);
        Some(Change::Errors(SourceId::Manifests, all))
    }
}

/// The objects of a file by key, and all complaints.
///
/// A file in which something is refused brings what is good and takes nothing away: what it no longer
/// has may be what the refused one was meant to be, or was, before the file was cut off.
fn adopt(
    readings: Vec<Reading>,
    old: &BTreeMap<ObjectKey, Arc<Reading>>,
) -> (BTreeMap<ObjectKey, Arc<Reading>>, Vec<ObjectError>) {
    let mut objects: BTreeMap<ObjectKey, Arc<Reading>> = BTreeMap::new();
    let mut complaints = Vec::new();
    let mut refused = false;
    for reading in readings {
        refused |= reading
            .complaints
            .iter()
            .any(|it| it.severity == Severity::Error);
        complaints.extend(reading.complaints.iter().cloned());
        let Some(key) = reading.key.clone().filter(|_| reading.converted.is_some()) else {
            continue;
        };
        match objects.get(&key) {
            Some(first) => complaints.push(duplicate(&reading, &first.origin)),
            None => {
                objects.insert(key, Arc::new(reading));
            }
        }
    }
    if refused {
        for (key, good) in old {
            objects
                .entry(key.clone())
                .or_insert_with(|| Arc::clone(good));
        }
    }
    (objects, complaints)
}
