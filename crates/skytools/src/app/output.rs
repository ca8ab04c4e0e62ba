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
    output_more(text).map(|_| ())
}

/// Writes one of many results to stdout, as [`output`] does; false if nobody reads it any more.
///
/// # Errors
/// As [`output`].
pub fn output_more(text: impl Display) -> io::Result<bool> {
    let mut stdout = io::stdout().lock();
    match write!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        written => written.map(|()| true),
    }
}

/// Writes a result to stdout as one JSON document.
///
/// # Errors
/// As [`output`].
pub fn output_json(value: &impl serde::Serialize) -> io::Result<()> {
    output(json(value)?)
}

/// A result as the text of one JSON document.
///
/// # Errors
/// The value cannot be shown in JSON: a map whose keys are no text.
pub fn json(value: &impl serde::Serialize) -> io::Result<String> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    Ok(text)
}
