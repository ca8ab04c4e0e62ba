//! The user that servers run as: PostgreSQL refuses to run as root.

use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::TestResult;

/// A user of the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl Owner {
    /// The caller, or for root the user `postgres`, or `nobody`.
    ///
    /// # Errors
    /// The caller is root, and there is neither.
    pub fn choose() -> TestResult<Owner> {
        let uid = rustix::process::geteuid();
        if !uid.is_root() {
            return Ok(Owner {
                uid: uid.as_raw(),
                gid: rustix::process::getegid().as_raw(),
            });
        }
        let users = fs::read_to_string("/etc/passwd")?;
        for name in ["postgres", "nobody"] {
            let Some(line) = users
                .lines()
                .find(|line| line.split(':').next() == Some(name))
            else {
                continue;
            };
            let fields: Vec<&str> = line.split(':').collect();
            if let [_, _, uid, gid, ..] = fields[..] {
                return Ok(Owner {
                    uid: uid.parse()?,
                    gid: gid.parse()?,
                });
            }
        }
        Err("running as root, and there is no user postgres or nobody to run the server as".into())
    }

    /// Name of the user.
    ///
    /// # Errors
    /// There is none.
    pub fn name(self) -> TestResult<String> {
        let uid = self.uid.to_string();
        let users = fs::read_to_string("/etc/passwd")?;
        let name = users.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            (fields.get(2) == Some(&uid.as_str())).then(|| fields[0].to_owned())
        });
        name.ok_or_else(|| format!("user {uid} has no name").into())
    }

    /// Has a command run as the user, from the top directory.
    pub fn apply(self, command: &mut Command) {
        self.run_as(command);
        command.current_dir("/");
    }

    /// Has a command run as the user.
    pub(crate) fn run_as(self, command: &mut Command) {
        if rustix::process::geteuid().is_root() {
            command.uid(self.uid).gid(self.gid);
        }
    }

    /// Gives a file or directory to the user.
    ///
    /// # Errors
    /// It cannot be given away.
    pub fn give(self, path: &Path) -> std::io::Result<()> {
        if rustix::process::geteuid().is_root() {
            chown(path, Some(self.uid), Some(self.gid))?;
        }
        Ok(())
    }
}
