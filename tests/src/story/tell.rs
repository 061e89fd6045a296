//! Readable narration, with colour where there is a terminal.

use std::io::{IsTerminal, stdout};

/// A person's terminal, or a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Narrator {
    colour: bool,
    step: u32,
}

impl Narrator {
    pub(super) fn new() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self {
            colour: wanted && stdout().is_terminal(),
            step: 0,
        }
    }

    /// A new chapter.
    pub(super) fn chapter(&mut self, title: &str) {
        self.step += 1;
        println!(
            "\n{}",
            self.paint("1;36", &format!("{}. {title}", self.step))
        );
    }

    /// What happens, in a sentence.
    pub(super) fn say(self, text: &str) {
        println!("   {text}");
    }

    /// A command and what it printed.
    pub(super) fn ran(self, command: &str, output: &str) {
        println!("   {} {}", self.paint("2", "$"), self.paint("1", command));
        for line in output.trim_end().lines() {
            println!("     {line}");
        }
    }

    /// Something that is as it should be.
    pub(super) fn good(self, text: &str) {
        println!("   {} {text}", self.paint("32", "✓"));
    }

    /// Something that needs attention.
    pub(super) fn bad(self, text: &str) {
        println!("   {} {text}", self.paint("1;31", "✗"));
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colour {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}
