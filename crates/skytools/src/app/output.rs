//! Results on stdout.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

/// Writes a result to stdout, as it is; `writeln!`-like callers end it with a newline themselves.
///
/// A reader that has seen enough (`pgqadm x.ini status | head -1`) is no error.
///
/// # Errors
/// Stdout cannot be written for another reason: the disk is full.
pub fn output(text: impl Display) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    let written = write!(stdout, "{text}").and_then(|()| stdout.flush());
    forgive_closed(written)
}

/// Writes a result to stdout as one JSON document.
///
/// # Errors
/// As [`output`].
pub fn output_json(value: &impl serde::Serialize) -> io::Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    output(text)
}

fn forgive_closed(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}
