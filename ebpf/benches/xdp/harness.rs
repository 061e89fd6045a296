//! The two entries, loaded beside the real data path, and their clock.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use aya::maps::{Array, MapData, ProgramArray};
use aya::programs::{TestRun as _, TestRunOptions, Xdp};
use aya::{Ebpf, Pod};
use landfall_ebpf::abi::flow::{Flow, FlowKey, Reply, ReplyKey};
use landfall_ebpf::abi::map;
use landfall_ebpf::counters::Counters;
use landfall_ebpf::loader::{Options, pinned_hash};

use self::course::{Course, FRAME_WORDS, SLOT_FLOOR, SLOT_MEASURED};
use crate::scenario::{Flows, Scenario, VIPS};
use crate::support::Bench;
use crate::support::frames::SYN;

#[path = "../../programs/bench/course.rs"]
#[expect(dead_code, reason = "the kernel's side takes the steps")]
mod course;

/// The harness's programs, as the build made them.
static OBJECT: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/landfall-ebpf-bench"));

/// Connections that are established before measuring, and begun in a round that fills tables.
const CONNECTIONS: u32 = 65_536;
/// Runs of one sample, where they leave nothing behind.
const RUNS: u32 = 4 * CONNECTIONS;
/// Odd, and without a pattern.
const STEP: u32 = 0x9e37_79b1;

const XDP_TX: u32 = 3;

// SAFETY: repr(C), whole words without padding.
unsafe impl Pod for Course {}

/// A scenario ready to be measured.
pub(crate) struct Harness {
    scenario: Scenario,
    bench: Bench,
    counters: Counters,
    entries: Ebpf,
    course: Array<MapData, Course>,
    /// Held for the programs in it: the kernel empties the array of a process that let go of it.
    _programs: ProgramArray<MapData>,
}

impl Harness {
    /// Loads everything and establishes the connections that the scenario wants.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn open(scenario: &Scenario) -> Result<Self> {
        let mut bench = Bench::with(Options::default());
        scenario.fill(&mut bench);
        let counters = Counters::take(&mut bench.loaded);
        let mut entries = Ebpf::load(OBJECT).context("the harness's object")?;
        for name in ["bench_floor", "bench_measured", "floor"] {
            xdp(&mut entries, name)?.load()?;
        }
        let mut programs: ProgramArray<MapData> = taken(&mut entries, "PROGRAMS")?.try_into()?;
        let floor = xdp(&mut entries, "floor")?.fd()?.try_clone()?;
        programs.set(SLOT_FLOOR, &floor, 0)?;
        let measured = bench.loaded.program_fd(map::PROGRAM_XDP_UPLINK)?;
        programs.set(SLOT_MEASURED, measured, 0)?;
        let course = taken(&mut entries, "COURSE")?.try_into()?;
        let mut harness = Self {
            scenario: *scenario,
            bench,
            counters,
            entries,
            course,
            _programs: programs,
        };
        if scenario.flows != Flows::New {
            harness.set_course(SYN, CONNECTIONS - 1)?;
            harness.run("bench_measured", CONNECTIONS)?;
        }
        harness.begin_course()?;
        Ok(harness)
    }

    /// Times both, floor first: nanoseconds of CPU time per run.
    ///
    /// # Errors
    /// The kernel's, or a run ended otherwise than the scenario says.
    pub(crate) fn round(&mut self) -> Result<(f64, f64)> {
        let runs = if self.scenario.fills_tables {
            self.empty_tables()?;
            self.begin_course()?;
            CONNECTIONS
        } else {
            RUNS
        };
        let (code, floor) = self.run("bench_floor", RUNS)?;
        ensure!(code == XDP_TX, "the floor returned {code}");
        let before = self.counted();
        let (code, time) = self.run("bench_measured", runs)?;
        ensure!(
            code == self.scenario.code,
            "{} returned {code} instead of {}: {:?}",
            self.scenario.name,
            self.scenario.code,
            self.counters.read()
        );
        if let (Some(before), Some(after)) = (before, self.counted()) {
            ensure!(
                after - before == u64::from(runs),
                "{}: {} of {runs} runs ended as they should: {:?}",
                self.scenario.name,
                after - before,
                self.counters.read()
            );
        }
        Ok((floor, time))
    }

    fn counted(&self) -> Option<u64> {
        self.scenario
            .counter
            .map(|counter| self.counters.get(counter))
    }

    fn begin_course(&mut self) -> Result<()> {
        let mask = match self.scenario.flows {
            Flows::Established => CONNECTIONS - 1,
            Flows::One => 0,
            Flows::New => u32::MAX,
        };
        self.set_course(self.scenario.flags(), mask)
    }

    fn set_course(&mut self, flags: u8, mask: u32) -> Result<()> {
        let frame = self.scenario.frame(flags);
        let mut words = [0; FRAME_WORDS];
        ensure!(frame.len() == FRAME_WORDS * 8, "a frame of 64 octets");
        for (word, octets) in words.iter_mut().zip(frame.chunks_exact(8)) {
            *word = u64::from_ne_bytes(octets.try_into()?);
        }
        let course = Course {
            frame: words,
            next: 0,
            step: STEP,
            mask,
            vips: VIPS,
        };
        Ok(self.course.set(0, course, 0)?)
    }

    /// Runs an entry; its last code, and the CPU time of a run. The kernel's own measurement is in whole nanoseconds.
    fn run(&mut self, entry: &str, runs: u32) -> Result<(u32, f64)> {
        let frame = [0; FRAME_WORDS * 8];
        let mut out = [0; FRAME_WORDS * 8];
        let mut options = TestRunOptions::new();
        options.data_in = Some(&frame);
        options.data_out = Some(&mut out);
        options.repeat = runs;
        let program = xdp(&mut self.entries, entry)?;
        let before = cpu_time();
        let result = program.test_run(options)?;
        let time = cpu_time() - before;
        Ok((
            result.return_value,
            time.as_secs_f64() * 1e9 / f64::from(runs),
        ))
    }

    fn empty_tables(&self) -> Result<()> {
        let bpffs = &self.bench.bpffs.path;
        let mut flows = pinned_hash::<FlowKey, Flow>(bpffs, map::FLOWS)?;
        for key in flows.keys().collect::<Result<Vec<_>, _>>()? {
            flows.remove(&key)?;
        }
        let mut replies = pinned_hash::<ReplyKey, Reply>(bpffs, map::REPLIES)?;
        for key in replies.keys().collect::<Result<Vec<_>, _>>()? {
            replies.remove(&key)?;
        }
        Ok(())
    }
}

fn xdp<'a>(object: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp> {
    let program = object
        .program_mut(name)
        .with_context(|| format!("program {name} of the harness"))?;
    Ok(program.try_into()?)
}

fn taken(object: &mut Ebpf, name: &str) -> Result<aya::maps::Map> {
    object
        .take_map(name)
        .with_context(|| format!("map {name} of the harness"))
}

/// CPU time of this thread: what others of the machine take does not count.
fn cpu_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid timespec.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(result, 0, "every kernel has the clock");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
