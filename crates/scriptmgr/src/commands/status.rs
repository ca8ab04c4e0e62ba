use std::fmt::Write;
use std::path::Path;

use serde::Serialize;
use skytools::app::{output, output_json};
use tracing::warn;

use crate::Error;
use crate::args::Options;
use crate::discover::{Jobs, Problem, Selection};
use crate::state::{Look, State};

/// Everything `status` shows.
#[derive(Serialize)]
struct Status<'a> {
    jobs: Vec<JobStatus<'a>>,
    problems: &'a [Problem],
}

#[derive(Serialize)]
struct JobStatus<'a> {
    job_name: &'a str,
    service: &'a str,
    config: &'a Path,
    pidfile: Option<&'a Path>,
    logfile: Option<&'a Path>,
    disabled: bool,
    state: &'static str,
    /// Where the job runs.
    pid: Option<i32>,
    /// Why the state is not known.
    problem: Option<String>,
}

/// Shows which jobs run; false if an enabled one does not, or cannot be told.
pub(super) fn run(
    jobs: &Jobs,
    selection: &Selection<'_>,
    look: &Look,
    options: &Options,
) -> Result<bool, Error> {
    let mut is_well = true;
    let mut text = String::new();
    let mut list = Vec::new();
    for &job in &selection.jobs {
        let mut pid = None;
        let mut unknown = None;
        let (state, shown) = match look.state(job) {
            State::Running(target) => {
                pid = Some(target.pid().as_raw_pid());
                ("running", "OK")
            }
            State::NoPidfile => ("no_pidfile", "pidfile?"),
            State::Stopped { .. } => {
                is_well &= job.is_disabled;
                ("stopped", "STOPPED")
            }
            State::Unknown(problem) => {
                warn!("cannot tell whether job {} runs: {problem}", job.name);
                unknown = Some(problem);
                is_well &= job.is_disabled;
                ("unknown", "unknown")
            }
        };
        let (service, name) = (&job.service.name, &job.name);
        let disabled = if job.is_disabled { "  (disabled)" } else { "" };
        // Writing to a text cannot fail.
        let _ = writeln!(text, " {shown:<8} [{service}] {name}{disabled}");
        list.push(JobStatus {
            job_name: name,
            service,
            config: &job.config,
            pidfile: job.pidfile.as_deref(),
            logfile: job.logfile.as_deref(),
            disabled: job.is_disabled,
            state,
            pid,
            problem: unknown,
        });
    }
    match options.json {
        true => output_json(&Status {
            jobs: list,
            problems: &jobs.problems,
        })?,
        false => output(text)?,
    }
    Ok(is_well)
}
