//! Taking a server down when the test that started it was killed and can drop nothing.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::TestResult;

/// A shell that waits for us to end. The pipe to it closes however we end, SIGKILL included; it
/// then stops the server and deletes its directory.
#[derive(Debug)]
pub(crate) struct Watcher {
    shell: Child,
}

const SCRIPT: &str = r#"
read -r word && exit
kill -QUIT "$1"
tries=0
while kill -0 "$1" && [ $tries -lt 50 ]; do sleep 0.1; tries=$((tries + 1)); done
kill -KILL "$1"
rm -rf "$2"
"#;

impl Watcher {
    /// Guards the process `pid` that lives in `dir`.
    pub(crate) fn start(pid: u32, dir: &Path) -> TestResult<Watcher> {
        let shell = Command::new("sh")
            .args(["-c", SCRIPT, "sh"])
            .arg(pid.to_string())
            .arg(dir)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A test runner kills the group of a test that hangs.
            .process_group(0)
            .spawn()?;
        Ok(Watcher { shell })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        if let Some(mut pipe) = self.shell.stdin.take() {
            // A shell that has gone needs no word.
            let _ = writeln!(pipe, "done");
        }
        let _ = self.shell.wait();
    }
}
