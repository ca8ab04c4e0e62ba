//! Finding the jobs of the host.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde::Serialize;
use skytools::app::chain;
use skytools::config::{ConfigError, Settings};
use skytools::daemon;
use tracing::{debug, error, warn};

use crate::args::Options;
use crate::job::Job;
use crate::service::{Service, Services};
use crate::{Config, Error, pattern};

/// A file or a section that cannot be used; others can.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Problem {
    /// What it is about: a file, or a section.
    pub(crate) place: String,
    /// What is wrong with it.
    pub(crate) message: String,
}

/// All jobs that were found.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
    /// Sorted by service and name.
    pub(crate) list: Vec<Job>,
    /// What spoils the rest, logged already.
    pub(crate) problems: Vec<Problem>,
    /// By name; of several jobs with one name the last that was found.
    by_name: BTreeMap<String, usize>,
    services: HashSet<String>,
}

/// Jobs that a command is about.
#[derive(Debug)]
pub(crate) struct Selection<'a> {
    pub(crate) jobs: Vec<&'a Job>,
    /// Whether each was named, so that it is meant even if it is disabled.
    pub(crate) is_named: bool,
    /// Whether something was asked for that is not there; logged already.
    pub(crate) has_failed: bool,
}

/// Reads the services and the jobs' files. What cannot be used is logged and left out.
///
/// # Errors
/// The services contradict each other.
pub(crate) fn discover(manager: &daemon::Job<Config>) -> Result<Jobs, Error> {
    let services = Services::read(&manager.settings)?;
    let mut search = Search::default();
    for (name, problem) in &services.broken {
        search.problem(format!("service [{name}]"), problem.clone());
    }
    let usable: Vec<Rc<Service>> = services.usable.values().cloned().map(Rc::new).collect();
    let names: Vec<&str> = services.names().collect();
    for file in search.files(&manager.config.config_list) {
        search.read(&file, &usable, &names);
    }
    if search.jobs.is_empty() {
        warn!("no jobs found");
    }
    let mut jobs = search.finish();
    jobs.services = names.iter().map(|&name| name.to_owned()).collect();
    Ok(jobs)
}

#[derive(Debug, Default)]
struct Search {
    jobs: Vec<Job>,
    problems: Vec<Problem>,
}

impl Search {
    fn problem(&mut self, place: impl Into<String>, message: String) {
        let place = place.into();
        // Messages of the configuration mostly name the file themselves.
        match message.contains(&place) {
            true => error!("{message}"),
            false => error!("{place}: {message}"),
        }
        self.problems.push(Problem { place, message });
    }

    /// The files of all patterns, each once, absolute.
    fn files(&mut self, patterns: &[String]) -> Vec<PathBuf> {
        let mut files = Vec::new();
        let mut seen = HashSet::new();
        for pattern in patterns.iter().filter(|pattern| !pattern.is_empty()) {
            let found = pattern::expand(pattern);
            if found.files.is_empty() && pattern::is_plain(pattern) {
                warn!("there is no file {pattern}");
            }
            for problem in found.problems {
                self.problem(pattern, problem);
            }
            for file in found.files {
                let file = std::path::absolute(&file).unwrap_or(file);
                // One that cannot be resolved is reported when it is read.
                let canonical = file.canonicalize().unwrap_or_else(|_| file.clone());
                if seen.insert(canonical) {
                    files.push(file);
                }
            }
        }
        files
    }

    /// Reads the jobs of a file.
    fn read(&mut self, file: &Path, usable: &[Rc<Service>], names: &[&str]) {
        match std::fs::metadata(file) {
            Ok(metadata) if metadata.is_dir() => {
                debug!("{} is a directory", file.display());
                return;
            }
            // Reading a pipe would take for ever.
            Ok(metadata) if !metadata.is_file() => {
                self.problem(file.display().to_string(), "is no file".to_owned());
                return;
            }
            _ => {}
        }
        let sections: Vec<&str> = ["scriptmgr"].iter().chain(names).copied().collect();
        let settings = match Settings::load(file, &sections, &[]) {
            Ok(settings) => settings,
            Err(ConfigError::NoSection { .. }) => {
                warn!("{}: no section of a known service", file.display());
                return;
            }
            Err(error) => {
                self.problem(file.display().to_string(), chain(&error));
                return;
            }
        };
        if settings.section("scriptmgr").is_some() {
            return;
        }
        for service in usable {
            if settings.section(&service.name).is_none() {
                continue;
            }
            match Job::read(&settings, service) {
                Ok(job) => self.jobs.push(job),
                Err(error) => self.problem(file.display().to_string(), chain(&error)),
            }
        }
    }

    /// Sorts the jobs, and complains about those that share a name.
    fn finish(mut self) -> Jobs {
        let mut by_name: BTreeMap<String, PathBuf> = BTreeMap::new();
        for at in 0..self.jobs.len() {
            let job = &self.jobs[at];
            let (name, config) = (job.name.clone(), job.config.clone());
            if let Some(other) = by_name.insert(name.clone(), config.clone()) {
                let (other, config) = (other.display(), config.display());
                let message = format!(
                    "two jobs have this name, of {other} and {config}: set job_name in both"
                );
                self.problem(format!("job '{name}'"), message);
            }
        }
        // The last one of a name counts, wherever sorting puts it.
        let mut numbered: Vec<(usize, Job)> = self.jobs.into_iter().enumerate().collect();
        numbered.sort_by_cached_key(|(_, job)| format!("{}{}", job.service.name, job.name));
        let mut places: BTreeMap<String, (usize, usize)> = BTreeMap::new();
        for (place, (found, job)) in numbered.iter().enumerate() {
            let entry = places.entry(job.name.clone()).or_insert((*found, place));
            *entry = (*entry).max((*found, place));
        }
        Jobs {
            list: numbered.into_iter().map(|(_, job)| job).collect(),
            problems: self.problems,
            by_name: places
                .into_iter()
                .map(|(name, (_, place))| (name, place))
                .collect(),
            services: HashSet::new(),
        }
    }
}

impl Jobs {
    /// The jobs that names or options ask for; `None` if neither does.
    pub(crate) fn select<'a>(
        &'a self,
        names: &[String],
        options: &Options,
    ) -> Option<Selection<'a>> {
        let is_named = !names.is_empty();
        let mut has_failed = false;
        let jobs = match &options.service {
            _ if is_named => {
                let mut jobs: Vec<&Job> = Vec::new();
                let mut seen = HashSet::new();
                for name in names.iter().filter(|name| seen.insert(name.as_str())) {
                    match self.by_name.get(name) {
                        Some(place) => jobs.push(&self.list[*place]),
                        None => {
                            error!("unknown job: {name}");
                            has_failed = true;
                        }
                    }
                }
                jobs
            }
            _ if options.all => self.list.iter().collect(),
            Some(service) => {
                if !self.services.contains(service) {
                    error!("unknown service: {service}");
                    has_failed = true;
                }
                let of_service = |job: &&Job| job.service.name == *service;
                self.list.iter().filter(of_service).collect()
            }
            None => return None,
        };
        Some(Selection {
            jobs,
            is_named,
            has_failed,
        })
    }
}
