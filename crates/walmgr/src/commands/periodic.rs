//! `periodic_command`: anything that shall be done now and then, as long as WAL is archived.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use skytools::daemon::Stop;
use tracing::{debug, info};

use super::Work;
use crate::Error;
use crate::config::MasterConfig;

fn marker(data: &Path) -> PathBuf {
    data.join(".walshipping.periodic")
}

pub(super) fn run(work: &mut Work<'_>) -> Result<(), Error> {
    let config = work.master("periodic")?;
    if work.options.not_really {
        let due = match (&config.periodic_command, is_due(config)) {
            (Some(command), true) => format!("would run: {command}\n"),
            (Some(_), false) => "periodic_command is not due\n".to_owned(),
            (None, _) => "there is no periodic_command\n".to_owned(),
        };
        return Ok(skytools::app::output(due)?);
    }
    run_if_due(config, None, &work.context.stop)
}

/// A marker from the future is as good as none.
fn is_due(config: &MasterConfig) -> bool {
    let modified = fs::metadata(marker(&config.data)).and_then(|metadata| metadata.modified());
    let age = modified
        .ok()
        .and_then(|modified| SystemTime::now().duration_since(modified).ok());
    age.is_none_or(|age| age >= config.command_interval)
}

/// Runs the command, with a limit or without, and notes its success.
pub(super) fn run_if_due(
    config: &MasterConfig,
    limit: Option<Duration>,
    stop: &Stop,
) -> Result<(), Error> {
    let Some(command) = &config.periodic_command else {
        return Ok(());
    };
    if !is_due(config) {
        return Ok(());
    }
    debug!(command, "periodic_command");
    let failed = |problem: String| Error::Program {
        what: format!("periodic_command ({command})"),
        problem,
    };
    let begun = Instant::now();
    let mut child = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        let is_late = limit.is_some_and(|limit| begun.elapsed() > limit);
        if is_late || stop.sleep(Duration::from_millis(20)) {
            // It may just have ended; either way it is gone after this.
            let _ = child.kill();
            child.wait()?;
            return Err(failed("ended, as it takes too long".to_owned()));
        }
    };
    if !status.success() {
        return Err(failed(status.to_string()));
    }
    info!(command, "periodic_command has run");
    let marker = marker(&config.data);
    File::create(&marker)
        .and_then(|file| file.set_modified(SystemTime::now()))
        .map_err(|error| Error::io("write", &marker, error))
}
