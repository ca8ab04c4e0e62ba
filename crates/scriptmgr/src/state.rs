//! Whether a job runs.
//!
//! A pidfile is not enough: after a crash it names a process that is gone, or another one that has its
//! id now. And it may be lost while the job runs on, holding the lock beside it.

use std::cell::OnceCell;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::path::Path;
use std::rc::Rc;

use rustix::process::Pid;
use skytools::app::chain;
use skytools::pidfile::{self, Status};
use tracing::warn;

use crate::discover::Jobs;
use crate::ending::Target;
use crate::evidence::{Holders, Suspect, Verdict};
use crate::job::Job;

/// What is known of a job.
#[derive(Debug)]
pub(crate) enum State {
    /// It runs, in this process.
    Running(Target),
    /// It does not run; its pidfile may name a process that is something else.
    Stopped { squatter: Option<Pid> },
    /// It has no pidfile, so nobody knows.
    NoPidfile,
    /// The pidfile cannot be read, or makes no sense.
    Unknown(String),
}

/// A look at jobs: what is found out for all at once is found out once.
#[derive(Debug)]
pub(crate) struct Look {
    /// Files of all jobs, by which a process may be known as another job's.
    configs: Rc<HashSet<Box<OsStr>>>,
    holders: OnceCell<Holders>,
}

impl Look {
    pub(crate) fn new(jobs: &Jobs) -> Look {
        let names = jobs.list.iter().filter_map(|job| job.config.file_name());
        Look {
            configs: Rc::new(names.map(Box::from).collect()),
            holders: OnceCell::new(),
        }
    }

    /// The same for later, when other processes may run.
    pub(crate) fn again(&self) -> Look {
        Look {
            configs: Rc::clone(&self.configs),
            holders: OnceCell::new(),
        }
    }

    /// Finds out whether a job runs; says so if its pidfile names a process that is not the job.
    pub(crate) fn state(&self, job: &Job) -> State {
        let Some(path) = &job.pidfile else {
            return State::NoPidfile;
        };
        let (mut unknown, mut squatter) = (None, None);
        match pidfile::status(path) {
            Ok(Status::Running(pid)) => match self.target(job, path, pid) {
                Ok(target) => return State::Running(target),
                Err(reason) => {
                    let path = path.display();
                    warn!("process {pid} in {path} is not job {}: {reason}", job.name);
                    squatter = Some(pid);
                }
            },
            Ok(Status::Absent | Status::Stale) => {}
            Err(error) => unknown = Some(chain(&error)),
        }
        let holder = self.holders.get_or_init(Holders::find).of(path);
        // Whoever may write beside the pidfile may link the lock of somebody else there.
        let may_be = |pid: &Pid| match &job.service.account {
            Some(account) => Suspect::read(*pid).is_some_and(|suspect| suspect.is_of(account)),
            None => true,
        };
        let holder = holder.filter(may_be);
        match (holder, unknown) {
            (Some(pid), _) => State::Running(Target::new(pid)),
            (None, Some(problem)) => State::Unknown(problem),
            (None, None) => State::Stopped { squatter },
        }
    }

    /// The process of a pidfile, if it is the job.
    fn target(&self, job: &Job, path: &Path, pid: Pid) -> Result<Target, String> {
        // From here on its id means this process and no other.
        let target = Target::new(pid);
        let suspect = Suspect::read(pid);
        let is_still = matches!(pidfile::status(path), Ok(Status::Running(now)) if now == pid);
        match suspect.map(|suspect| suspect.judge(job, path, &self.configs)) {
            Some(Verdict::Other(reason)) => Err(reason),
            _ if !is_still => Err("it has ended".to_owned()),
            _ => Ok(target),
        }
    }
}
