//! Wrong objects through the API: each is refused by the API server, or taken and complained of by
//! the agents with what to write instead; and everything else works.
//!
//! The objects are those of `daemon/tests/wrong-input`, whose first lines tell what is wrong with
//! each, as far as an API server can be given them: what is no YAML, no object, or twice in one file
//! is a matter of files.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use landfall_tests::cluster::Resource;
use landfall_tests::cluster::client::{self, Client};
use landfall_tests::lab::wait;
use landfall_tests::scenario::Stage;
use serde::Deserialize as _;
use serde_json::Value;

use crate::{SECOND, access, stage};

/// Kinds that the agents learn from the API and that nobody else writes here.
const KINDS: [&str; 6] = [
    "CiliumL2AnnouncementPolicy",
    "CiliumLoadBalancerIPPool",
    "EndpointSlice",
    "L2AnnouncementPolicy",
    "LoadBalancerIPPool",
    "Service",
];

/// What is wrong only in files, or cannot be asked of an API server: an object whose name another file has, one in a
/// namespace whose name none can have, versions that no server serves, and a slice that is some other controller's.
const OF_FILES: [&str; 5] = [
    "name-taken-by-the-good-file",
    "namespace-illegal",
    "pool-version",
    "slice-version",
    "slice-without-service",
];

/// A file of wrong objects.
struct Wrong {
    file: String,
    /// What complaints call the wrong one.
    object: String,
    /// Words of what to do about it.
    remedy: String,
    objects: Vec<Value>,
}

/// The files that an API server can be given.
fn wrong() -> Result<Vec<Wrong>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../daemon/tests/wrong-input");
    let mut all = Vec::new();
    for entry in fs::read_dir(&dir).with_context(|| dir.display().to_string())? {
        let path = entry?.path();
        let text = fs::read_to_string(&path)?;
        let told = |what: &str| {
            let mut lines = text.lines().filter_map(|line| line.strip_prefix("# "));
            let value = lines.find_map(|line| line.strip_prefix(what)?.strip_prefix(": "));
            value.unwrap_or_default().to_owned()
        };
        let documents = serde_norway::Deserializer::from_str(&text);
        let objects: Result<Vec<Value>, _> = documents.map(Value::deserialize).collect();
        let Ok(objects) = objects else { continue };
        if OF_FILES
            .iter()
            .any(|file| path.ends_with(format!("{file}.yaml")))
        {
            continue;
        }
        let ours = |object: &Value| object["kind"].as_str().is_some_and(|k| KINDS.contains(&k));
        let places: Result<Vec<String>> = objects
            .iter()
            .map(|object| Ok(Resource::of(object)?.to_string()))
            .collect();
        let Ok(mut places) = places else { continue };
        let count = places.len();
        places.sort();
        places.dedup();
        if objects.iter().all(ours) && places.len() == count {
            all.push(Wrong {
                file: path.file_name().context("a name")?.display().to_string(),
                object: told("object"),
                remedy: told("remedy"),
                objects,
            });
        }
    }
    all.sort_by(|one, other| one.file.cmp(&other.file));
    Ok(all)
}

/// What became of a wrong object.
enum Fate {
    Refused(String),
    Complained(String),
}

fn play(stage: &Stage, client: &Client, wrong: &Wrong) -> Result<Fate> {
    for object in &wrong.objects {
        if let Err(error) = client.create(object) {
            let refusal = client::refusal(&error).context("no answer at all")?.clone();
            ensure!(
                refusal.code == 422 || refusal.code == 400,
                "refused for another reason: {refusal}"
            );
            ensure!(refusal.message.len() > 20, "a bare refusal: {refusal}");
            return Ok(Fate::Refused(refusal.message));
        }
    }
    wait::until_ok(5 * SECOND, "a complaint", || {
        std::thread::sleep(Duration::from_millis(100));
        let complaints = stage.lab.node(0).status()?.complaints;
        let about = complaints.iter().find(|c| c.object.contains(&wrong.object));
        let about = about.with_context(|| format!("only {complaints:?}"))?;
        ensure!(about.remedy.contains(&wrong.remedy), "{about}");
        Ok(Fate::Complained(about.to_string()))
    })
}

#[test]
fn wrong_objects_are_refused_or_complained_of_and_harm_nothing() -> Result<()> {
    let stage = stage(Stage::builder())?;
    let client = access(&stage).client();
    let (mut refused, mut complained, mut failed) = (0, 0, Vec::new());
    for wrong in wrong()? {
        match play(&stage, client, &wrong) {
            Ok(Fate::Refused(why)) => {
                refused += 1;
                println!("{} is refused: {why}", wrong.file);
            }
            Ok(Fate::Complained(why)) => {
                complained += 1;
                println!("{} is complained of: {why}", wrong.file);
            }
            Err(error) => failed.push(format!("{}: {error:#}", wrong.file)),
        }
        for object in &wrong.objects {
            client.delete(&Resource::of(object)?)?;
        }
        for vip in stage.vips() {
            stage.lab.client().http_get((vip, 80))?;
        }
    }
    println!("{refused} refused, {complained} complained of");
    ensure!(failed.is_empty(), "{}", failed.join("\n"));
    ensure!(refused + complained >= 25, "only {}", refused + complained);
    wait::until_ok(10 * SECOND, "no complaint to be left", || {
        let left = stage.lab.node(0).status()?.complaints;
        ensure!(left.is_empty(), "{left:?}");
        Ok(())
    })
}
