//! Running rsync, and watching how far it is.

use std::io::Read;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use skytools::daemon::Stop;
use tracing::debug;

use crate::Error;
use crate::progress::Progress;

/// "Some files vanished": what is dropped during a backup.
const VANISHED: i32 = 24;

/// Runs rsync to its end, or to ours.
///
/// # Errors
/// It fails in another way than by files that vanish.
pub(super) fn run(
    mut command: Command,
    what: &str,
    progress: Option<&Progress>,
    stop: &Stop,
) -> Result<(), Error> {
    match progress {
        // Plain numbers, and the sum over all files.
        Some(_) => command.args(["--info=progress2", "--no-human-readable"]),
        None => command.arg("--quiet"),
    };
    debug!(?command, "rsync");
    let failed = |problem: String| Error::Program {
        what: format!("rsync of {what}"),
        problem,
    };
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(format!("cannot run rsync: {error}")))?;
    let (said, complained) = (child.stdout.take(), child.stderr.take());
    let (status, complaints) = thread::scope(|scope| {
        if let Some(said) = said {
            scope.spawn(move || watch(said, progress));
        }
        let complaints = complained
            .map(|pipe| scope.spawn(move || std::io::read_to_string(pipe).unwrap_or_default()));
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break Some(status);
            }
            if stop.sleep(Duration::from_millis(50)) {
                // It may just have ended; either way it is gone after this.
                let _ = child.kill();
                child.wait()?;
                break None;
            }
        };
        let complaints = complaints.and_then(|thread| thread.join().ok());
        Ok::<_, Error>((status, complaints.unwrap_or_default()))
    })?;
    let Some(status) = status else {
        return Err(failed("interrupted".to_owned()));
    };
    match status.code() {
        Some(0) => Ok(()),
        Some(VANISHED) => {
            debug!(%complaints, "files vanished");
            Ok(())
        }
        _ => Err(failed(format!("{status}: {}", complaints.trim()))),
    }
}

/// Reads all that rsync says, and takes what it says of bytes as progress beside what was before.
fn watch(mut output: impl Read, progress: Option<&Progress>) {
    let before = progress.map_or(0, Progress::done);
    let mut block = [0; 4096];
    let mut line = Vec::new();
    while let Ok(read @ 1..) = output.read(&mut block) {
        for &byte in &block[..read] {
            match byte {
                // One line, written again and again.
                b'\r' | b'\n' => {
                    if let (Some(progress), Some(bytes)) = (progress, bytes_of(&line)) {
                        progress.reach(before + bytes);
                    }
                    line.clear();
                }
                byte => line.push(byte),
            }
        }
    }
}

/// `     33554432  12%   31.99MB/s    0:00:01 (xfr#3, to-chk=12/19)`
fn bytes_of(line: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(line).ok()?;
    let mut words = text.split_whitespace();
    let bytes = words.next()?.parse().ok()?;
    words.next()?.ends_with('%').then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::{bytes_of, watch};
    use crate::progress::Progress;

    #[test]
    fn what_rsync_says_is_added_to_what_was_before() {
        let progress = Progress::new("test", 1000);
        progress.reach(100);
        watch(
            &b"\r         10   1%    0.00kB/s\r        200  20%    1.00MB/s (xfr#1)\nother 5\n"[..],
            Some(&progress),
        );
        assert_eq!(progress.done(), 300);
        for other in ["", "12", "12 files", "x 3%"] {
            assert_eq!(bytes_of(other.as_bytes()), None, "{other}");
        }
    }
}
