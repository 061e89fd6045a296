//! A probing thread that is asked to stop, and is stopped when its owner is dropped.

use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::lab::host::Host;

/// Asked by a probing thread between two steps.
#[derive(Debug, Clone, Default)]
pub(super) struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    pub(super) fn is_raised(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    fn raise(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// A running probe that will give a `T`.
#[derive(Debug)]
pub(super) struct Task<T> {
    flag: StopFlag,
    thread: Option<JoinHandle<T>>,
}

impl<T: Send + 'static> Task<T> {
    pub(super) fn start(
        host: &Host,
        name: &str,
        work: impl FnOnce(StopFlag) -> T + Send + 'static,
    ) -> Self {
        let flag = StopFlag::default();
        let theirs = flag.clone();
        Self {
            flag,
            thread: Some(host.spawn(name, move || {
                before_others();
                work(theirs)
            })),
        }
    }
}

impl<T> Task<T> {
    /// Asks the thread to end and gives its record, or passes its panic on.
    pub(super) fn stop(mut self) -> T {
        self.flag.raise();
        let thread = self
            .thread
            .take()
            .expect("only stop and drop take the thread");
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.flag.raise();
        if let Some(thread) = self.thread.take() {
            // Dropped without being asked for its record: its panic is nobody's either.
            let _ = thread.join();
        }
    }
}

/// Gives the calling thread the core before ordinary processes: on a busy machine a prober that
/// waits for a core measures that wait. Probers tell by how much they were late all the same.
fn before_others() {
    // SAFETY: a plain system call with numbers; on Linux 0 is the calling thread. It fails only
    // where the harness may not do so, and then the thread stays as it is.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, -20) };
}

/// Waits until one of `sockets` can be read or `until` has come, and tells which can.
pub(super) fn readable<S: AsFd>(sockets: &[S], until: Instant) -> Vec<usize> {
    let mut polled: Vec<libc::pollfd> = sockets
        .iter()
        .map(|s| libc::pollfd {
            fd: s.as_fd().as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        })
        .collect();
    let wait = until
        .saturating_duration_since(Instant::now())
        .min(Duration::from_secs(1));
    let timeout = libc::timespec {
        tv_sec: wait.as_secs() as libc::time_t,
        tv_nsec: wait.subsec_nanos().into(),
    };
    // SAFETY: a live array of as many pollfds as told, a live timeout, no signal mask.
    let ready = unsafe {
        libc::ppoll(
            polled.as_mut_ptr(),
            polled.len() as libc::nfds_t,
            &raw const timeout,
            std::ptr::null(),
        )
    };
    if ready <= 0 {
        return Vec::new();
    }
    polled
        .iter()
        .enumerate()
        .filter(|(_, p)| p.revents != 0)
        .map(|(i, _)| i)
        .collect()
}
