//! A way from one port to another on a machine, which can be made slow in one direction.
//!
//! Owns a thread that accepts, and three for each connection: one reads what goes out, one sends it
//! when it is due, one carries what comes back. They end with their connection, and the first when
//! the way is dropped.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::lab::host::Host;

/// How much is carried at once.
const CHUNK: usize = 64 * 1024;

/// Chunks that may be under way. A second's worth of them, when each is due 200 ms after it came:
/// more than the API server sends.
const UNDER_WAY: usize = 4096;

/// An open way. Dropping it closes the way to new connections.
#[derive(Debug)]
pub(super) struct Way {
    host: Host,
    entrance: (Ipv4Addr, u16),
    delay_us: Arc<AtomicU64>,
    closed: Arc<AtomicBool>,
    doorkeeper: Option<JoinHandle<()>>,
}

impl Way {
    /// A way on a machine from one of its addresses to another. It is not slow.
    pub(super) fn open(host: &Host, from: (Ipv4Addr, u16), to: (Ipv4Addr, u16)) -> Result<Self> {
        let listener = host.run(|| TcpListener::bind(from));
        let listener = listener.with_context(|| format!("listen at {from:?}"))?;
        let (delay_us, closed) = (
            Arc::new(AtomicU64::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let (delay, shut) = (Arc::clone(&delay_us), Arc::clone(&closed));
        let doorkeeper = host.spawn("way", move || {
            for inside in listener.incoming() {
                if shut.load(Ordering::Relaxed) {
                    return;
                }
                // Whoever finds the other side gone sees its own connection end, and comes again.
                if let Ok((inside, outside)) = inside.and_then(|inside| {
                    let outside = TcpStream::connect(to)?;
                    Ok((inside, outside))
                }) {
                    let _ = carry(inside, outside, &delay);
                }
            }
        });
        Ok(Self {
            host: host.clone(),
            entrance: from,
            delay_us,
            closed,
            doorkeeper: Some(doorkeeper),
        })
    }

    /// What goes out from now on arrives this much later; what comes back does not.
    pub(super) fn set_delay(&self, delay: Duration) {
        let us = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
        self.delay_us.store(us, Ordering::Relaxed);
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Relaxed);
        // Wakes the doorkeeper, who then sees that it is over.
        let _ = self.host.run(|| TcpStream::connect(self.entrance));
        if let Some(doorkeeper) = self.doorkeeper.take() {
            // It has nothing to say, and a panic of its was printed.
            let _ = doorkeeper.join();
        }
    }
}

fn carry(inside: TcpStream, outside: TcpStream, delay_us: &Arc<AtomicU64>) -> io::Result<()> {
    inside.set_nodelay(true)?;
    outside.set_nodelay(true)?;
    let (mut back_from, mut back_to) = (outside.try_clone()?, inside.try_clone()?);
    thread::spawn(move || {
        // Either end's fault ends the connection at both.
        let _ = io::copy(&mut back_from, &mut back_to);
        let _ = back_to.shutdown(Shutdown::Both);
    });
    let (to_sender, from_reader) = sync_channel::<(Instant, Vec<u8>)>(UNDER_WAY);
    let delay_us = Arc::clone(delay_us);
    let mut inside = inside;
    thread::spawn(move || {
        let mut chunk = vec![0; CHUNK];
        while let Ok(n @ 1..) = inside.read(&mut chunk) {
            let delay = Duration::from_micros(delay_us.load(Ordering::Relaxed));
            let due = Instant::now() + delay;
            if to_sender.send((due, chunk[..n].to_vec())).is_err() {
                return;
            }
        }
    });
    thread::spawn(move || send(&from_reader, outside));
    Ok(())
}

/// Sends chunks when they are due, in their order, until there are no more.
fn send(chunks: &Receiver<(Instant, Vec<u8>)>, mut outside: TcpStream) {
    for (due, chunk) in chunks {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if outside.write_all(&chunk).is_err() {
            break;
        }
    }
    // It may be closed already.
    let _ = outside.shutdown(Shutdown::Both);
}
