//! The commands that ask a running agent.

use std::path::Path;

use serde::de::DeserializeOwned;

use super::exit::Exit;
use super::format::Output;
use super::render;
use crate::api::client::{AskError, ask};
use crate::api::route;
use crate::api::snapshot::{
    Announcement, Frontend, HandOver, Lease, Pool, Service, Status, Timestamp,
};

/// `landfall status`.
pub(super) fn status(socket: &Path, output: &Output) -> anyhow::Result<Exit> {
    let status: Status = question(socket, route::STATUS)?;
    output.print(&status, render::status::screen)?;
    Ok(if status.healthy() {
        Exit::Done
    } else {
        Exit::NeedsPerson
    })
}

/// `landfall service list`.
pub(super) fn services(socket: &Path, output: &Output) -> anyhow::Result<Exit> {
    let frontends: Vec<Frontend> = question(socket, route::SERVICES)?;
    output.print(&frontends, |frontends, wide| {
        render::service::table(frontends, wide)
    })?;
    Ok(Exit::Done)
}

/// `landfall service describe`.
pub(super) fn service(socket: &Path, name: &str, output: &Output) -> anyhow::Result<Exit> {
    let (namespace, name) = name.split_once('/').unwrap_or(("default", name));
    let path = format!("{}{namespace}/{name}", route::SERVICE);
    // Whatever is typed goes into a URI.
    if !path.bytes().all(|b| b.is_ascii_graphic()) {
        anyhow::bail!("{name:?} is no name of a Service; write NAMESPACE/NAME");
    }
    let service: Service = question(socket, &path)?;
    output.print(&service, |service, wide| {
        render::service::description(service, Timestamp::now(), wide)
    })?;
    Ok(Exit::Done)
}

/// `landfall pool list`.
pub(super) fn pools(socket: &Path, output: &Output) -> anyhow::Result<Exit> {
    let pools: Vec<Pool> = question(socket, route::POOLS)?;
    output.print(&pools, |pools, _| render::pool::table(pools))?;
    Ok(Exit::Done)
}

/// `landfall lease list`.
pub(super) fn leases(socket: &Path, output: &Output) -> anyhow::Result<Exit> {
    let leases: Vec<Lease> = question(socket, route::LEASES)?;
    output.print(&leases, |leases, wide| {
        render::lease::table(leases, Timestamp::now(), wide)
    })?;
    Ok(Exit::Done)
}

/// `landfall l2 list`.
pub(super) fn announcements(socket: &Path, output: &Output) -> anyhow::Result<Exit> {
    let announced: Vec<Announcement> = question(socket, route::L2)?;
    output.print(&announced, |announced, _| {
        render::l2::table(announced, Timestamp::now())
    })?;
    Ok(Exit::Done)
}

/// `landfall l2 history`.
pub(super) fn history(socket: &Path, output: &Output) -> anyhow::Result<Exit> {
    let changes: Vec<HandOver> = question(socket, route::HISTORY)?;
    output.print(&changes, |changes, _| {
        render::history::table(changes, Timestamp::now())
    })?;
    Ok(Exit::Done)
}

pub(super) fn question<T: DeserializeOwned>(socket: &Path, path: &str) -> Result<T, anyhow::Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let answer: Result<T, AskError> = runtime.block_on(ask(socket, path));
    Ok(answer?)
}
