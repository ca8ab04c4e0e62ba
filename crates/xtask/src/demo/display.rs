//! What the demo shows: bars on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Pause between plain lines of progress.
const PLAIN_PERIOD: Duration = Duration::from_secs(2);

/// The demo's output.
#[derive(Debug)]
pub(super) struct Display {
    start: Instant,
    terminal: bool,
}

impl Display {
    pub(super) fn new() -> Display {
        Display {
            start: Instant::now(),
            terminal: std::io::stderr().is_terminal(),
        }
    }

    /// Time since the start.
    pub(super) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Opens a new part of the story.
    pub(super) fn chapter(&self, title: &str) {
        println!("\n[{:5.1} s] {title}", self.elapsed().as_secs_f64());
    }

    /// A line of its own.
    pub(super) fn line(&self, text: &str) {
        println!("          {text}");
    }

    /// Shows progress towards `goal`, or for as long as it takes if there is none.
    pub(super) fn progress(&self, goal: Option<u64>) -> Progress {
        let bar = self.terminal.then(|| {
            let template = match goal {
                Some(_) => "          [{bar:30}] {pos}/{len} {wide_msg}",
                None => "          {spinner} {wide_msg}",
            };
            let style = ProgressStyle::with_template(template)
                .expect("the templates above are well-formed");
            let bar = match goal {
                Some(goal) => ProgressBar::new(goal),
                None => ProgressBar::new_spinner(),
            };
            bar.with_style(style)
        });
        Progress {
            bar,
            goal,
            last_line: None,
            shown: String::new(),
        }
    }
}

/// Something under way.
#[derive(Debug)]
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    goal: Option<u64>,
    last_line: Option<Instant>,
    shown: String,
}

impl Progress {
    /// Shows where it stands.
    pub(super) fn show(&mut self, position: u64, message: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(message.to_owned());
            match self.goal {
                Some(_) => bar.set_position(position),
                None => bar.tick(),
            }
            return;
        }
        let text = match self.goal {
            Some(goal) => format!("{position}/{goal} {message}"),
            None => message.to_owned(),
        };
        let due = self
            .last_line
            .is_none_or(|last| last.elapsed() >= PLAIN_PERIOD);
        if due && text != self.shown {
            println!("          {text}");
            self.last_line = Some(Instant::now());
            self.shown = text;
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
