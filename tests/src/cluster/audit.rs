//! What the agents asked of the API server, as the server's audit log tells: who, what, and whether
//! it was allowed.
//!
//! Source: the kind Event of audit.k8s.io/v1.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

/// A request as a role names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Call {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verb: String,
    /// The API group; the core group's name is empty.
    pub group: String,
    /// The plural, with its subresource after a slash; a path where it is no resource.
    pub resource: String,
    /// The namespace, if any.
    pub namespace: String,
    /// The object's name, if the request names one.
    pub name: String,
}

impl Call {
    /// Verb and resource, for tables.
    #[must_use]
    pub fn kind(&self) -> String {
        format!("{} {}", self.verb, self.resource)
    }

    /// Whether it changes something.
    #[must_use]
    pub fn is_write(&self) -> bool {
        !matches!(self.verb.as_str(), "get" | "list" | "watch")
    }
}

/// A request that was made.
#[derive(Debug, Clone)]
pub struct Asked {
    /// From where.
    pub from: IpAddr,
    /// What.
    pub call: Call,
    /// The status code of the answer.
    pub code: u16,
    /// The id that the server gave it.
    pub id: String,
}

/// Requests in the order in which they were answered, or in which a watch began.
#[derive(Debug, Clone, Default)]
pub struct Audit {
    /// Each of them.
    pub asked: Vec<Asked>,
}

impl Audit {
    pub(super) fn read(log: &Path) -> Result<Self> {
        // The API server makes the file with its first entry.
        if !log.exists() {
            return Ok(Self::default());
        }
        let text = fs::read_to_string(log).with_context(|| log.display().to_string())?;
        Self::parse(&text)
    }

    fn parse(text: &str) -> Result<Self> {
        let mut audit = Self::default();
        // A watch has an entry when it begins and another when it ends.
        let mut known = BTreeSet::new();
        let complete = text.rfind('\n').map_or("", |end| &text[..end]);
        for line in complete.lines() {
            let event: Event = serde_json::from_str(line).with_context(|| line.to_owned())?;
            if known.insert(event.id.clone()) {
                audit.asked.push(event.asked()?);
            }
        }
        Ok(audit)
    }

    /// What was asked after an earlier reading.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let known: BTreeSet<&String> = earlier.asked.iter().map(|asked| &asked.id).collect();
        let new = self.asked.iter().filter(|asked| !known.contains(&asked.id));
        Self {
            asked: new.cloned().collect(),
        }
    }

    /// How many requests came from an address.
    #[must_use]
    pub fn count_from(&self, address: IpAddr) -> usize {
        let here = self.asked.iter().filter(|asked| asked.from == address);
        here.count()
    }

    /// How many requests there were of each verb and resource, the most first.
    #[must_use]
    pub fn by_kind(&self) -> Vec<(String, usize)> {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for asked in &self.asked {
            *counts.entry(asked.call.kind()).or_default() += 1;
        }
        let mut counts: Vec<(String, usize)> = counts.into_iter().collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        counts
    }

    /// The writes to a resource, named with its subresource.
    pub fn writes<'a>(&'a self, resource: &'a str) -> impl Iterator<Item = &'a Asked> {
        let of = move |asked: &&Asked| asked.call.is_write() && asked.call.resource == resource;
        self.asked.iter().filter(of)
    }
}

/// A line of the log.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    #[serde(rename = "auditID")]
    id: String,
    verb: String,
    #[serde(rename = "requestURI")]
    request_uri: String,
    #[serde(rename = "sourceIPs")]
    source_ips: Vec<IpAddr>,
    #[serde(default)]
    object_ref: Option<ObjectRef>,
    #[serde(default)]
    response_status: ResponseStatus,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct ObjectRef {
    resource: String,
    namespace: String,
    name: String,
    api_group: String,
    subresource: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ResponseStatus {
    code: u16,
}

impl Event {
    fn asked(self) -> Result<Asked> {
        let path = self.request_uri.split('?').next().unwrap_or_default();
        let object = self.object_ref.unwrap_or_else(|| ObjectRef {
            resource: path.to_owned(),
            ..ObjectRef::default()
        });
        let resource = if object.subresource.is_empty() {
            object.resource
        } else {
            format!("{}/{}", object.resource, object.subresource)
        };
        Ok(Asked {
            from: *self.source_ips.first().context("a request from nowhere")?,
            call: Call {
                verb: self.verb,
                group: object.api_group,
                resource,
                namespace: object.namespace,
                name: object.name,
            },
            code: self.response_status.code,
            id: self.id,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_counts_once_and_a_torn_line_not_at_all() {
        let event = |stage: &str, id: &str| {
            format!(
                r#"{{"auditID":"{id}","stage":"{stage}","verb":"watch","requestURI":"/api/v1/services?watch=1",
                "sourceIPs":["10.10.200.11"],"objectRef":{{"resource":"services","apiVersion":"v1"}},
                "responseStatus":{{"metadata":{{}},"code":200}}}}"#
            )
            .replace('\n', "")
        };
        let began = event("ResponseStarted", "a");
        let ended = event("ResponseComplete", "a");
        let first = Audit::parse(&format!("{began}\n")).unwrap();
        let text = format!(
            "{began}\n{ended}\n{}\n{{\"audit",
            event("ResponseStarted", "b")
        );
        let audit = Audit::parse(&text).unwrap();
        assert_eq!(audit.by_kind(), [("watch services".to_owned(), 2)]);
        assert_eq!(audit.count_from("10.10.200.11".parse().unwrap()), 2);
        assert_eq!(audit.since(&first).asked.len(), 1);
        assert_eq!(audit.writes("services").count(), 0);
    }
}
