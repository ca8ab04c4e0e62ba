//! A file system of a few megabytes, to be filled.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::TestResult;

/// A mounted file system in memory; unmounted when dropped, or when the test is killed.
#[derive(Debug)]
pub struct SmallDisk {
    // Unmounted before the directory goes.
    keeper: Child,
    dir: TempDir,
    /// What runs the mount program as root.
    sudo: Option<&'static str>,
}

/// Waits for us to end, however we do.
const KEEPER: &str = r#"read -r word; exec "$@""#;

impl SmallDisk {
    /// Mounts one of so many megabytes, which everybody may write to. `None`, with the reason on stderr, where
    /// that is not allowed.
    ///
    /// # Errors
    /// There is no room for its directory.
    #[expect(
        clippy::print_stderr,
        reason = "a test that is skipped says why where tests say what they do"
    )]
    pub fn mount(megabytes: u32) -> TestResult<Option<SmallDisk>> {
        let dir = TempDir::new()?;
        let options = format!("size={megabytes}m,mode=0777");
        let mut refusals = Vec::new();
        for sudo in [None, Some("sudo")] {
            let mut command = as_root(sudo, "mount");
            command.args(["-t", "tmpfs", "-o", &options, "none"]);
            match command.arg(dir.path()).stdin(Stdio::null()).output() {
                Ok(output) if output.status.success() => {
                    let keeper = keep(sudo, dir.path())?;
                    return Ok(Some(SmallDisk { keeper, dir, sudo }));
                }
                Ok(output) => {
                    refusals.push(String::from_utf8_lossy(&output.stderr).trim().to_owned())
                }
                Err(error) => refusals.push(format!("{command:?}: {error}")),
            }
        }
        eprintln!(
            "skipped: cannot mount a small file system: {}",
            refusals.join("; ")
        );
        Ok(None)
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Gives it so many megabytes.
    ///
    /// # Errors
    /// It holds more.
    pub fn resize(&self, megabytes: u32) -> TestResult {
        let mut command = as_root(self.sudo, "mount");
        command.args(["-o", &format!("remount,size={megabytes}m")]);
        let output = command.arg(self.path()).stdin(Stdio::null()).output()?;
        match output.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned().into()),
        }
    }

    /// Takes all the room that is left.
    ///
    /// # Errors
    /// A file cannot be written for another reason than that.
    pub fn fill(&self) -> TestResult {
        let mut ballast = File::create(self.path().join("ballast"))?;
        // At last single pages, so that nothing is left.
        for size in [1 << 20, 4096] {
            let piece = vec![0; size];
            loop {
                match ballast.write_all(&piece) {
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    /// Gives back what [`SmallDisk::fill`] took.
    ///
    /// # Errors
    /// It took nothing.
    pub fn free(&self) -> TestResult {
        Ok(fs::remove_file(self.path().join("ballast"))?)
    }
}

fn as_root(sudo: Option<&str>, program: &str) -> Command {
    match sudo {
        None => Command::new(program),
        Some(sudo) => {
            let mut command = Command::new(sudo);
            command.args(["-n", program]);
            command
        }
    }
}

/// A shell that unmounts when the pipe to it closes.
fn keep(sudo: Option<&str>, dir: &Path) -> TestResult<Child> {
    let mut command = Command::new("sh");
    command.args(["-c", KEEPER, "sh"]);
    let umount = as_root(sudo, "umount");
    command.arg(umount.get_program()).args(umount.get_args());
    // A server may still have files open.
    Ok(command
        .arg("-l")
        .arg(dir)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()?)
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}
