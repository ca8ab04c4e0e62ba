//! A managed job, as its own file describes it.

use std::path::PathBuf;
use std::rc::Rc;

use skytools::config::{ConfigError, Settings};

use crate::account;
use crate::service::Service;

/// A job of the host.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) name: String,
    pub(crate) service: Rc<Service>,
    /// Its own file, absolute.
    pub(crate) config: PathBuf,
    /// Absolute; without one nobody knows whether the job runs.
    pub(crate) pidfile: Option<PathBuf>,
    /// Where to read what it has to say, absolute.
    pub(crate) logfile: Option<PathBuf>,
    /// Whether it is not to be started, by its own file or by its service.
    pub(crate) is_disabled: bool,
}

impl Job {
    /// Reads the job of a service from the file of `settings`.
    pub(crate) fn read(settings: &Settings, service: &Rc<Service>) -> Result<Job, ConfigError> {
        let settings = settings.with_main(&service.name)?;
        let section = settings.main_section();
        let path = |text: String| {
            let expanded = account::expand_home(&text, service.account.as_ref());
            service.cwd.join(expanded)
        };
        let name = section.get("job_name")?;
        let pidfile: Option<String> = section.get("pidfile")?;
        let is_disabled: Option<bool> = section.get("disabled")?;
        // Of no use but to be named; the job itself says what is wrong with it.
        let logfile: Option<String> = section.get("logfile").unwrap_or_default();
        Ok(Job {
            name: name.unwrap_or_else(|| service.name.clone()),
            service: Rc::clone(service),
            config: settings.path().to_owned(),
            pidfile: pidfile.filter(|pidfile| !pidfile.is_empty()).map(path),
            logfile: logfile.filter(|logfile| !logfile.is_empty()).map(path),
            is_disabled: service.is_disabled || is_disabled.unwrap_or_default(),
        })
    }

    /// Where to look when it does not run, for the end of a message.
    pub(crate) fn hint(&self) -> String {
        match &self.logfile {
            Some(logfile) => format!("; see {}", logfile.display()),
            None => String::new(),
        }
    }
}
