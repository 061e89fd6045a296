//! Follows one kind: lists it whole, then watches it from there, and so on for good.
//!
//! A watch that ends goes on where it was; what the server no longer remembers (410 Gone) is listed anew. Lists come in pages
//! of 500. Every request has a time-out, as a server that is frozen keeps its connections; a watch is given up when it has
//! been silent for longer than it was asked to last. The client notices by itself that a connection is dead.
//!
//! Channels: sends [`News`] in the order of the server, and looks at what [`super::discovery`] publishes. Cancelled by being
//! dropped: it holds nothing. Ends when nobody wants its news any more.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use kube::Client;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::core::{ObjectList, Request};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, sleep, timeout};

use super::discovery::Served;
use super::failure::{Failure, LATE};
use super::kind::WatchedKind;
use super::object::{Arrived, Place, Seen};
use crate::pause::{Pause, chance};
use crate::source::kubernetes_status::LiveBoard;

/// Objects in a page of a list.
const PAGE: u32 = 500;
/// How long a page, or the beginning of a watch, may take; twice as long after each that came too late.
const ANSWER: Duration = Duration::from_secs(4);
/// The longest that is.
const SLOW: Duration = Duration::from_secs(32);
/// How long a watch lasts, in seconds: at least, and by chance at most so much longer, so that not all begin anew at once.
const WATCH: (u32, f64) = (240, 50.0);
/// For how long a watch may be silent beyond that.
const OVERDUE: Duration = Duration::from_secs(10);
/// An error that a watch begins with has come by then.
const PROOF: Duration = Duration::from_millis(250);
/// A watch that lasted so long was no failure.
const LASTING: Duration = Duration::from_secs(5);
/// What was there is gone only when it was looked for twice, so far apart.
const CONFIRMED: Duration = Duration::from_secs(3);

/// What a feed has to tell.
#[derive(Debug)]
pub(super) struct News {
    pub(super) kind: WatchedKind,
    pub(super) word: Word,
}

/// What became of a kind or of one of its objects.
#[derive(Debug)]
pub(super) enum Word {
    /// All objects that there are.
    Whole(Vec<Seen>),
    /// One came or changed.
    Applied(Seen),
    /// One is gone.
    Gone(Place),
    /// The server does not know the kind.
    Absent {
        /// Not for some seconds.
        confirmed: bool,
    },
    /// Somebody else's operator looks after the kind.
    LeftAlone,
    /// The kind can be read.
    Well,
    /// The kind cannot be read at present.
    Trouble(Failure),
}

/// What following a custom kind depends on.
#[derive(Clone)]
pub(super) struct Ground {
    /// The versions that the server has.
    pub(super) served: watch::Receiver<Served>,
    /// Has the server be asked for them again.
    pub(super) asked: Arc<Notify>,
    /// Whether somebody else's operator looks after the kind; nothing as long as that is not known.
    pub(super) theirs: watch::Receiver<Option<bool>>,
}

/// Follows one kind.
#[derive(Clone)]
pub(super) struct Feed {
    pub(super) client: Client,
    pub(super) kind: WatchedKind,
    pub(super) news: mpsc::Sender<News>,
    pub(super) live: LiveBoard,
}

/// Why following ended.
enum End {
    /// The server does not know the kind.
    Unknown,
    /// Nobody listens.
    Unheard,
}

/// How a watch ended.
struct Ended {
    /// The state of the cluster it came to; nothing where that is too old.
    from: Option<String>,
    failure: Option<Failure>,
}

impl Feed {
    /// Follows a kind that every server has.
    pub(super) async fn run(self) {
        // It ends only when nobody listens: the kind is never unknown.
        let _end = self.follow(self.kind.version()).await;
    }

    /// Follows a custom kind, whenever it is there and nobody else's.
    pub(super) async fn run_custom(self, ground: Ground) {
        let Ground {
            mut served,
            asked,
            mut theirs,
        } = ground;
        let mut pause = Pause::new();
        let mut absent: Option<Instant> = None;
        let mut looks = 0;
        loop {
            let seen = match served.wait_for(|served| served.looks > looks).await {
                Ok(seen) => seen.clone(),
                Err(_) => return,
            };
            looks = seen.looks;
            let word = match (seen.failure, seen.versions.get(&self.kind)) {
                (Some(failure), _) => Word::Trouble(failure),
                (None, None) => {
                    self.live.replace(self.kind.name(), []);
                    let since = *absent.get_or_insert_with(Instant::now);
                    Word::Absent {
                        confirmed: since.elapsed() >= CONFIRMED,
                    }
                }
                (None, Some(version)) => {
                    absent = None;
                    let known = theirs.wait_for(Option::is_some).await;
                    let Some(left_alone) = known.ok().and_then(|known| *known) else {
                        return;
                    };
                    let changed = theirs.wait_for(|now| *now == Some(!left_alone));
                    if left_alone {
                        if self.tell(Word::LeftAlone).await.is_err() || changed.await.is_err() {
                            return;
                        }
                    } else {
                        tokio::select! {
                            end = self.follow(version) => if let End::Unheard = end {
                                return;
                            },
                            // A verdict that never changes ends nothing.
                            Ok(_) = changed => {}
                        }
                        sleep(pause.take()).await;
                    }
                    looks = served.borrow().looks;
                    asked.notify_one();
                    continue;
                }
            };
            if self.tell(word).await.is_err() {
                return;
            }
        }
    }

    async fn follow(&self, version: &str) -> End {
        let request = Request::new(self.kind.collection(version));
        let mut pause = Pause::new();
        let mut patience = ANSWER;
        let mut from: Option<String> = None;
        loop {
            let begun = Instant::now();
            let failure = match from.take() {
                None => match self.list(&request, version, patience).await {
                    Ok((objects, listed)) => {
                        if self.tell(Word::Whole(objects)).await.is_err() {
                            return End::Unheard;
                        }
                        from = Some(listed);
                        patience = ANSWER;
                        continue;
                    }
                    Err(failure) => Some(failure),
                },
                Some(at) => match self.watch(&request, version, at, patience).await {
                    Ok(ended) => {
                        from = ended.from;
                        ended.failure
                    }
                    Err(end) => return end,
                },
            };
            if begun.elapsed() >= LASTING {
                pause.reset();
            }
            if let Some(failure) = failure {
                if failure.is_unknown() && self.kind.is_custom() {
                    return End::Unknown;
                }
                if failure.is_late() {
                    patience = SLOW.min(patience * 2);
                }
                if failure.is_expired() {
                    from = None;
                } else if self.tell(Word::Trouble(failure)).await.is_err() {
                    return End::Unheard;
                }
            }
            sleep(pause.take()).await;
        }
    }

    /// All objects, and the state of the cluster they are from.
    async fn list(
        &self,
        request: &Request,
        version: &str,
        patience: Duration,
    ) -> Result<(Vec<Seen>, String), Failure> {
        let mut params = ListParams::default().limit(PAGE);
        params.label_selector = self.kind.labels().map(str::to_owned);
        let (mut objects, mut live) = (Vec::new(), Vec::new());
        loop {
            let page = request.list(&params);
            let page = page.map_err(kube::Error::BuildRequest);
            let page = page.map_err(Failure::of)?;
            let page = timeout(patience, self.client.request::<ObjectList<Arrived>>(page)).await;
            let page = page
                .map_err(|_| Failure::plain(LATE))?
                .map_err(Failure::of)?;
            let kind = self.kind;
            for object in page.items {
                if kind.has_status() {
                    live.push(object.live(kind, version));
                }
                objects.push(object.seen(kind, version));
            }
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params.continue_token = Some(token),
                None => {
                    if kind.has_status() {
                        self.live.replace(kind.name(), live);
                    }
                    let at = page.metadata.resource_version.unwrap_or_default();
                    return Ok((objects, at));
                }
            }
        }
    }

    /// Tells what happens to the objects from the state `at` on.
    async fn watch(
        &self,
        request: &Request,
        version: &str,
        mut at: String,
        patience: Duration,
    ) -> Result<Ended, End> {
        let seconds = WATCH.0 + (WATCH.1 * chance()) as u32;
        let mut params = WatchParams::default().timeout(seconds);
        params.label_selector = self.kind.labels().map(str::to_owned);
        let failed = |at: String, failure: Failure| {
            Ok(Ended {
                from: Some(at),
                failure: Some(failure),
            })
        };
        let asked = match request.watch(&params, &at) {
            Ok(asked) => asked,
            Err(error) => return failed(at, Failure::of(kube::Error::BuildRequest(error))),
        };
        let begun = timeout(patience, self.client.request_events::<Arrived>(asked)).await;
        let events = match begun {
            Ok(Ok(events)) => events,
            Ok(Err(error)) => return failed(at, Failure::of(error)),
            Err(_) => return failed(at, Failure::plain(LATE)),
        };
        let mut events = pin!(events);
        let silence = Duration::from_secs(seconds.into()) + OVERDUE;
        let mut proven = false;
        loop {
            let patience = if proven { silence } else { PROOF };
            let event = match timeout(patience, events.next()).await {
                Ok(Some(Ok(event))) => event,
                Ok(Some(Err(error))) => {
                    let failure = Failure::of(error);
                    let from = Some(at).filter(|_| !failure.is_unreadable());
                    let failure = Some(failure);
                    return Ok(Ended { from, failure });
                }
                Ok(None) => {
                    return Ok(Ended {
                        from: Some(at),
                        failure: None,
                    });
                }
                Err(_) if proven => return failed(at, Failure::plain(LATE)),
                Err(_) => {
                    proven = true;
                    self.tell(Word::Well).await?;
                    continue;
                }
            };
            let word = match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    at.clone_from(&object.version);
                    if self.kind.has_status() {
                        let (key, status) = object.live(self.kind, version);
                        self.live.put(key, status);
                    }
                    Word::Applied(object.seen(self.kind, version))
                }
                WatchEvent::Deleted(object) => {
                    at.clone_from(&object.version);
                    if self.kind.has_status() {
                        let (key, _) = object.live(self.kind, version);
                        self.live.remove(&key);
                    }
                    Word::Gone(object.place())
                }
                WatchEvent::Bookmark(bookmark) => {
                    at = bookmark.metadata.resource_version;
                    Word::Well
                }
                WatchEvent::Error(status) => {
                    let failure = Failure::of(kube::Error::Api(status));
                    return failed(at, failure);
                }
            };
            if !proven && !matches!(word, Word::Well) {
                proven = true;
                self.tell(Word::Well).await?;
            }
            self.tell(word).await?;
        }
    }

    async fn tell(&self, word: Word) -> Result<(), End> {
        let news = News {
            kind: self.kind,
            word,
        };
        self.news.send(news).await.map_err(|_| End::Unheard)
    }
}
