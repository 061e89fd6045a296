//! `landfall check`: what is wrong with files, without a daemon.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use landfall_core::model::{ObjectError, Severity};

use super::class::ClassPolicy;
use super::manifest::{file, names};
use super::object::ObjectKey;
use super::overlap;
use super::reading::{self, Reading, whole};

/// Everything that is wrong with `files`, taken as one set: each object by itself, names given
/// twice, and what objects say of each other. A directory stands for the files in it that the agent
/// would read. Blocking.
pub fn check(files: &[PathBuf], class: ClassPolicy) -> Vec<ObjectError> {
    let mut complaints = Vec::new();
    let mut objects: BTreeMap<ObjectKey, Reading> = BTreeMap::new();
    for path in expand(files, &mut complaints) {
        let origin = path.display().to_string();
        let read = file::read(&path)
            .map_err(|fault| Box::new(fault.complaint(&origin)))
            .and_then(|read| reading::objects(&origin, &read.bytes, class, &|_| read.modified));
        match read {
            Ok(readings) => {
                for reading in readings {
                    complaints.extend(reading.complaints.iter().cloned());
                    admit(reading, &mut objects, &mut complaints);
                }
            }
            Err(complaint) => complaints.push(*complaint),
        }
    }
    complaints.extend(overlap::complaints(
        objects.values().filter_map(Reading::placed),
    ));
    complaints
}

fn admit(
    reading: Reading,
    objects: &mut BTreeMap<ObjectKey, Reading>,
    complaints: &mut Vec<ObjectError>,
) {
    let Some(key) = reading.key.clone().filter(|_| reading.converted.is_some()) else {
        return;
    };
    match objects.get(&key) {
        Some(first) => complaints.push(duplicate(&reading, &first.origin)),
        None => {
            objects.insert(key, reading);
        }
    }
}

/// That an object has a name which one read before has already.
pub(super) fn duplicate(later: &Reading, first: &str) -> ObjectError {
    ObjectError {
        origin: later.origin.clone(),
        object: later.object.clone(),
        field: "metadata.name".to_owned(),
        problem: format!("the name is taken by {first}"),
        remedy: "rename or remove one of the two".to_owned(),
        severity: Severity::Error,
    }
}

/// The files meant: directories are replaced by what the agent would read of them.
fn expand(files: &[PathBuf], complaints: &mut Vec<ObjectError>) -> Vec<PathBuf> {
    let mut expanded = Vec::new();
    for path in files {
        if !path.is_dir() {
            expanded.push(path.clone());
            continue;
        }
        match names(path) {
            Ok(names) => expanded.extend(names.iter().map(|name| Path::new(path).join(name))),
            Err(error) => complaints.push(whole(
                &path.display().to_string(),
                format!("cannot be listed: {error}"),
                "make the directory readable",
            )),
        }
    }
    expanded
}
