//! Whether a process is the one that a pidfile means.
//!
//! Ids are used again: soon in a container, where there are few, and after a reboot. What `pidfile`
//! cannot tell by the age of the process is told here by what it is, as far as `/proc` shows it.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::process::Pid;
use skytools::pidfile::lock_path;

use crate::account::Account;
use crate::job::Job;
use crate::service::program_of;

/// What speaks for or against a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is the job, as far as one can see.
    Job,
    /// It is something else; why.
    Other(String),
}

/// A process that may be a job.
#[derive(Debug)]
pub(crate) struct Suspect {
    pid: Pid,
    /// Effective user.
    uid: u32,
    /// Command line; empty if the process has none, as those of the kernel.
    args: Vec<OsString>,
    directory: Option<PathBuf>,
}

impl Suspect {
    /// `None` if nothing can be learned: the process has ended, or the system shows none.
    pub(crate) fn read(pid: Pid) -> Option<Suspect> {
        let place = PathBuf::from(format!("/proc/{pid}"));
        let status = fs::read_to_string(place.join("status")).ok()?;
        let uids = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
        let uid = uids.split_whitespace().nth(1)?.parse().ok()?;
        let line = fs::read(place.join("cmdline")).ok()?;
        let args = line.split(|byte| *byte == 0);
        let args = args.filter(|arg| !arg.is_empty());
        Some(Suspect {
            pid,
            uid,
            args: args.map(|arg| OsString::from_vec(arg.to_vec())).collect(),
            directory: fs::read_link(place.join("cwd")).ok(),
        })
    }

    /// Whether it runs as a user.
    pub(crate) fn is_of(&self, account: &Account) -> bool {
        self.uid == account.uid
    }

    /// Judges whether it is `job`, whose pidfile is `path`; `configs` are the names of all jobs' files.
    pub(crate) fn judge(&self, job: &Job, path: &Path, configs: &HashSet<Box<OsStr>>) -> Verdict {
        if let Some(account) = &job.service.account
            && !self.is_of(account)
        {
            return Verdict::Other(format!("it is not of user {}", account.name));
        }
        // Who is not root stays who they are. What root wrote may be of a process that was root then.
        let writer = fs::metadata(path).map_or(0, |file| file.uid());
        if writer != 0 && self.uid != 0 && writer != self.uid {
            return Verdict::Other("it is not of the user who wrote the file".to_owned());
        }
        let lock = lock_path(path);
        if holds(self.pid, &lock) {
            return Verdict::Job;
        }
        let files = self.files(configs);
        if files
            .iter()
            .any(|name| Some(*name) == job.config.file_name())
        {
            return Verdict::Job;
        }
        if let Some(other) = files.first() {
            return Verdict::Other(format!("it is that of {}", other.display()));
        }
        let is_job = match job.service.is_own {
            // It would have shown one of the above.
            true => false,
            false => self.is_named_for(job) || self.is_at(&job.service.cwd),
        };
        match is_job {
            true => Verdict::Job,
            false => {
                let shown: String = self.command().chars().take(100).collect();
                Verdict::Other(format!("it is `{shown}`"))
            }
        }
    }

    /// Those of the `configs` that its command line names.
    fn files(&self, configs: &HashSet<Box<OsStr>>) -> Vec<&OsStr> {
        let config = |text| {
            let name = Path::new(text).file_name();
            name.filter(|name| configs.contains(*name))
        };
        // The name of a file may have blanks, and so has the title of a process.
        let of_arg = |arg| match config(arg) {
            Some(name) => vec![name],
            None => words(arg).filter_map(config).collect(),
        };
        self.args
            .iter()
            .map(OsString::as_os_str)
            .flat_map(of_arg)
            .collect()
    }

    /// Whether its command line names the job, its service or its program, or what the service says it
    /// does.
    fn is_named_for(&self, job: &Job) -> bool {
        let script = job.service.script.to_string_lossy();
        let names = [&job.name, &job.service.name, program_of(&script)];
        let names = names.map(|name| bare(OsStr::new(name)));
        let mut words = self.args.iter().flat_map(|arg| words(arg)).map(bare);
        let process = job.service.process.as_deref();
        process.is_some_and(|text| self.command().contains(text))
            || words.any(|word| !word.is_empty() && names.contains(&word))
    }

    /// Whether it runs in the directory of the job; one that many run in says nothing.
    fn is_at(&self, cwd: &Path) -> bool {
        let here = fs::canonicalize(cwd).ok();
        here.is_some() && here == self.directory && cwd.parent().is_some()
    }

    fn command(&self) -> String {
        let args: Vec<_> = self.args.iter().map(|arg| arg.to_string_lossy()).collect();
        match args.is_empty() {
            true => "[kernel]".to_owned(),
            false => args.join(" "),
        }
    }
}

/// The words of an argument.
fn words(arg: &OsStr) -> impl Iterator<Item = &OsStr> {
    let words = arg.as_bytes().split(u8::is_ascii_whitespace);
    words.filter(|word| !word.is_empty()).map(OsStr::from_bytes)
}

/// A word without directories, what programs put around names in their titles, and an extension.
fn bare(word: &OsStr) -> Vec<u8> {
    let name = Path::new(word).file_name().unwrap_or_default();
    let trimmed = name.as_bytes().trim_ascii();
    let is_around = |byte: &u8| b":,;()[]".contains(byte);
    let start = trimmed
        .iter()
        .position(|byte| !is_around(byte))
        .unwrap_or(trimmed.len());
    let end = trimmed
        .iter()
        .rposition(|byte| !is_around(byte))
        .map_or(start, |at| at + 1);
    let name = Path::new(OsStr::from_bytes(&trimmed[start..end]));
    name.file_stem().unwrap_or_default().as_bytes().to_vec()
}

/// Whether a process has a lock file open; false also if one may not look.
fn holds(pid: Pid, lock: &Path) -> bool {
    let Ok(lock) = fs::metadata(lock) else {
        return false;
    };
    open_files(&format!("/proc/{pid}/fd")).any(|fd| {
        fs::metadata(fd).is_ok_and(|file| (file.dev(), file.ino()) == (lock.dev(), lock.ino()))
    })
}

/// What a process has open, as links to it.
fn open_files(directory: &str) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.path())
}

/// Processes that hold lock files of pidfiles, as far as one may look.
#[derive(Debug, Default)]
pub(crate) struct Holders(HashMap<(u64, u64), Pid>);

impl Holders {
    /// Looks at all processes.
    pub(crate) fn find() -> Holders {
        let mut holders = HashMap::new();
        let own = rustix::process::getpid();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let pid = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok());
            let Some(pid) = pid.and_then(Pid::from_raw).filter(|pid| *pid != own) else {
                continue;
            };
            for fd in open_files(&format!("/proc/{pid}/fd")) {
                let is_lock = |file: &Path| file.as_os_str().as_bytes().ends_with(b".lock");
                if fs::read_link(&fd).is_ok_and(|file| is_lock(&file))
                    && let Ok(file) = fs::metadata(&fd)
                {
                    holders.insert((file.dev(), file.ino()), pid);
                }
            }
        }
        Holders(holders)
    }

    /// The process that holds the lock of a pidfile.
    pub(crate) fn of(&self, pidfile: &Path) -> Option<Pid> {
        let lock = fs::metadata(lock_path(pidfile)).ok()?;
        self.0.get(&(lock.dev(), lock.ino())).copied()
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::bare;

    #[test]
    fn names_are_compared_without_what_surrounds_them() {
        for (word, expected) in [
            ("/usr/bin/mover.py", "mover"),
            ("londiste:", "londiste"),
            ("(replic)", "replic"),
            ("plain", "plain"),
            ("...", ".."),
            ("::", ""),
            ("/", ""),
        ] {
            assert_eq!(bare(OsStr::new(word)), expected.as_bytes(), "{word}");
        }
    }
}
