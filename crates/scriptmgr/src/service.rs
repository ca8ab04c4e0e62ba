//! Services: the kinds of jobs, each a section of the manager's configuration.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use skytools::app::{chain, expand_home};
use skytools::config::{ConfigError, Settings};
use skytools::shell;

use crate::Error;
use crate::account::Account;

/// Programs of this toolkit, the sections that they read, and what has to be said for them to run as
/// jobs.
const OWN: &[(&str, &[&str], &str)] = &[
    ("pgqadm", &["pgqadm", "pgqd"], "ticker"),
    ("londiste", &["londiste"], "replay"),
    ("queue_mover", &["queue_mover"], ""),
    ("queue_splitter", &["queue_splitter"], ""),
    ("cube_dispatcher", &["cube_dispatcher"], ""),
    ("table_dispatcher", &["table_dispatcher"], ""),
    ("bulk_loader", &["bulk_loader"], ""),
    (
        "walmgr",
        &["wal-master", "wal-slave", "walmgr"],
        "syncdaemon",
    ),
];

/// How jobs of one kind are run.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    /// Section of the jobs' own files.
    pub(crate) name: String,
    /// Shell text that starts the program; empty if the service is disabled.
    pub(crate) script: OsString,
    /// Shell text after the job's file.
    pub(crate) args: String,
    /// Directory that jobs run in, absolute.
    pub(crate) cwd: PathBuf,
    /// Whether no job of it is started.
    pub(crate) is_disabled: bool,
    /// Who jobs run as, if not who runs the manager.
    pub(crate) account: Option<Account>,
    /// What else the command line of a running job may hold.
    pub(crate) process: Option<String>,
    /// Whether the program is one of this toolkit, whose jobs hold the lock of their pidfile.
    pub(crate) is_own: bool,
}

/// The keys as written.
#[derive(Deserialize)]
struct Keys {
    script: Option<String>,
    cwd: String,
    args: Option<String>,
    #[serde(default)]
    disabled: bool,
    #[serde(default)]
    user: String,
    #[serde(default)]
    process: String,
}

/// The services that can be used, by name, and what is wrong with the others.
#[derive(Debug, Default)]
pub(crate) struct Services {
    pub(crate) usable: BTreeMap<String, Service>,
    pub(crate) broken: BTreeMap<String, String>,
}

impl Services {
    /// Reads every section but the manager's own. A broken one spoils only its jobs.
    ///
    /// # Errors
    /// Some services name a user, and some do not.
    pub(crate) fn read(settings: &Settings) -> Result<Services, Error> {
        let own = settings.main_section().name();
        let mut services = Services::default();
        let (mut with, mut without) = (Vec::new(), Vec::new());
        for name in settings.sections().filter(|name| *name != own) {
            let user = settings
                .section(name)
                .map(|section| section.get::<String>("user"));
            match user {
                None | Some(Ok(None)) => without.push(name.to_owned()),
                Some(Ok(Some(user))) if user.is_empty() => without.push(name.to_owned()),
                _ => with.push(name.to_owned()),
            }
            match read(settings, name) {
                Ok(service) => drop(services.usable.insert(name.to_owned(), service)),
                Err(problem) => drop(services.broken.insert(name.to_owned(), problem)),
            }
        }
        match with.is_empty() || without.is_empty() {
            true => Ok(services),
            false => Err(Error::SomeUsers { with, without }),
        }
    }

    /// Names of all sections that describe a service.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.usable
            .keys()
            .chain(self.broken.keys())
            .map(String::as_str)
    }
}

fn read(settings: &Settings, name: &str) -> Result<Service, String> {
    let problem = |error: ConfigError| chain(&error);
    let section = settings.with_main(name).map_err(problem)?;
    section.warn_unless_read_by::<Keys>();
    let keys: Keys = section.main().map_err(problem)?;
    let known = OWN.iter().find(|(_, sections, _)| {
        let plain = name.strip_suffix('3').unwrap_or(name);
        sections.contains(&name) || sections.contains(&plain)
    });
    let mut args = keys.args;
    let script = keys.script.filter(|script| !script.is_empty());
    let is_own = match &script {
        Some(script) => OWN.iter().any(|(own, _, _)| *own == program_of(script)),
        None => known.is_some(),
    };
    let script = match (script, known) {
        (Some(script), _) => expand_script(&script),
        (None, _) if keys.disabled => OsString::new(),
        (None, Some((program, _, command))) => {
            args.get_or_insert_with(|| (*command).to_owned());
            shell::quote(beside_us(program)?)
        }
        (None, None) => return Err("Config value not set: script".to_owned()),
    };
    let account = match keys.user.as_str() {
        "" => None,
        user => match Account::find(user) {
            Some(account) => Some(account),
            None => return Err(format!("there is no user '{user}'")),
        },
    };
    let cwd = expand_home(&keys.cwd);
    let cwd = std::path::absolute(&cwd)
        .map_err(|error| format!("cwd '{}' is no directory: {error}", keys.cwd))?;
    Ok(Service {
        name: name.to_owned(),
        is_own,
        script,
        args: args.unwrap_or_default(),
        cwd,
        is_disabled: keys.disabled,
        account,
        process: Some(keys.process).filter(|process| !process.is_empty()),
    })
}

/// Expands a leading `~`; the rest is for the shell.
fn expand_script(script: &str) -> OsString {
    if !script.starts_with('~') {
        return script.into();
    }
    let end = script.find(char::is_whitespace).unwrap_or(script.len());
    let (program, rest) = script.split_at(end);
    let mut text = OsString::from(expand_home(program));
    text.push(rest);
    text
}

/// The program of this name that was installed with us.
fn beside_us(program: &str) -> Result<PathBuf, String> {
    let us = std::env::current_exe().map_err(|error| error.to_string())?;
    let path = us.with_file_name(program);
    match path.is_file() {
        true => Ok(path),
        false => Err(format!(
            "script is not set, and there is no {}",
            path.display()
        )),
    }
}

/// The name of the program that a script text runs: that of its last word which is no option.
pub(crate) fn program_of(script: &str) -> &str {
    let mut words = script.split(|c: char| c.is_whitespace() || c == '\'');
    let program = words.rfind(|word| !word.is_empty() && !word.starts_with('-'));
    let program = Path::new(program.unwrap_or_default()).file_name();
    program.and_then(|name| name.to_str()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::program_of;

    #[test]
    fn the_program_of_a_script_is_its_last_word_that_is_no_option() {
        for (script, program) in [
            ("londiste", "londiste"),
            ("/usr/bin/londiste -v", "londiste"),
            ("nice -n 5 python3 ~/bin/mover.py", "mover.py"),
            ("'/opt/sky tools/pgqadm'", "pgqadm"),
            ("", ""),
            ("-", ""),
        ] {
            assert_eq!(program_of(script), program, "{script}");
        }
    }
}
