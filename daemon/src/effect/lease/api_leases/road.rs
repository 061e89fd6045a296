//! The road back to the election: one queue for everything, so that what is told keeps the ledger's order.
//!
//! Channels: in, a bounded queue that tasks fill while they hold the ledger; out, [`StoreEvents`], by a thread of its
//! own, as that blocks while the election is busy. The thread ends when all tasks have, or the election has; while the
//! store is being dropped it waits for nobody, since the election may be the one that drops it.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::TrySendError;
use std::sync::{Arc, Mutex};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use tokio::sync::mpsc;

use super::ledger::Ledger;
use crate::effect::lease::store::{Closed, Input, StoreEvent, StoreEvents};

/// Events that wait for the election.
const QUEUE: usize = 1024;
/// How long the thread sleeps before it tries a full queue again.
const NAP: Duration = Duration::from_millis(1);

/// The near end: what is known, and the way to tell of it.
#[derive(Clone, Debug)]
pub(super) struct Road {
    ledger: Arc<Mutex<Ledger>>,
    events: mpsc::Sender<StoreEvent>,
}

impl Road {
    /// Starts the thread.
    ///
    /// # Errors
    /// It cannot be started.
    pub(super) fn start(
        events: StoreEvents,
        stop: Arc<AtomicBool>,
    ) -> io::Result<(Self, JoinHandle<()>)> {
        let (sender, waiting) = mpsc::channel(QUEUE);
        let thread = Builder::new().name("lease-events".into());
        let thread = thread.spawn(move || carry(waiting, &events, &stop))?;
        let ledger = Arc::default();
        let events = sender;
        Ok((Self { ledger, events }, thread))
    }

    /// Looks at what is known.
    pub(super) fn know<T>(&self, look: impl FnOnce(&mut Ledger) -> T) -> T {
        look(&mut self.ledger.lock().expect("no holder panics"))
    }

    /// Changes what is known, and tells of it before anybody else can change it again.
    ///
    /// # Errors
    /// The election has ended.
    pub(super) async fn tell(
        &self,
        change: impl FnOnce(&mut Ledger) -> Option<StoreEvent>,
    ) -> Result<(), Closed> {
        let place = self.events.reserve().await.map_err(|_| Closed)?;
        let mut ledger = self.ledger.lock().expect("no holder panics");
        if let Some(event) = change(&mut ledger) {
            place.send(event);
        }
        Ok(())
    }
}

fn carry(mut waiting: mpsc::Receiver<StoreEvent>, events: &StoreEvents, stop: &AtomicBool) {
    while let Some(event) = waiting.blocking_recv() {
        let mut input = Input::Store(event);
        loop {
            input = match events.0.try_send(input) {
                Ok(()) => break,
                Err(TrySendError::Full(_)) if stop.load(Ordering::Relaxed) => break,
                Err(TrySendError::Full(input)) => input,
                Err(TrySendError::Disconnected(_)) => return,
            };
            std::thread::sleep(NAP);
        }
    }
}
