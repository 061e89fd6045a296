//! A sealed file that follows something: a thread takes in the news and writes, as a disk may take its time.
//!
//! It writes at most once each second, and rests ten times as long as the last write took. Fed by [`Keeper::keep`]; ends when
//! the keeper is dropped, with what is left written.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::Serialize;
use tracing::{error, info};

use super::StateFile;

/// The least pause between two writes.
const PAUSE: Duration = Duration::from_secs(1);

/// What the file holds.
pub trait Kept: Serialize + Send + 'static {
    /// What changes it.
    type News: Send + 'static;

    /// Takes in news. Tells whether anything has changed by them.
    fn take(&mut self, news: Self::News) -> bool;
}

/// Keeps one file.
#[derive(Debug)]
pub struct Keeper<N> {
    shared: Arc<Shared<N>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared<N> {
    state: Mutex<State<N>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<N> {
    /// News that nobody has taken in yet.
    pending: Vec<N>,
    ended: bool,
}

impl<N: Send + 'static> Keeper<N> {
    /// Keeps `kept` in `file`, sealed as of `layout`. Nothing is written before there are news. A thread that cannot be had is
    /// told in the log; then nothing is kept.
    pub fn start<K: Kept<News = N>>(file: StateFile, layout: u32, kept: K) -> Self {
        let state = State {
            pending: Vec::new(),
            ended: false,
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            changed: Condvar::new(),
        });
        let writer = Writer {
            file,
            layout,
            kept,
            shared: Arc::clone(&shared),
        };
        let thread = std::thread::Builder::new().name("landfall-keeper".into());
        let thread = thread.spawn(move || writer.run());
        let thread = thread.inspect_err(|error| error!(%error, "nothing is remembered"));
        Self {
            shared,
            thread: thread.ok(),
        }
    }

    /// Takes in news.
    pub fn keep(&self, news: N) {
        if self.thread.is_some() {
            self.shared.lock().pending.push(news);
            self.shared.changed.notify_one();
        }
    }
}

impl<N> Drop for Keeper<N> {
    fn drop(&mut self) {
        self.shared.lock().ended = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so already.
            let _ = thread.join();
        }
    }
}

impl<N> Shared<N> {
    fn lock(&self) -> MutexGuard<'_, State<N>> {
        // Whoever panicked left the list as it was or with the news in it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Writer<K: Kept> {
    file: StateFile,
    layout: u32,
    kept: K,
    shared: Arc<Shared<K::News>>,
}

impl<K: Kept> Writer<K> {
    fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let (mut pause, mut troubled) = (Duration::ZERO, false);
        loop {
            let rests = |state: &mut State<_>| !state.ended;
            let rested = shared
                .changed
                .wait_timeout_while(shared.lock(), pause, rests);
            let (rested, _) = rested.unwrap_or_else(PoisonError::into_inner);
            let idles = |state: &mut State<_>| !state.ended && state.pending.is_empty();
            let waited = shared.changed.wait_while(rested, idles);
            let mut state = waited.unwrap_or_else(PoisonError::into_inner);
            let (news, ended) = (std::mem::take(&mut state.pending), state.ended);
            drop(state);
            let mut changed = troubled;
            for news in news {
                changed |= self.kept.take(news);
            }
            if changed {
                let begun = Instant::now();
                let stored = self.file.seal(self.layout, &self.kept);
                self.tell(stored.err(), &mut troubled);
                pause = PAUSE.max(begun.elapsed() * 10);
            }
            if ended {
                return;
            }
        }
    }

    fn tell(&self, error: Option<io::Error>, troubled: &mut bool) {
        let file = self.file.path();
        match &error {
            Some(error) if !*troubled => {
                error!(%error, file = %file.display(), "a copy cannot be kept; make state.dir writable");
            }
            None if *troubled => info!(file = %file.display(), "a copy is kept again"),
            _ => {}
        }
        *troubled = error.is_some();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, Serialize, serde::Deserialize, PartialEq)]
    struct Sum(u32);

    impl Kept for Sum {
        type News = u32;

        fn take(&mut self, news: u32) -> bool {
            self.0 += news;
            news != 0
        }
    }

    #[test]
    fn what_was_told_before_the_end_is_on_disk_after_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = StateFile::new(dir.path(), "sum.json");
        let keeper = Keeper::start(file.clone(), 3, Sum::default());
        for news in 1..=100 {
            keeper.keep(news);
        }
        drop(keeper);
        assert_eq!(file.unseal(3).expect("whole"), Some(Sum(5050)));
    }

    #[test]
    fn news_that_change_nothing_write_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = StateFile::new(dir.path(), "sum.json");
        let keeper = Keeper::start(file.clone(), 3, Sum::default());
        keeper.keep(0);
        drop(keeper);
        assert_eq!(file.unseal::<Sum>(3).expect("readable"), None);
    }
}
