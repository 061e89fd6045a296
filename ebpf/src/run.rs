//! BPF_PROG_TEST_RUN: the real programs on a frame given, as tests and benchmarks use them.

use std::time::Duration;

use aya::programs::{Program, ProgramError, TestRun as _, TestRunOptions};

use crate::loader::Loaded;

/// What a run gave.
#[derive(Debug)]
pub struct RunResult {
    /// The program's return code.
    pub code: u32,
    /// The frame it left.
    pub frame: Vec<u8>,
    /// Time of one run, averaged over all repeats, as the kernel measured it.
    pub duration: Duration,
}

impl Loaded {
    /// Runs a program `repeat` times on `frame`. A frame changed by one run is what the next one gets, so only programs that
    /// leave it alone, or give it back as it was, can be repeated.
    ///
    /// # Errors
    /// The kernel's.
    pub fn test_run(
        &mut self,
        program: &str,
        frame: &[u8],
        repeat: u32,
    ) -> Result<RunResult, ProgramError> {
        let mut out = vec![0; frame.len() + 256];
        let mut options = TestRunOptions::new();
        options.data_in = Some(frame);
        options.data_out = Some(&mut out);
        options.repeat = repeat;
        let result = match self
            .ebpf
            .program_mut(program)
            .expect("a program of the object")
        {
            Program::Xdp(xdp) => xdp.test_run(options),
            Program::SchedClassifier(classifier) => classifier.test_run(options),
            other => unreachable!("{other:?} cannot be run on frames"),
        }?;
        let len = result.data_size_out as usize;
        out.truncate(len);
        Ok(RunResult {
            code: result.return_value,
            frame: out,
            duration: result.duration,
        })
    }
}
