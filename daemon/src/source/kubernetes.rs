//! The Kubernetes API as a source.
//!
//! Watches Services, EndpointSlices, Nodes, and pools and policies of both groups (`docs/decisions/0009`). Every object goes
//! the same road as one from a file: a wrong one is complained about under its path in the API, and its last good state stays
//! in force. While the server is away everything stays as it is.
//!
//! What was read last is kept in the state directory. Where not every kind could be read within a second of the start, that
//! stands in for the rest, and ends with `Change::Recalled`.
//!
//! Channels: sends [`Batch`]es to the reconciler, in order; `Change::Synced` ends the one by which every kind has been read.
//! Publishes [`SourceState`] on `watch`. Within, a task for each kind sends its news to the one that keeps the objects, and a
//! task for each group of custom kinds looks for their definitions. Cancelled, all end at once, and what is left of the copy
//! is written.

mod copy;
mod discovery;
mod failure;
mod feed;
mod kind;
mod object;
mod operator;
mod shelf;
mod state;
mod trim;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use landfall_core::model::{Change, SourceId};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use self::kind::WatchedKind;
pub use self::state::{Content, KindState, SourceState, Trouble};

use self::copy::{Copied, Copy};
use self::discovery::{Discovery, Served};
use self::failure::Failure;
use self::feed::{Feed, Ground, News, Word};
use self::operator::Operator;
use self::shelf::Shelf;
use self::state::Ledger;
use super::kubernetes_status::LiveBoard;
use super::{Batch, ClassPolicy};

/// How long the server may take at the start before what is remembered stands in for it.
const PATIENCE: Duration = Duration::from_secs(1);
/// News that wait to be taken in: what a server can tell while a plan is made.
const NEWS: usize = 256;
/// News taken in before a batch is sent regardless.
const BURST: usize = 256;

/// What to follow, and how.
#[derive(Clone)]
pub struct KubernetesSettings {
    /// The way to the API server.
    pub client: Client,
    /// The API server's address, which tells its copy from another one's.
    pub server: String,
    /// Where this node keeps a copy of what it has read.
    pub state: PathBuf,
    /// Which LoadBalancer Services are ours, and whether Cilium's kinds are read.
    pub class: ClassPolicy,
    /// Where to put the status of each object.
    pub live: LiveBoard,
}

/// Follows the API server until cancelled or until nobody receives any more.
pub async fn run(
    settings: KubernetesSettings,
    batches: mpsc::Sender<Batch>,
    state: watch::Sender<SourceState>,
    cancel: CancellationToken,
) {
    let begun = Instant::now();
    let KubernetesSettings {
        client,
        server,
        state: directory,
        class,
        live,
    } = settings;
    let ledger = Ledger::new(server.clone(), state, WatchedKind::all(class.cilium));
    let (news, inbox) = mpsc::channel(NEWS);
    let (tasks, ending) = (TaskTracker::new(), cancel.child_token());
    start((&client, &live), class, &news, &tasks, &ending);
    drop(news);

    // The disk may take its time; the server is being asked meanwhile.
    let loaded = tokio::task::spawn_blocking(move || remembered(&directory, &server, class)).await;
    // It fails only where the runtime is shutting down.
    if let Ok((shelf, copy, remembers)) = loaded {
        let task = Task {
            shelf,
            copy: &copy,
            ledger,
            inbox,
            batches,
            synced: false,
        };
        let recall = remembers.then_some(begun + PATIENCE);
        let _stopped = cancel.run_until_cancelled(task.run(recall)).await;
        ending.cancel();
        // What is left is written now.
        let _written = tokio::task::spawn_blocking(move || drop(copy)).await;
    }
    ending.cancel();
    tasks.close();
    tasks.wait().await;
}

/// The objects that this node remembers of a server, none of them acted on yet, and whether there was a copy.
fn remembered(
    directory: &std::path::Path,
    server: &str,
    class: ClassPolicy,
) -> (Shelf, Copy, bool) {
    let (copy, found) = Copy::load(directory, server);
    let remembers = found.is_some();
    let mut shelf = Shelf::new(class);
    let wanted = |kind: WatchedKind| class.cilium || !kind.is_cilium();
    for (kind, seen) in found
        .into_iter()
        .flatten()
        .filter(|(kind, _)| wanted(*kind))
    {
        shelf.put(kind, seen);
    }
    (shelf, copy, remembers)
}

/// Starts a task for each kind, and one for each group of custom kinds.
fn start(
    (client, live): (&Client, &LiveBoard),
    class: ClassPolicy,
    news: &mpsc::Sender<News>,
    tasks: &TaskTracker,
    ending: &CancellationToken,
) {
    let feed = |kind| Feed {
        client: client.clone(),
        kind,
        news: news.clone(),
        live: live.clone(),
    };
    for kind in WatchedKind::BUILT_IN {
        let (feed, ending) = (feed(kind), ending.clone());
        tasks.spawn(async move { ending.run_until_cancelled(feed.run()).await });
    }
    let twins = Some(WatchedKind::CILIUM).filter(|_| class.cilium);
    for kinds in [Some(WatchedKind::OWN), twins].into_iter().flatten() {
        let (served, seen) = watch::channel(Served::default());
        let asked = Arc::new(Notify::new());
        // Landfall's own kinds are nobody else's.
        let (running, theirs) = watch::channel(Some(false));
        if kinds[0].is_cilium() {
            running.send_replace(None);
            let operator = Operator {
                client: client.clone(),
                served: seen.clone(),
                running: running.clone(),
            };
            let ending = ending.clone();
            tasks.spawn(async move { ending.run_until_cancelled(operator.run()).await });
        }
        for kind in kinds {
            let ground = Ground {
                served: seen.clone(),
                asked: Arc::clone(&asked),
                theirs: theirs.clone(),
            };
            let (feed, ending) = (feed(kind), ending.clone());
            tasks.spawn(async move { ending.run_until_cancelled(feed.run_custom(ground)).await });
        }
        let client = client.clone();
        let discovery = Discovery {
            client,
            kinds,
            served,
            asked,
        };
        let ending = ending.clone();
        tasks.spawn(async move { ending.run_until_cancelled(discovery.run()).await });
    }
}

/// Keeps the objects.
struct Task<'a> {
    shelf: Shelf,
    copy: &'a Copy,
    ledger: Ledger,
    inbox: mpsc::Receiver<News>,
    batches: mpsc::Sender<Batch>,
    synced: bool,
}

impl Task<'_> {
    async fn run(mut self, mut recall: Option<Instant>) {
        loop {
            let at = recall.filter(|_| !self.synced);
            let batch = tokio::select! {
                biased;
                news = self.inbox.recv() => match news {
                    Some(news) => self.take(news),
                    None => return,
                },
                () = sleep_until(at.unwrap_or_else(Instant::now)), if at.is_some() => {
                    recall = None;
                    self.recall()
                }
            };
            if !batch.is_empty() && self.batches.send(batch).await.is_err() {
                return;
            }
        }
    }

    /// Takes in news and whatever waits behind them, as one step.
    fn take(&mut self, first: News) -> Batch {
        self.note(first);
        for _ in 1..BURST {
            match self.inbox.try_recv() {
                Ok(news) => self.note(news),
                Err(_) => break,
            }
        }
        let mut batch = self.shelf.settle();
        let news = self.shelf.news();
        self.ledger.count(|kind| self.shelf.count(kind));
        if self.synced {
            if !news.is_empty() {
                self.copy.keep(Copied::Changed(news));
            }
        } else if self.ledger.is_synced() {
            self.synced = true;
            self.copy.keep(Copied::Whole(self.shelf.texts()));
            batch.push(Change::Synced(SourceId::Kubernetes));
        }
        batch
    }

    fn note(&mut self, news: News) {
        let News { kind, word } = news;
        match word {
            Word::Whole(objects) => {
                self.shelf.replace(kind, objects);
                self.ledger.content(kind, Content::Synced);
            }
            Word::Applied(seen) => self.shelf.put(kind, seen),
            Word::Gone(place) => self.shelf.remove(kind, place),
            Word::Absent { confirmed } if confirmed || self.shelf.is_empty(kind) => {
                self.shelf.absent(kind);
                self.ledger.content(kind, Content::Missing);
            }
            Word::Absent { .. } => {
                let failure = Failure::plain("the server does not know the kind any more");
                self.ledger.trouble(kind, failure);
            }
            Word::LeftAlone => {
                self.shelf.replace(kind, Vec::new());
                self.ledger.content(kind, Content::LeftAlone);
            }
            Word::Well => self.ledger.well(kind),
            Word::Trouble(failure) => self.ledger.trouble(kind, failure),
        }
    }

    /// Acts on what is remembered of the kinds that were not read in time.
    fn recall(&mut self) -> Batch {
        self.ledger.recalled();
        self.ledger.count(|kind| self.shelf.count(kind));
        for kind in WatchedKind::all(true) {
            self.shelf.open(kind);
        }
        let mut batch = self.shelf.settle();
        batch.push(Change::Recalled(SourceId::Kubernetes));
        batch
    }
}

#[cfg(test)]
mod tests;
