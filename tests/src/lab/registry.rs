//! What must be taken down, whatever happens: on drop and on panic by [`Registration`], on Ctrl-C
//! and SIGTERM by a thread that waits for them, and after a SIGKILL of the harness by the next
//! harness, which sweeps up the labs of dead ones.
//!
//! A lab owns two things on the machine: the control group `landfall-lab-ID` with every process
//! below it, and the directory `/run/landfall-lab/ID`. Namespaces, veths, mounts and programs are
//! held by descriptors only and end with those processes.

use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, IntoRawFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::sync::{Mutex, Once, PoisonError};
use std::thread;

use anyhow::{Context, Result};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

use super::cgroup::{self, Cgroup, PREFIX};

/// Where labs keep their files: a directory per lab, named by its id.
pub const BASE: &str = "/run/landfall-lab";

static LIVE: Mutex<Vec<Belongings>> = Mutex::new(Vec::new());
static NEXT: AtomicU32 = AtomicU32::new(0);
static WAKE: AtomicI32 = AtomicI32::new(-1);
static START: Once = Once::new();

/// What a lab owns on the machine.
#[derive(Debug, Clone)]
struct Belongings {
    id: String,
    cgroup: Cgroup,
    dir: PathBuf,
}

impl Belongings {
    /// Takes everything down that can be, and reports the first thing that could not.
    fn remove(&self) -> Result<()> {
        let processes = self.cgroup.destroy();
        let files = match fs::remove_dir_all(&self.dir) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                Err(e).with_context(|| self.dir.display().to_string())
            }
            _ => Ok(()),
        };
        processes.and(files)
    }
}

/// A lab's claim on its group and directory. Dropping it takes both down.
#[derive(Debug)]
pub struct Registration {
    belongings: Belongings,
}

impl Registration {
    /// Sweeps up what dead harnesses left, then makes a group and a directory for a new lab.
    ///
    /// # Errors
    /// When the machine refuses either (most often for want of root).
    pub fn new() -> Result<Self> {
        START.call_once(watch_signals);
        sweep().context("sweep up the labs of dead harnesses")?;
        let id = format!(
            "{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let dir = Path::new(BASE).join(&id);
        fs::create_dir_all(&dir).with_context(|| format!("make {}", dir.display()))?;
        let cgroup = Cgroup::below_root(&format!("{PREFIX}{id}"))?;
        let belongings = Belongings { id, cgroup, dir };
        lock().push(belongings.clone());
        Ok(Self { belongings })
    }

    /// The lab's id: the harness's process id and a number.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.belongings.id
    }

    /// The group that all processes of the lab are below.
    #[must_use]
    pub fn cgroup(&self) -> &Cgroup {
        &self.belongings.cgroup
    }

    /// The directory of the lab's files.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.belongings.dir
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        if let Err(e) = self.belongings.remove() {
            eprintln!(
                "lab {}: could not be taken down wholly: {e:#}",
                self.belongings.id
            );
        }
        lock().retain(|other| other.id != self.belongings.id);
    }
}

/// Takes down every lab whose harness is dead.
///
/// # Errors
/// When a group or directory of a dead harness cannot be removed.
pub fn sweep() -> Result<()> {
    let groups = cgroup::root()?;
    for (place, prefix) in [(groups.as_path(), PREFIX), (Path::new(BASE), "")] {
        let Ok(entries) = fs::read_dir(place) else {
            continue;
        };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(id) = name.strip_prefix(prefix) else {
                continue;
            };
            let harness = id
                .split_once('-')
                .and_then(|(pid, _)| pid.parse::<u32>().ok());
            let Some(harness) = harness else { continue };
            if Path::new("/proc").join(harness.to_string()).exists() {
                continue;
            }
            Belongings {
                id: id.to_owned(),
                cgroup: Cgroup::at(groups.join(format!("{PREFIX}{id}"))),
                dir: Path::new(BASE).join(id),
            }
            .remove()?;
        }
    }
    Ok(())
}

fn lock() -> std::sync::MutexGuard<'static, Vec<Belongings>> {
    LIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts the thread that takes labs down on Ctrl-C and SIGTERM and then ends the process.
fn watch_signals() {
    let (mut reader, writer) = io::pipe().expect("a pipe for signals");
    WAKE.store(writer.as_raw_fd(), Ordering::Release);
    // The write end lives as long as the process: the handler may run at any time.
    let _ = writer.into_raw_fd();
    let action = SigAction::new(
        SigHandler::Handler(on_signal),
        SaFlags::SA_RESTART,
        SigSet::empty(),
    );
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        // SAFETY: the handler only writes a byte to a pipe, which is async-signal-safe.
        unsafe { sigaction(signal, &action) }.expect("a handler for a catchable signal");
    }
    thread::spawn(move || {
        let mut signal = [0u8];
        if reader.read_exact(&mut signal).is_ok() {
            for belongings in lock().drain(..) {
                let _ = writeln!(io::stderr(), "lab {}: taking it down", belongings.id);
                if let Err(e) = belongings.remove() {
                    let _ = writeln!(io::stderr(), "lab {}: {e:#}", belongings.id);
                }
            }
            std::process::exit(128 + i32::from(signal[0]));
        }
    });
}

extern "C" fn on_signal(signal: libc::c_int) {
    let byte = signal.to_le_bytes();
    // SAFETY: the descriptor is the pipe's write end, open for the process's whole life; the
    // buffer is one live byte.
    unsafe { libc::write(WAKE.load(Ordering::Acquire), byte.as_ptr().cast(), 1) };
}
