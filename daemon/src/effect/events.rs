//! Events on Services, as `kubectl describe` shows them.
//!
//! In: the accounts of Services by `watch`, notices of the status task by `mpsc`, and what is needed to address them. What is
//! said of requests for addresses every node's chronicle knows, and the one that allocates tells it; what is said of announcing
//! only the node concerned knows. Out: Events by `kube::runtime::events`, from `landfall.dev/agent` on this node.
//!
//! A burst of fifty, then five in a second; what waits beyond a bound is dropped, the longest ago first, and counted. Nobody
//! waits for any of it. Cancelled, it drops what waits.

mod queue;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use landfall_core::model::{NodeName, ServiceName};
use landfall_core::plan::chronicle::Accounts;
use landfall_core::report::{Account, EventKind};
use metrics::counter;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use self::queue::Queue;
use super::status::Notice;
use crate::effect::{changed, sleep_until};
use crate::source::kubernetes_status::{LiveKey, LiveStatuses};
use crate::telemetry::metric;

/// Who reports.
const CONTROLLER: &str = "landfall.dev/agent";
/// Events that every node knows of: the allocator tells them.
const OF_ALLOCATOR: [&str; 2] = ["IPAllocated", "AllocationFailed"];
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(5);
/// How long nothing is sent after a failure.
const PAUSE: Duration = Duration::from_secs(1);
/// How telling one ended, as the metric has it.
const OUTCOMES: [&str; 4] = [WRITTEN, REFUSED, AWAY, DROPPED];
const WRITTEN: &str = "written";
const REFUSED: &str = "refused";
const AWAY: &str = "away";
const DROPPED: &str = "dropped";
/// Sentences whose repeats are counted in one Event.
const SERIES: usize = 512;
/// The API server's limits on an Event's note and on who reports, in bytes.
const NOTE_MOST: usize = 1024;
const INSTANCE_MOST: usize = 128;

/// What the task is told.
#[derive(Debug)]
pub struct Inputs {
    /// Events of Services, among other things.
    pub accounts: watch::Receiver<Accounts>,
    /// What else happened to Services.
    pub notices: mpsc::Receiver<Notice>,
    /// Which Services there are.
    pub live: watch::Receiver<LiveStatuses>,
    /// Whether this node allocates.
    pub allocating: watch::Receiver<bool>,
}

/// Tells events as `node` until cancelled.
pub async fn run(client: Client, node: NodeName, mut inputs: Inputs, cancel: CancellationToken) {
    let reporter = Reporter {
        controller: CONTROLLER.to_owned(),
        instance: Some(shortened(node.as_str(), INSTANCE_MOST).to_owned()),
    };
    for outcome in OUTCOMES {
        // There from the start, so that the first of a kind is an increase.
        note(outcome, 0);
    }
    let mut herald = Herald {
        client,
        reporter,
        queue: Queue::new(Instant::now()),
        known: Accounts::default(),
        told: None,
        series: BTreeMap::new(),
        troubled: false,
    };
    loop {
        herald.take_in(&mut inputs);
        let next = herald.queue.due(Instant::now());
        tokio::select! {
            () = cancel.cancelled() => return,
            () = changed(&mut inputs.accounts) => {}
            Some(notice) = inputs.notices.recv() => herald.queue.push(notice, Instant::now()),
            () = sleep_until(next) => {
                let send = herald.send(&inputs.live);
                if cancel.run_until_cancelled(send).await.is_none() {
                    return;
                }
            }
        }
    }
}

/// Tells events.
struct Herald {
    client: Client,
    reporter: Reporter,
    queue: Queue,
    known: Accounts,
    /// The serial of the last event that was taken in.
    told: Option<u64>,
    /// The last sentence of each kind about each Service, and the recorder that counts its repeats: one recorder for all
    /// would go by the reason alone, and count another sentence as the first one again.
    series: BTreeMap<(ServiceName, &'static str), (String, Recorder)>,
    troubled: bool,
}

impl Herald {
    /// Takes in the events that came since the last time.
    fn take_in(&mut self, inputs: &mut Inputs) {
        let accounts = Arc::clone(&inputs.accounts.borrow_and_update());
        if Arc::ptr_eq(&accounts, &self.known) {
            return;
        }
        let known = std::mem::replace(&mut self.known, Arc::clone(&accounts));
        let changed = accounts.iter().filter(|(name, account)| {
            let before = known.get(*name);
            before.is_none_or(|before| !Arc::ptr_eq(before, account))
        });
        let told = self.told;
        let news = |(name, account): (&ServiceName, &Arc<Account>)| {
            let events = account.events.iter();
            let news = events.filter(|event| told.is_none_or(|told| told < event.serial));
            let news = news.map(|event| (event.serial, name.clone(), event.clone()));
            news.collect::<Vec<_>>()
        };
        let mut news: Vec<_> = changed.flat_map(news).collect();
        news.sort_by_key(|(serial, ..)| *serial);
        self.told = news.last().map(|(serial, ..)| *serial).or(told);
        let allocating = *inputs.allocating.borrow_and_update();
        for (_, service, event) in news {
            if !allocating && OF_ALLOCATOR.contains(&event.reason) {
                continue;
            }
            let notice = Notice {
                service,
                kind: event.kind,
                reason: event.reason,
                message: event.message.to_string(),
            };
            self.queue.push(notice, Instant::now());
        }
    }

    /// Tells the next event.
    async fn send(&mut self, live: &watch::Receiver<LiveStatuses>) {
        let Some(notice) = self.queue.pop(Instant::now()) else {
            return;
        };
        let key = LiveKey {
            kind: "Service".into(),
            namespace: Arc::clone(&notice.service.namespace),
            name: Arc::clone(&notice.service.name),
        };
        let uid = live.borrow().get(&key).map(|status| status.uid.clone());
        let Some(uid) = uid else {
            // It is gone, and its events would be nobody's.
            return;
        };
        let about = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Service".to_owned()),
            namespace: Some(key.namespace.to_string()),
            name: Some(key.name.to_string()),
            uid: Some(uid),
            ..ObjectReference::default()
        };
        let event = Event {
            type_: match notice.kind {
                EventKind::Normal => EventType::Normal,
                EventKind::Warning => EventType::Warning,
            },
            reason: notice.reason.to_owned(),
            note: Some(shortened(&notice.message, NOTE_MOST).to_owned()),
            action: action(notice.reason).to_owned(),
            secondary: None,
        };
        let recorder = self.recorder(&notice);
        let published = tokio::time::timeout(ANSWER, recorder.publish(&event, &about)).await;
        let failure = match published {
            Ok(Ok(())) => {
                self.troubled = false;
                note(WRITTEN, 1);
                return;
            }
            // The server will not have this one, such as in a namespace that is being deleted.
            Ok(Err(kube::Error::Api(status)))
                if status.code < 500 && ![401, 429].contains(&status.code) =>
            {
                note(REFUSED, 1);
                debug!(service = %notice.service, reason = notice.reason, %status, "an event was refused");
                return;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {ANSWER:?}"),
        };
        note(AWAY, 1);
        if !std::mem::replace(&mut self.troubled, true) {
            warn!(error = failure, "events cannot be told; they wait");
        }
        self.queue.put_back(notice, Instant::now() + PAUSE);
    }

    /// The recorder of a sentence.
    fn recorder(&mut self, notice: &Notice) -> Recorder {
        let key = (notice.service.clone(), notice.reason);
        let known = self.series.get(&key);
        if let Some((_, recorder)) = known.filter(|(message, _)| *message == notice.message) {
            return recorder.clone();
        }
        if self.series.len() >= SERIES {
            self.series.pop_first();
        }
        let recorder = Recorder::new(self.client.clone(), self.reporter.clone());
        let entry = (notice.message.clone(), recorder.clone());
        self.series.insert(key, entry);
        recorder
    }
}

/// Counts how telling Events ended.
fn note(outcome: &'static str, count: u64) {
    counter!(metric::EVENT_WRITES.name, "outcome" => outcome).increment(count);
}

/// What was done, as Events have it.
fn action(reason: &str) -> &'static str {
    match reason {
        "IPAllocated" | "AllocationFailed" => "Allocate",
        "StatusNotWritten" => "WriteStatus",
        _ => "Announce",
    }
}

/// The beginning of `text`, at most so many bytes.
fn shortened(text: &str, most: usize) -> &str {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests;
