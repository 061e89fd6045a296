//! Addresses that are asked for.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::scene::Scene;

fn asked_by_annotation(scene: &Scene<'_>, annotation: &str) -> Result<()> {
    scene.pool_v4(1, 9)?;
    let service = scene.annotated("a", annotation, &scene.v4(7).to_string());
    scene.apply(&service)?;
    scene.gets(&service, &[scene.v4(7)])?;
    scene.answers(scene.v4(7)).map(drop)
}

pub(super) fn by_our_annotation(scene: &Scene<'_>) -> Result<()> {
    asked_by_annotation(scene, "landfall.dev/ips")
}

pub(super) fn by_cilium_s_annotation(scene: &Scene<'_>) -> Result<()> {
    asked_by_annotation(scene, "lbipam.cilium.io/ips")
}

pub(super) fn by_metallb_s_annotation(scene: &Scene<'_>) -> Result<()> {
    asked_by_annotation(scene, "metallb.io/loadBalancerIPs")
}

pub(super) fn by_the_spec(scene: &Scene<'_>) -> Result<()> {
    scene.pool_v4(1, 9)?;
    let mut service = scene.service("a");
    service["spec"]["loadBalancerIP"] = json!(scene.v4(7));
    scene.apply(&service)?;
    scene.gets(&service, &[scene.v4(7)])?;
    scene.answers(scene.v4(7)).map(drop)
}

pub(super) fn of_a_pool(scene: &Scene<'_>) -> Result<()> {
    scene.pool_v4(1, 9)?;
    let second = scene.pool("second", &[(scene.v4(20), scene.v4(29))]);
    scene.apply(&second)?;
    let service = scene.annotated("a", "landfall.dev/pool", &scene.name("second"));
    scene.apply(&service)?;
    scene.gets(&service, &[scene.v4(20)])
}

pub(super) fn outside_all_pools(scene: &Scene<'_>) -> Result<()> {
    scene.pool_v4(1, 9)?;
    let service = ips(scene, "a", 77);
    scene.apply(&service)?;
    let message = scene.reason(&service, "no_pool")?;
    ensure!(
        message.contains(&scene.v4(77).to_string()) || message.contains("spec.blocks"),
        "{message}"
    );
    scene.event(&service, "AllocationFailed")?;
    scene.keeps(&service, &[])?;
    let wider = scene.pool("four", &[(scene.v4(1), scene.v4(99))]);
    scene.apply(&wider)?;
    scene.gets(&service, &[scene.v4(77)])
}

fn ips(scene: &Scene<'_>, word: &str, last: u8) -> Value {
    scene.annotated(word, "landfall.dev/ips", &scene.v4(last).to_string())
}

pub(super) fn taken_already(scene: &Scene<'_>) -> Result<()> {
    scene.pool_v4(1, 9)?;
    let (a, b) = (ips(scene, "a", 5), ips(scene, "b", 5));
    scene.apply(&a)?;
    scene.gets(&a, &[scene.v4(5)])?;
    scene.apply(&b)?;
    scene.reason(&b, "already_allocated")?;
    scene.keeps(&b, &[])?;
    scene.delete(&a)?;
    scene.gets(&b, &[scene.v4(5)])?;
    scene.answers(scene.v4(5)).map(drop)
}

pub(super) fn another_one_later(scene: &Scene<'_>) -> Result<()> {
    scene.pool_v4(1, 9)?;
    let a = ips(scene, "a", 5);
    scene.apply(&a)?;
    scene.gets(&a, &[scene.v4(5)])?;
    scene.answers(scene.v4(5))?;
    let a = ips(scene, "a", 6);
    scene.apply(&a)?;
    scene.gets(&a, &[scene.v4(6)])?;
    scene.answers(scene.v4(6))?;
    scene.silent(scene.v4(5))
}

pub(super) fn no_longer(scene: &Scene<'_>) -> Result<()> {
    scene.pool_v4(1, 9)?;
    let a = ips(scene, "a", 5);
    scene.apply(&a)?;
    scene.gets(&a, &[scene.v4(5)])?;
    let a = scene.service("a");
    scene.apply(&a)?;
    scene.keeps(&a, &[scene.v4(5)])
}

pub(super) fn several_at_once(scene: &Scene<'_>) -> Result<()> {
    scene.pool_v4(1, 9)?;
    let both = format!("{},{}", scene.v4(3), scene.v4(4));
    let a = scene.annotated("a", "landfall.dev/ips", &both);
    scene.apply(&a)?;
    scene.gets(&a, &[scene.v4(3), scene.v4(4)])?;
    scene.answers(scene.v4(3))?;
    scene.answers(scene.v4(4)).map(drop)
}
