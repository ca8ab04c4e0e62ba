//! Commands that show how something is doing: once, or again and again.

use std::io::{self, IsTerminal};
use std::time::Duration;

use tracing::error;

use super::{chain, output, output_more};
use crate::daemon::Stop;

/// Clears a terminal and goes to its first line.
const CLEAR: &str = "\x1b[H\x1b[2J\x1b[3J";

/// Options of such a command.
#[derive(Debug, clap::Args)]
pub struct Watch {
    /// Exit with code 3 if something is wrong
    #[arg(long)]
    pub check: bool,
    /// Show it again every so many seconds, until interrupted
    #[arg(
        long,
        value_name = "SECONDS",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "2",
        value_parser = seconds_of
    )]
    watch: Option<Duration>,
}

/// Reads a pause that is one.
fn seconds_of(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(pause) if pause >= Duration::from_millis(100) => Ok(pause),
        _ => Err("not a number of seconds, 0.1 or more".to_owned()),
    }
}

impl Watch {
    /// Shows what `look` tells: a text, or one JSON document at a time, and whether all is well. Answers
    /// whether it was at the end. With `--watch` a failure to look is logged, and counts as not well: it
    /// may be over the next time. `unwritten` makes an error of one of stdout.
    ///
    /// # Errors
    /// `look` failed without `--watch`, or stdout cannot be written.
    pub fn show<E>(
        &self,
        stop: &Stop,
        is_json: bool,
        mut look: impl FnMut() -> Result<(String, bool), E>,
        unwritten: impl Fn(io::Error) -> E,
    ) -> Result<bool, E>
    where
        E: std::error::Error,
    {
        let Some(pause) = self.watch else {
            let (text, is_well) = look()?;
            output(text).map_err(unwritten)?;
            return Ok(is_well);
        };
        let is_terminal = io::stdout().is_terminal() && !is_json;
        let mut separator = "";
        loop {
            let is_well = match look() {
                Ok((text, is_well)) => {
                    let before = if is_terminal { CLEAR } else { separator };
                    separator = if is_json { "" } else { "\n" };
                    let shown = output_more(format_args!("{before}{text}"));
                    if !shown.map_err(&unwritten)? {
                        return Ok(is_well);
                    }
                    is_well
                }
                Err(error) => {
                    error!("{}", chain(&error));
                    false
                }
            };
            if stop.sleep(pause) {
                return Ok(is_well);
            }
        }
    }
}
