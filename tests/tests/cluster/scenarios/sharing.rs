//! Addresses that several Services have.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::scene::Scene;

const KEY: &str = "landfall.dev/sharing-key";
const ACROSS: &str = "landfall.dev/sharing-cross-namespace";

fn sharer(scene: &Scene<'_>, word: &str, key: &str, port: u16) -> Value {
    let mut service = scene.annotated(word, KEY, key);
    service["spec"]["ports"][0]["port"] = json!(port);
    service
}

pub(super) fn one_key_and_different_ports(scene: &Scene<'_>) -> Result<()> {
    scene.pool_v4(1, 9)?;
    let (a, b) = (sharer(scene, "a", "k", 80), sharer(scene, "b", "k", 81));
    scene.apply(&a)?;
    scene.gets(&a, &[scene.v4(1)])?;
    scene.apply(&b)?;
    scene.gets(&b, &[scene.v4(1)])?;
    scene.answers_at(scene.v4(1), 80)?;
    scene.answers_at(scene.v4(1), 81)?;
    scene.holder(scene.v4(1)).map(drop)
}

pub(super) fn one_key_and_one_port(scene: &Scene<'_>) -> Result<()> {
    scene.pool_v4(1, 9)?;
    let (a, b) = (sharer(scene, "a", "k", 80), sharer(scene, "b", "k", 80));
    scene.apply(&a)?;
    scene.gets(&a, &[scene.v4(1)])?;
    scene.apply(&b)?;
    scene.gets(&b, &[scene.v4(2)])?;
    scene.answers(scene.v4(2)).map(drop)
}

pub(super) fn different_keys(scene: &Scene<'_>) -> Result<()> {
    scene.pool_v4(1, 9)?;
    let (a, b) = (sharer(scene, "a", "k", 80), sharer(scene, "b", "l", 81));
    scene.apply(&a)?;
    scene.gets(&a, &[scene.v4(1)])?;
    scene.apply(&b)?;
    scene.gets(&b, &[scene.v4(2)])
}

pub(super) fn across_namespaces_by_consent(scene: &Scene<'_>) -> Result<()> {
    let (mut a, mut b) = (sharer(scene, "a", "k", 80), sharer(scene, "b", "k", 81));
    let other = scene.name("other");
    a["metadata"]["annotations"][ACROSS] = json!(other);
    b["metadata"]["namespace"] = json!(other);
    b["metadata"]["annotations"][ACROSS] = json!("default");
    scene.namespace("other")?;
    scene.pool_v4(1, 9)?;
    scene.apply(&a)?;
    scene.gets(&a, &[scene.v4(1)])?;
    scene.apply(&b)?;
    scene.gets(&b, &[scene.v4(1)])?;
    scene.answers(scene.v4(1)).map(drop)
}

pub(super) fn across_namespaces_without_consent(scene: &Scene<'_>) -> Result<()> {
    let (mut a, mut b) = (sharer(scene, "a", "k", 80), sharer(scene, "b", "k", 81));
    let other = scene.name("other");
    a["metadata"]["annotations"][ACROSS] = json!(other);
    b["metadata"]["namespace"] = json!(other);
    scene.namespace("other")?;
    scene.pool_v4(1, 9)?;
    scene.apply(&a)?;
    scene.gets(&a, &[scene.v4(1)])?;
    scene.apply(&b)?;
    scene.gets(&b, &[scene.v4(2)])
}

pub(super) fn whole_sets(scene: &Scene<'_>) -> Result<()> {
    scene.pool_v4(1, 9)?;
    scene.pool_v6(1, 9)?;
    let (mut a, mut b) = (sharer(scene, "a", "k", 80), sharer(scene, "b", "k", 81));
    for service in [&mut a, &mut b] {
        service["spec"]["ipFamilyPolicy"] = json!("RequireDualStack");
    }
    let both = [scene.v4(1), scene.v6(1)];
    scene.apply(&a)?;
    scene.gets(&a, &both)?;
    scene.apply(&b)?;
    scene.gets(&b, &both)?;
    scene.answers_at(scene.v6(1), 80)?;
    scene.answers_at(scene.v6(1), 81).map(drop)
}

pub(super) fn a_sharer_leaves(scene: &Scene<'_>) -> Result<()> {
    scene.pool_v4(1, 9)?;
    let (a, b) = (sharer(scene, "a", "k", 80), sharer(scene, "b", "k", 81));
    scene.apply(&a)?;
    scene.gets(&a, &[scene.v4(1)])?;
    scene.apply(&b)?;
    scene.gets(&b, &[scene.v4(1)])?;
    let holder = scene.holder(scene.v4(1))?;
    // The older one, whose name the lease has.
    scene.delete(&a)?;
    scene.keeps(&b, &[scene.v4(1)])?;
    scene.answers_at(scene.v4(1), 81)?;
    let now = scene.holder(scene.v4(1))?;
    ensure!(now.name() == holder.name(), "it moved to {}", now.name());
    scene.fails(scene.v4(1), 80).map(drop)
}

pub(super) fn a_change_ends_the_sharing(scene: &Scene<'_>) -> Result<()> {
    scene.pool_v4(1, 9)?;
    let (a, mut b) = (sharer(scene, "a", "k", 80), sharer(scene, "b", "k", 81));
    scene.apply(&a)?;
    scene.gets(&a, &[scene.v4(1)])?;
    scene.apply(&b)?;
    scene.gets(&b, &[scene.v4(1)])?;
    b["metadata"]["annotations"][KEY] = json!("another");
    scene.apply(&b)?;
    scene.gets(&b, &[scene.v4(2)])?;
    scene.keeps(&a, &[scene.v4(1)])
}

pub(super) fn metallb_s_word(scene: &Scene<'_>) -> Result<()> {
    scene.pool_v4(1, 9)?;
    let shared = "metallb.io/allow-shared-ip";
    let (mut a, mut b) = (
        scene.annotated("a", shared, "k"),
        scene.annotated("b", shared, "k"),
    );
    a["spec"]["ports"][0]["port"] = json!(80);
    b["spec"]["ports"][0]["port"] = json!(81);
    scene.apply(&a)?;
    scene.gets(&a, &[scene.v4(1)])?;
    scene.apply(&b)?;
    scene.gets(&b, &[scene.v4(1)])
}
