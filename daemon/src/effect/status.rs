//! Status: what Services, pools and policies say of themselves in the API.
//!
//! In, by `watch`: the plan, the accounts of Services, whether this node allocates, and the status of every object as the source
//! sees it. Out: server-side applies by the field manager `landfall-status`, never forced; a [`StatusReport`] by `watch`; and
//! [`Notice`]s for the task of events.
//!
//! Only the node that allocates writes, and only what is not there already: an agent that starts finds its words and writes
//! nothing. A few writes at a time, addresses first, the latest wish for each object. What may pass by itself, as while VIPs
//! move, is written once it has lasted. Where the server cannot be reached one object asks for all, each second at least. What
//! another manager says otherwise is left alone and told.
//!
//! Cancelled, it drops the writes under way, which the server may or may not have done.

mod apply;
mod difference;
mod ground;
mod progress;
mod wish;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use kube::Client;
use landfall_core::model::{ObjectError, ObjectRef, ServiceName, Severity};
use landfall_core::plan::Plan;
use landfall_core::plan::chronicle::Accounts;
use landfall_core::report::EventKind;
use metrics::counter;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use self::apply::Outcome;
use self::progress::{Due, Progress};
use self::wish::Wishes;
use crate::effect::{changed, sleep_until};
use crate::source::kubernetes_status::{LiveKey, LiveStatuses};
use crate::telemetry::metric;

/// Writes under way at a time.
const FLIGHTS: usize = 8;
/// Looks are at least so far apart: a burst of changes is one.
const BREATH: Duration = Duration::from_millis(50);
/// How long nothing is written after a failure: at first, and where it stays.
const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(1));
/// Where complaints of this task come from.
const ORIGIN: &str = "status";

/// What the task is told.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// The plan.
    pub plan: watch::Receiver<Arc<Plan>>,
    /// Conditions of Services.
    pub accounts: watch::Receiver<Accounts>,
    /// What objects say now.
    pub live: watch::Receiver<LiveStatuses>,
    /// Whether this node allocates, and so writes.
    pub allocating: watch::Receiver<bool>,
}

/// Something that happened to a Service and is not in the chronicle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The Service.
    pub service: ServiceName,
    /// Whether it is in the course of things.
    pub kind: EventKind,
    /// A word for programs.
    pub reason: &'static str,
    /// A sentence for a person.
    pub message: String,
}

/// How writing goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatusReport {
    /// Applies that the server has done.
    pub written: u64,
    /// Applies that failed.
    pub failed: u64,
    /// Objects that wait to be written.
    pub waiting: usize,
    /// Objects whose status cannot be written, and what to do.
    pub complaints: Arc<Vec<ObjectError>>,
}

/// The task's state.
pub struct StatusTask {
    client: Client,
    notices: mpsc::Sender<Notice>,
    reports: watch::Sender<StatusReport>,
    report: StatusReport,
    wishes: Wishes,
    live: LiveStatuses,
    /// What is known of objects besides; of most, nothing.
    progress: BTreeMap<LiveKey, Progress>,
    queue: VecDeque<LiveKey>,
    flights: JoinSet<(LiveKey, u64, Outcome)>,
    /// Why each of these is not written.
    hindered: BTreeMap<LiveKey, String>,
    paused: Option<(Instant, Duration)>,
    /// When something is due that no news tells of.
    due: Option<Instant>,
    basis: Option<Basis>,
}

/// What wishes follow from; most plans differ in other things.
#[derive(Debug)]
struct Basis {
    plan: Arc<Plan>,
    accounts: Accounts,
    live: LiveStatuses,
    writing: bool,
}

impl Basis {
    fn of(inputs: &mut Inputs) -> Self {
        let plan = Arc::clone(&inputs.plan.borrow_and_update());
        let allocating = *inputs.allocating.borrow_and_update();
        Self {
            writing: allocating && plan.complete && plan.recalled.is_empty(),
            plan,
            accounts: Arc::clone(&inputs.accounts.borrow_and_update()),
            live: Arc::clone(&inputs.live.borrow_and_update()),
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        self.writing == other.writing
            && Arc::ptr_eq(&self.accounts, &other.accounts)
            && Arc::ptr_eq(&self.live, &other.live)
            && Arc::ptr_eq(
                &self.plan.addresses.services,
                &other.plan.addresses.services,
            )
            && Arc::ptr_eq(&self.plan.addresses.pools, &other.plan.addresses.pools)
            && Arc::ptr_eq(&self.plan.errors, &other.plan.errors)
    }
}

impl StatusTask {
    /// A task that has written nothing, and how it goes. Without a place in `notices` one is dropped.
    #[must_use]
    pub fn new(
        client: Client,
        notices: mpsc::Sender<Notice>,
    ) -> (Self, watch::Receiver<StatusReport>) {
        for outcome in Outcome::ALL {
            // There from the start, so that the first of a kind is an increase.
            counter!(metric::STATUS_WRITES.name, "outcome" => outcome).increment(0);
        }
        let (reports, seen) = watch::channel(StatusReport::default());
        let task = Self {
            client,
            notices,
            reports,
            report: StatusReport::default(),
            wishes: Wishes::new(),
            live: LiveStatuses::default(),
            progress: BTreeMap::new(),
            queue: VecDeque::new(),
            flights: JoinSet::new(),
            hindered: BTreeMap::new(),
            paused: None,
            due: None,
            basis: None,
        };
        (task, seen)
    }

    /// Runs until cancelled.
    pub async fn run(mut self, mut inputs: Inputs, cancel: CancellationToken) {
        let (mut dirty, mut next) = (true, Instant::now());
        loop {
            if dirty && Instant::now() >= next {
                self.look(&mut inputs);
                dirty = false;
                next = Instant::now() + BREATH;
            }
            self.launch();
            self.tell();
            let paused = self.paused.map(|(until, _)| until);
            let paused = paused.filter(|_| !self.queue.is_empty() && self.flights.is_empty());
            let wake = [dirty.then_some(next), self.due, paused];
            let wake = wake.into_iter().flatten().min();
            tokio::select! {
                () = cancel.cancelled() => return,
                () = changed(&mut inputs.plan) => dirty = true,
                () = changed(&mut inputs.accounts) => dirty = true,
                () = changed(&mut inputs.live) => dirty = true,
                () = changed(&mut inputs.allocating) => dirty = true,
                Some(landed) = self.flights.join_next() => match landed {
                    Ok((key, revision, outcome)) => self.land(key, revision, outcome),
                    Err(error) => error!(%error, "a write of status ended"),
                },
                () = sleep_until(wake) => dirty |= self.due.is_some_and(|due| due <= Instant::now()),
            }
        }
    }

    /// Takes in all that is known, and finds what is to be written.
    fn look(&mut self, inputs: &mut Inputs) {
        let basis = Basis::of(inputs);
        let due = self.due.is_some_and(|due| due <= Instant::now());
        if !due && self.basis.as_ref().is_some_and(|it| it.is_same(&basis)) {
            return;
        }
        self.live = Arc::clone(&basis.live);
        let (plan, accounts) = (Arc::clone(&basis.plan), Arc::clone(&basis.accounts));
        let writing = basis.writing;
        self.basis = Some(basis);
        self.queue.clear();
        self.due = None;
        if !writing {
            // Another node's doings would be taken for what was left here.
            self.wishes.clear();
            self.progress.clear();
            self.hindered.clear();
            self.paused = None;
            return;
        }
        self.wishes = wish::wishes(&plan, &accounts, &self.live);
        let wished = |key: &LiveKey| self.wishes.contains_key(key);
        self.progress
            .retain(|key, progress| progress.in_flight || wished(key));
        self.hindered.retain(|key, _| wished(key));
        let keys: Vec<LiveKey> = self.wishes.keys().cloned().collect();
        let mut later = Vec::new();
        for key in keys {
            match self.examine(&key) {
                Due::Now { addresses: true } => self.queue.push_back(key),
                Due::Now { addresses: false } => later.push(key),
                Due::At(_) | Due::Never => {}
            }
        }
        self.queue.extend(later);
    }

    /// Whether one object is to be written now; if later, remembers when.
    fn examine(&mut self, key: &LiveKey) -> Due {
        let (Some(wish), Some(live)) = (self.wishes.get(key), self.live.get(key)) else {
            return Due::Never;
        };
        let mut progress = self.progress.remove(key).unwrap_or_default();
        let (due, foreign) = progress.examine(key, wish, live, (Instant::now(), SystemTime::now()));
        if foreign {
            self.hinder(key, "another controller wrote its addresses".to_owned());
        } else if !progress.is_refused() {
            self.hindered.remove(key);
        }
        if let Due::At(at) = due {
            self.due = Some(self.due.map_or(at, |known| known.min(at)));
        }
        if !progress.is_nothing() {
            self.progress.insert(key.clone(), progress);
        }
        due
    }

    /// Begins writes, as many as may be under way.
    fn launch(&mut self) {
        if self.paused.is_some_and(|(until, _)| until > Instant::now()) {
            return;
        }
        let most = if self.paused.is_some() { 1 } else { FLIGHTS };
        while self.flights.len() < most {
            let Some(key) = self.queue.pop_front() else {
                return;
            };
            // What was found may be of an hour ago.
            if !matches!(self.examine(&key), Due::Now { .. }) {
                continue;
            }
            let progress = self.progress.entry(key.clone()).or_default();
            let Some(flight) = progress.take_off() else {
                continue;
            };
            let client = self.client.clone();
            self.flights.spawn(async move {
                let (api_version, application) = (&flight.api_version, &flight.application);
                let outcome = apply::apply(client, &key, api_version, application).await;
                (key, flight.revision, outcome)
            });
        }
    }

    /// Takes in how a write ended that was made from the status at `revision`.
    fn land(&mut self, key: LiveKey, revision: u64, outcome: Outcome) {
        counter!(metric::STATUS_WRITES.name, "outcome" => outcome.as_str()).increment(1);
        let now = Instant::now();
        let paced = *key.kind != *"Service";
        let progress = self.progress.entry(key.clone()).or_default();
        progress.in_flight = false;
        match outcome {
            Outcome::Written(status) => {
                progress.written(status, paced.then_some(now));
                self.report.written += 1;
                if self.paused.take().is_some() {
                    info!("status can be written again");
                }
            }
            Outcome::Gone => progress.refused(revision, self.wishes.get(&key), now),
            Outcome::Conflict(why) | Outcome::Refused(why) => {
                progress.refused(revision, self.wishes.get(&key), now);
                self.report.failed += 1;
                self.hinder(&key, why);
            }
            Outcome::Away(error) => {
                self.report.failed += 1;
                let wait = self.paused.map_or(PAUSE.0, |(_, wait)| wait * 2);
                let wait = wait.min(PAUSE.1);
                if self.paused.replace((now + wait, wait)).is_none() {
                    warn!(
                        error,
                        "status cannot be written; it is tried again each second"
                    );
                }
            }
        }
        match self.examine(&key) {
            Due::Now { addresses: true } => self.queue.push_front(key),
            Due::Now { addresses: false } => self.queue.push_back(key),
            Due::At(_) | Due::Never => {}
        }
    }

    /// Tells once why an object is not written.
    fn hinder(&mut self, key: &LiveKey, why: String) {
        if self.hindered.get(key) == Some(&why) {
            return;
        }
        warn!(kind = %key.kind, namespace = %key.namespace, name = %key.name, why, "a status is not written");
        if *key.kind == *"Service" && !self.hindered.contains_key(key) {
            let notice = Notice {
                service: ServiceName {
                    namespace: Arc::clone(&key.namespace),
                    name: Arc::clone(&key.name),
                },
                kind: EventKind::Warning,
                reason: "StatusNotWritten",
                message: format!("its status is left as it is: {why}"),
            };
            // Nobody waits for it, and the complaint says it too.
            let _ = self.notices.try_send(notice);
        }
        self.hindered.insert(key.clone(), why);
    }

    fn tell(&mut self) {
        let complaints: Vec<ObjectError> = self.hindered.iter().map(complaint).collect();
        if *self.report.complaints != complaints {
            self.report.complaints = Arc::new(complaints);
        }
        self.report.waiting = self.queue.len() + self.flights.len();
        self.reports.send_if_modified(|told| {
            let news = *told != self.report;
            if news {
                told.clone_from(&self.report);
            }
            news
        });
    }
}

fn complaint((key, why): (&LiveKey, &String)) -> ObjectError {
    let name = match &*key.namespace {
        "" => key.name.to_string(),
        namespace => format!("{namespace}/{}", key.name),
    };
    ObjectError {
        origin: ORIGIN.to_owned(),
        object: ObjectRef {
            kind: key.kind.to_string(),
            name,
        },
        field: "status".to_owned(),
        problem: format!("it is not written: {why}"),
        remedy: "have one controller alone write it: clear the status, or give the Service the class of the one that shall".to_owned(),
        severity: Severity::Warning,
    }
}

#[cfg(test)]
mod tests;
