use std::fmt::Write;
use std::path::Path;

use serde::Serialize;
use skytools::app::{output, output_json};

use crate::Error;
use crate::args::Options;
use crate::discover::{Jobs, Selection};
use crate::job::Job;
use crate::state::Look;

/// How a job is run.
#[derive(Serialize)]
struct Info<'a> {
    job_name: &'a str,
    service: &'a str,
    disabled: bool,
    config: &'a Path,
    pidfile: Option<&'a Path>,
    logfile: Option<&'a Path>,
    cwd: &'a Path,
    user: Option<&'a str>,
    script: String,
    args: &'a str,
}

impl Info<'_> {
    fn new(job: &Job) -> Info<'_> {
        Info {
            job_name: &job.name,
            service: &job.service.name,
            disabled: job.is_disabled,
            config: &job.config,
            pidfile: job.pidfile.as_deref(),
            logfile: job.logfile.as_deref(),
            cwd: &job.service.cwd,
            user: job
                .service
                .account
                .as_ref()
                .map(|account| account.name.as_str()),
            script: job.service.script.to_string_lossy().into_owned(),
            args: &job.service.args,
        }
    }

    /// A line for each setting.
    fn text(&self) -> String {
        let path =
            |path: Option<&Path>| path.map_or_else(String::new, |path| path.display().to_string());
        let fields = [
            ("disabled", self.disabled.to_string()),
            ("config", path(Some(self.config))),
            ("pidfile", path(self.pidfile)),
            ("logfile", path(self.logfile)),
            ("cwd", path(Some(self.cwd))),
            ("user", self.user.unwrap_or_default().to_owned()),
            ("script", self.script.clone()),
            ("args", self.args.to_owned()),
        ];
        let mut text = format!("[{}] {}\n", self.service, self.job_name);
        for (name, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
            // Writing to a text cannot fail.
            let _ = writeln!(text, "  {name:<9} {value}");
        }
        text
    }
}

/// Shows how jobs are run.
pub(super) fn run(
    _: &Jobs,
    selection: &Selection<'_>,
    _: &Look,
    options: &Options,
) -> Result<bool, Error> {
    let list: Vec<Info<'_>> = selection.jobs.iter().map(|job| Info::new(job)).collect();
    match options.json {
        true => output_json(&list)?,
        false => {
            let texts: Vec<String> = list.iter().map(Info::text).collect();
            output(texts.join("\n"))?;
        }
    }
    Ok(true)
}
