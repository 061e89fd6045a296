//! Families of addresses: `ipFamilyPolicy` in all its values.

use anyhow::Result;
use serde_json::{Value, json};

use super::scene::Scene;

fn with_families(scene: &Scene<'_>, word: &str, policy: &str, families: &[&str]) -> Value {
    let mut service = scene.service(word);
    service["spec"]["ipFamilyPolicy"] = json!(policy);
    if !families.is_empty() {
        service["spec"]["ipFamilies"] = json!(families);
    }
    service
}

pub(super) fn single_stack_v4(scene: &Scene<'_>) -> Result<()> {
    scene.pool_v4(1, 9)?;
    scene.pool_v6(1, 9)?;
    let service = with_families(scene, "a", "SingleStack", &["IPv4"]);
    scene.apply(&service)?;
    scene.gets(&service, &[scene.v4(1)])?;
    scene.reason(&service, "satisfied")?;
    scene.event(&service, "IPAllocated")?;
    scene.answers(scene.v4(1)).map(drop)
}

pub(super) fn single_stack_v6(scene: &Scene<'_>) -> Result<()> {
    scene.pool_v4(1, 9)?;
    scene.pool_v6(1, 9)?;
    let service = with_families(scene, "a", "SingleStack", &["IPv6"]);
    scene.apply(&service)?;
    scene.gets(&service, &[scene.v6(1)])?;
    scene.answers(scene.v6(1)).map(drop)
}

pub(super) fn prefer_gets_both(scene: &Scene<'_>) -> Result<()> {
    scene.pool_v4(1, 9)?;
    scene.pool_v6(1, 9)?;
    let service = with_families(scene, "a", "PreferDualStack", &[]);
    scene.apply(&service)?;
    scene.gets(&service, &[scene.v4(1), scene.v6(1)])?;
    scene.answers(scene.v4(1))?;
    scene.answers(scene.v6(1)).map(drop)
}

pub(super) fn prefer_is_content_with_one(scene: &Scene<'_>) -> Result<()> {
    scene.pool_v4(1, 9)?;
    let service = with_families(scene, "a", "PreferDualStack", &[]);
    scene.apply(&service)?;
    scene.gets(&service, &[scene.v4(1)])?;
    scene.reason(&service, "satisfied")?;
    scene.answers(scene.v4(1)).map(drop)
}

pub(super) fn require_gets_both(scene: &Scene<'_>) -> Result<()> {
    scene.pool_v4(1, 9)?;
    scene.pool_v6(1, 9)?;
    let service = with_families(scene, "a", "RequireDualStack", &["IPv6", "IPv4"]);
    scene.apply(&service)?;
    scene.gets(&service, &[scene.v4(1), scene.v6(1)])?;
    scene.reason(&service, "satisfied")?;
    scene.answers(scene.v4(1))?;
    scene.answers(scene.v6(1)).map(drop)
}

pub(super) fn require_tells_what_is_missing(scene: &Scene<'_>) -> Result<()> {
    scene.pool_v4(1, 9)?;
    let service = with_families(scene, "a", "RequireDualStack", &[]);
    scene.apply(&service)?;
    let message = scene.reason(&service, "no_pool")?;
    anyhow::ensure!(message.contains("IPv6"), "{message}");
    scene.event(&service, "AllocationFailed")?;
    scene.pool_v6(1, 9)?;
    scene.gets(&service, &[scene.v4(1), scene.v6(1)])?;
    scene.reason(&service, "satisfied").map(drop)
}

pub(super) fn a_second_family_is_added(scene: &Scene<'_>) -> Result<()> {
    scene.pool_v4(1, 9)?;
    scene.pool_v6(1, 9)?;
    let mut service = with_families(scene, "a", "SingleStack", &["IPv4"]);
    scene.apply(&service)?;
    scene.gets(&service, &[scene.v4(1)])?;
    service["spec"]["ipFamilyPolicy"] = json!("RequireDualStack");
    service["spec"]["ipFamilies"] = json!(["IPv4", "IPv6"]);
    scene.apply(&service)?;
    scene.gets(&service, &[scene.v4(1), scene.v6(1)])?;
    scene.answers(scene.v6(1)).map(drop)
}

pub(super) fn a_second_family_is_given_back(scene: &Scene<'_>) -> Result<()> {
    scene.pool_v4(1, 9)?;
    scene.pool_v6(1, 9)?;
    let mut service = with_families(scene, "a", "RequireDualStack", &["IPv4", "IPv6"]);
    scene.apply(&service)?;
    scene.gets(&service, &[scene.v4(1), scene.v6(1)])?;
    service["spec"]["ipFamilyPolicy"] = json!("SingleStack");
    service["spec"]["ipFamilies"] = json!(["IPv4"]);
    scene.apply(&service)?;
    scene.gets(&service, &[scene.v4(1)])?;
    scene.silent(scene.v6(1))?;
    scene.answers(scene.v4(1)).map(drop)
}
