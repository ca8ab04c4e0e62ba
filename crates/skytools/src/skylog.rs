//! `skylog.ini`: one file that says for all jobs of a machine where their records go.
//!
//! Its sections are those of Python's `logging.config`: loggers have handlers, handlers a class, the
//! arguments of it and a formatter. `[logger_root]` is for every job, another logger for the job that
//! its `qualname` names.
//!
//! A failing handler never disturbs the job.

mod args;
mod handler;
mod logdb;
mod syslog;
mod udp;

use std::path::PathBuf;

use tracing::Level;
use tracing::level_filters::LevelFilter;

use crate::config::{ConfigError, Section, Settings};
use crate::log::LogError;
use crate::log::format::{Layout, Record};
use handler::Handler;

/// The handlers of one job, open.
pub(crate) struct Skylog {
    /// All of them are open, used or not.
    handlers: Vec<Target>,
    /// Of a logger made for this job.
    level: Option<LevelFilter>,
}

/// A handler, and what reaches it.
struct Target {
    name: String,
    handler: Handler,
    layout: Layout,
    level: LevelFilter,
    /// Whether a logger of this job names it.
    used: bool,
}

impl Skylog {
    /// Reads the first of `locations` that exists, and opens its handlers.
    pub(crate) fn open(
        locations: &[PathBuf],
        job: &str,
        service: &str,
    ) -> Result<Skylog, LogError> {
        let path = locations
            .iter()
            .find(|path| path.exists())
            .ok_or(LogError::NoSkylog)?;
        let variables = vec![
            ("job_name", job.to_owned()),
            ("service_name", service.to_owned()),
        ];
        let file = Settings::with_variables(path, "loggers", variables)?;
        let mut skylog = Skylog {
            handlers: handlers(&file)?,
            level: None,
        };
        skylog.choose(&file, job)?;
        Ok(skylog)
    }

    /// Marks the handlers that the loggers of a job name.
    fn choose(&mut self, file: &Settings, job: &str) -> Result<(), ConfigError> {
        let loggers = list(&file.main_section(), "keys")?;
        if !loggers.iter().any(|name| name == "root") {
            return Err(file
                .main_section()
                .problem("keys", "expected root among the loggers".to_owned()));
        }
        let mut propagate = true;
        for name in loggers.iter().filter(|name| *name != "root") {
            let section = section(file, "logger", name)?;
            if section.get::<String>("qualname")?.as_deref() != Some(job) {
                continue;
            }
            self.level = level(&section)?;
            propagate = section.get("propagate")?.unwrap_or(true);
            self.mark(&section)?;
        }
        let root = section(file, "logger", "root")?;
        // Not used, but a wrong one is a mistake all the same.
        level(&root)?;
        if propagate {
            self.mark(&root)?;
        }
        Ok(())
    }

    fn mark(&mut self, logger: &Section<'_>) -> Result<(), ConfigError> {
        for name in list(logger, "handlers")? {
            match self.handlers.iter_mut().find(|target| target.name == name) {
                Some(target) => target.used = true,
                None => {
                    let problem = format!("expected a name from [handlers], found {name}");
                    return Err(logger.problem("handlers", problem));
                }
            }
        }
        Ok(())
    }

    /// The level of a logger made for this job; it replaces that of the command line.
    pub(crate) fn level(&self) -> Option<LevelFilter> {
        self.level
    }

    /// Lets handlers have threads; until then they keep what is for them.
    pub(crate) fn start(&mut self) {
        for target in &mut self.handlers {
            target.handler.start();
        }
    }

    /// Opens files again, which may have been moved away.
    pub(crate) fn reopen(&mut self) {
        for target in &mut self.handlers {
            target.handler.reopen();
        }
    }

    /// Hands a record to every handler that wants it.
    pub(crate) fn write(&mut self, record: &Record<'_>) {
        if self.level.is_some_and(|level| record.level > level) {
            return;
        }
        for target in &mut self.handlers {
            if target.used && record.level <= target.level {
                target.handler.write(record, &target.layout);
            }
        }
    }
}

fn handlers(file: &Settings) -> Result<Vec<Target>, ConfigError> {
    let mut targets = Vec::new();
    let Some(listed) = file.section("handlers") else {
        return Err(file
            .main_section()
            .problem("keys", "expected a section [handlers]".to_owned()));
    };
    for name in list(&listed, "keys")? {
        let section = section(file, "handler", &name)?;
        let layout = match section.get::<String>("formatter")? {
            Some(formatter) if !formatter.is_empty() => layout(file, &formatter)?,
            _ => Layout::of_handler(None, None)
                .map_err(|(key, problem)| section.problem(key, problem))?,
        };
        let class: String = section
            .get("class")?
            .ok_or_else(|| section.problem("class", "Config value not set".to_owned()))?;
        let text: String = section.get("args")?.unwrap_or_else(|| "()".to_owned());
        let args = args::parse(&text).map_err(|problem| section.problem("args", problem))?;
        let handler =
            Handler::open(&class, &args).map_err(|(key, problem)| section.problem(key, problem))?;
        targets.push(Target {
            level: level(&section)?.unwrap_or(LevelFilter::TRACE),
            name,
            handler,
            layout,
            used: false,
        });
    }
    Ok(targets)
}

fn layout(file: &Settings, formatter: &str) -> Result<Layout, ConfigError> {
    let section = section(file, "formatter", formatter)?;
    let (format, date) = (section.raw("format"), section.raw("datefmt"));
    Layout::of_handler(format.as_deref(), date.as_deref())
        .map_err(|(key, problem)| section.problem(key, problem))
}

fn section<'a>(file: &'a Settings, kind: &str, name: &str) -> Result<Section<'a>, ConfigError> {
    let section = format!("{kind}_{name}");
    file.section(&section).ok_or(ConfigError::NoSection {
        path: file.path().to_owned(),
        section,
    })
}

fn list(section: &Section<'_>, key: &str) -> Result<Vec<String>, ConfigError> {
    Ok(section.get(key)?.unwrap_or_default())
}

/// The level of a logger or handler, if it has one.
fn level(section: &Section<'_>) -> Result<Option<LevelFilter>, ConfigError> {
    let name: String = section.get("level")?.unwrap_or_default();
    Ok(Some(match name.as_str() {
        "" | "NOTSET" => return Ok(None),
        "TRACE" => LevelFilter::TRACE,
        "DEBUG" => LevelFilter::DEBUG,
        "INFO" => LevelFilter::INFO,
        "WARNING" | "WARN" => LevelFilter::WARN,
        // Nothing is logged at the last two.
        "ERROR" | "CRITICAL" | "FATAL" => LevelFilter::ERROR,
        _ => return Err(section.problem("level", format!("expected a level, found {name}"))),
    }))
}

/// Whether a record is one that a person must see at once.
fn is_grave(level: Level) -> bool {
    level <= Level::WARN
}
