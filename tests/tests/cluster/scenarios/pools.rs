//! Pools that are edited under live Services.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::scene::Scene;

/// A Service that has the address that ends in `last`, and answers.
fn live(scene: &Scene<'_>, last: u8) -> Result<Value> {
    let service = scene.annotated("live", "landfall.dev/ips", &scene.v4(last).to_string());
    scene.apply(&service)?;
    scene.gets(&service, &[scene.v4(last)])?;
    scene.answers(scene.v4(last))?;
    // From here on it asks for none: what it has is what it keeps.
    let service = scene.service("live");
    scene.apply(&service)?;
    Ok(service)
}

pub(super) fn widened(scene: &Scene<'_>) -> Result<()> {
    scene.pool_v4(4, 6)?;
    let service = live(scene, 5)?;
    scene.pool_v4(1, 99)?;
    scene.keeps(&service, &[scene.v4(5)])?;
    scene.answers(scene.v4(5)).map(drop)
}

pub(super) fn shrunk_around(scene: &Scene<'_>) -> Result<()> {
    scene.pool_v4(1, 99)?;
    let service = live(scene, 5)?;
    scene.pool_v4(5, 6)?;
    scene.keeps(&service, &[scene.v4(5)])?;
    scene.answers(scene.v4(5)).map(drop)
}

pub(super) fn shrunk_past(scene: &Scene<'_>) -> Result<()> {
    scene.pool_v4(1, 99)?;
    let service = live(scene, 5)?;
    scene.pool_v4(50, 59)?;
    scene.gets(&service, &[scene.v4(50)])?;
    scene.answers(scene.v4(50))?;
    scene.silent(scene.v4(5))
}

pub(super) fn disabled(scene: &Scene<'_>) -> Result<()> {
    let mut pool = scene.pool_v4(1, 9)?;
    let service = live(scene, 5)?;
    pool["spec"]["disabled"] = json!(true);
    scene.apply(&pool)?;
    let late = scene.service("late");
    scene.apply(&late)?;
    scene.reason(&late, "no_pool")?;
    scene.keeps(&service, &[scene.v4(5)])?;
    scene.answers(scene.v4(5))?;
    pool["spec"]["disabled"] = json!(false);
    scene.apply(&pool)?;
    scene.gets(&late, &[scene.v4(1)])
}

pub(super) fn deleted(scene: &Scene<'_>) -> Result<()> {
    let pool = scene.pool_v4(1, 9)?;
    let service = live(scene, 5)?;
    scene.delete(&pool)?;
    scene.gets(&service, &[])?;
    scene.reason(&service, "no_pool")?;
    scene.silent(scene.v4(5))
}

pub(super) fn exhausted(scene: &Scene<'_>) -> Result<()> {
    scene.pool_v4(1, 2)?;
    let [a, b, c] = ["a", "b", "c"].map(|word| scene.service(word));
    for (service, last) in [(&a, 1), (&b, 2)] {
        scene.apply(service)?;
        scene.gets(service, &[scene.v4(last)])?;
    }
    scene.apply(&c)?;
    scene.reason(&c, "out_of_ips")?;
    scene.event(&c, "AllocationFailed")?;
    scene.pool_v4(1, 3)?;
    scene.gets(&c, &[scene.v4(3)])?;
    scene.answers(scene.v4(3)).map(drop)
}

pub(super) fn overlapping(scene: &Scene<'_>) -> Result<()> {
    let first = scene.pool_v4(1, 9)?;
    let service = live(scene, 5)?;
    // Ages are of whole seconds.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let second = scene.pool("second", &[(scene.v4(9), scene.v4(20))]);
    scene.apply(&second)?;
    scene.condition_is(&second, "PoolConflict", "True")?;
    scene.keeps(&service, &[scene.v4(5)])?;
    scene.condition_is(&first, "PoolConflict", "False")?;
    let second = scene.pool("second", &[(scene.v4(10), scene.v4(20))]);
    scene.apply(&second)?;
    scene.condition_is(&second, "PoolConflict", "False")
}

pub(super) fn selects_no_longer(scene: &Scene<'_>) -> Result<()> {
    let mut pool = scene.pool_v4(1, 9)?;
    let service = live(scene, 5)?;
    pool["spec"]["serviceSelector"] = json!({"matchLabels": {"scene": "another"}});
    scene.apply(&pool)?;
    scene.gets(&service, &[])?;
    let message = scene.reason(&service, "no_pool")?;
    ensure!(message.contains("spec.serviceSelector"), "{message}");
    scene.silent(scene.v4(5))
}

pub(super) fn selects_by_name_and_namespace(scene: &Scene<'_>) -> Result<()> {
    let mut pool = scene.pool("named", &[(scene.v4(1), scene.v4(9))]);
    pool["spec"]["serviceSelector"] = json!({"matchLabels": {
        "io.kubernetes.service.namespace": "default",
        "io.kubernetes.service.name": scene.name("chosen"),
    }});
    scene.apply(&pool)?;
    let (chosen, other) = (scene.service("chosen"), scene.service("other"));
    scene.apply(&other)?;
    scene.apply(&chosen)?;
    scene.gets(&chosen, &[scene.v4(1)])?;
    let message = scene.reason(&other, "no_pool")?;
    ensure!(message.contains("spec.serviceSelector"), "{message}");
    // One that asks for an address of that pool is told so.
    let asking = scene.annotated("other", "landfall.dev/ips", &scene.v4(5).to_string());
    scene.apply(&asking)?;
    scene.reason(&asking, "pool_selector_mismatch").map(drop)
}

pub(super) fn counts_what_is_left(scene: &Scene<'_>) -> Result<()> {
    let pool = scene.pool_v4(1, 4)?;
    live(scene, 2)?;
    let left = |wanted: &str| {
        scene.eventually("the pool's count", || {
            let condition = scene.condition_of(&pool, "IPsAvailable")?;
            ensure!(condition["message"] == wanted, "{condition}, not {wanted}");
            Ok(())
        })
    };
    left("3")?;
    scene.delete(&scene.service("live"))?;
    left("4")
}

pub(super) fn cilium_s_kind(scene: &Scene<'_>) -> Result<()> {
    let mut pool = scene.pool("cilium", &[(scene.v4(1), scene.v4(9))]);
    pool["apiVersion"] = json!("cilium.io/v2alpha1");
    pool["kind"] = json!("CiliumLoadBalancerIPPool");
    scene.apply(&pool)?;
    let service = scene.service("a");
    scene.apply(&service)?;
    scene.gets(&service, &[scene.v4(1)])?;
    scene.answers(scene.v4(1)).map(drop)
}

pub(super) fn first_and_last_are_reserved(scene: &Scene<'_>) -> Result<()> {
    let mut pool = scene.pool("block", &[]);
    pool["spec"]["blocks"] = json!([{"cidr": format!("{}/30", scene.v4(8))}]);
    pool["spec"]["allowFirstLastIPs"] = json!("No");
    scene.apply(&pool)?;
    let [a, b, c] = ["a", "b", "c"].map(|word| scene.service(word));
    for (service, last) in [(&a, 9), (&b, 10)] {
        scene.apply(service)?;
        scene.gets(service, &[scene.v4(last)])?;
    }
    scene.apply(&c)?;
    scene.reason(&c, "out_of_ips").map(drop)
}
