//! Changing the settings of the master: by its file or by SQL, and looking whether they count.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process};
use skytools::app::chain;
use skytools::daemon::Stop;
use skytools::db::{Connection, During};
use tracing::{info, warn};

use super::{DataDir, conf};
use crate::config::{ConfigMethod, MasterConfig};
use crate::{Error, durable};

/// A setting and the value it shall have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting {
    name: &'static str,
    value: String,
}

impl Setting {
    pub(crate) fn new(name: &'static str, value: &str) -> Setting {
        Setting {
            name,
            value: value.to_owned(),
        }
    }
}

/// What a slave that is opened archives with.
const NOWHERE: &str = "/bin/true";

/// Name of a file of our own beside `postgresql.conf`, and in a directory that it includes.
const OWN_FILE: &str = "walmgr.conf";
const OWN_FILE_IN_DIR: &str = "99-walmgr.conf";

/// The server, running or not, and the text of its file.
pub(crate) struct Change<'a> {
    config: &'a MasterConfig,
    db: Option<Connection>,
    /// The file that is changed, or made.
    pub(crate) path: PathBuf,
    text: String,
    /// The file that the server begins with, if that is another: its path and text, and the text with which it
    /// includes ours, if it does not yet.
    main: Option<(&'a Path, String, Option<String>)>,
}

impl<'a> Change<'a> {
    pub(crate) fn begin(config: &'a MasterConfig) -> Result<Change<'a>, Error> {
        let path = config.need_config()?;
        let text = fs::read_to_string(path).map_err(|error| Error::io("read", path, error))?;
        let db = match &config.db {
            Some(db) => match Connection::open("master_db", db) {
                Ok(db) => Some(db),
                Err(error) => {
                    warn!("the master cannot be asked: {}", chain(&error));
                    None
                }
            },
            None => None,
        };
        if config.config_method != ConfigMethod::Include {
            return Ok(Change {
                config,
                db,
                path: path.clone(),
                text,
                main: None,
            });
        }
        let (own, including) = included(path, &text);
        Ok(Change {
            config,
            db,
            text: read_or_empty(&own)?,
            path: own,
            main: Some((path.as_path(), text, including)),
        })
    }

    /// The file of our own, if there is one that can go: the server does without it.
    pub(crate) fn own_file(&mut self) -> Result<Option<PathBuf>, Error> {
        if self.main.is_none() || !self.path.exists() {
            return Ok(None);
        }
        let data = DataDir::new(&self.config.data, self.config.bin.as_deref());
        let archives = match self.db {
            Some(_) => self
                .current("archive_mode")
                .is_none_or(|mode| mode != "off"),
            None => data.postmaster()?.is_some(),
        };
        if archives {
            warn!(
                path = %self.path.display(),
                "stays: while archive_mode is on, the server keeps all WAL without the archive_command that is in \
                 it; set archive_mode = off there and restart, then remove it and the line that includes it"
            );
            return Ok(None);
        }
        Ok(Some(self.path.clone()))
    }

    /// Has the server not read the file of our own any more.
    pub(crate) fn stop_including(&self) -> Result<(), Error> {
        let Some((main, text, _)) = &self.main else {
            return Ok(());
        };
        let new = conf::without(text, includes_own);
        match new == *text {
            true => Ok(()),
            false => write(main, &new),
        }
    }

    /// The value in force, else the one of the file.
    pub(crate) fn current(&mut self, name: &str) -> Option<String> {
        let shown = self.db.as_mut().and_then(|db| {
            let row = db.query_one("select current_setting($1, true)", &[&name]);
            row.ok()?.get::<_, Option<String>>(0)
        });
        let main = self.main.as_ref().map_or("", |(_, text, _)| text);
        shown
            .or_else(|| conf::find(&self.text, name).map(|line| line.value))
            .or_else(|| conf::find(main, name).map(|line| line.value))
    }

    /// A library would archive instead of us, on some versions without a word.
    pub(crate) fn refuse_library(&mut self) -> Result<(), Error> {
        match self
            .current("archive_library")
            .filter(|name| !name.is_empty())
        {
            None => Ok(()),
            Some(name) => Err(Error::Refused(format!(
                "archive_library is '{name}', and would archive instead of archive_command: empty it first"
            ))),
        }
    }

    /// What would be done.
    pub(crate) fn show(&self, settings: &[Setting]) -> Result<String, Error> {
        Ok(match self.config.config_method {
            ConfigMethod::Edit | ConfigMethod::Include => {
                let new = self.edited(settings);
                let mut shown = match new == self.text {
                    true => format!("{} stays as it is\n", self.path.display()),
                    false => conf::diff(&self.path.display().to_string(), &self.text, &new),
                };
                if let Some((path, old, Some(new))) = &self.main {
                    shown.push_str(&conf::diff(&path.display().to_string(), old, new));
                }
                shown
            }
            ConfigMethod::AlterSystem => settings.iter().map(alter).collect(),
        })
    }

    fn edited(&self, settings: &[Setting]) -> String {
        settings.iter().fold(self.text.clone(), |text, setting| {
            conf::set(&text, setting.name, &setting.value)
        })
    }

    /// Changes what is not as it shall be. False if all is.
    ///
    /// # Errors
    /// Nothing is changed then: another file would win, or the server refuses.
    pub(crate) fn apply(&mut self, settings: &[Setting]) -> Result<bool, Error> {
        if self.config.config_method == ConfigMethod::AlterSystem {
            let Some(db) = &mut self.db else {
                return Err(Error::Refused(
                    "config_method = alter_system needs the server: start it, and see master_db"
                        .to_owned(),
                ));
            };
            for setting in settings {
                db.batch_execute(&alter(setting))
                    .during(format!("set {}", setting.name))?;
            }
            return Ok(true);
        }
        let was_standby = self.forget_standby(settings)?;
        let changed = self.change_file(settings);
        if changed.is_err() && was_standby {
            self.set_in_auto_conf("alter system set archive_command = '/bin/true'")?;
        }
        changed
    }

    /// A slave that was opened archives nowhere, by a line of `restore` that would win. True if there was one.
    fn forget_standby(&mut self, settings: &[Setting]) -> Result<bool, Error> {
        let (_, text) = self.auto_conf();
        let line = conf::find(&text, "archive_command");
        let is_ours = line.is_some_and(|line| line.value == NOWHERE);
        let is_wanted = settings
            .iter()
            .any(|setting| setting.name == "archive_command" && setting.value != NOWHERE);
        if !(is_ours && is_wanted && self.db.is_some()) {
            return Ok(false);
        }
        self.set_in_auto_conf("alter system reset archive_command")?;
        info!("archive_command is not {NOWHERE} any more, as restore had left it");
        Ok(true)
    }

    fn set_in_auto_conf(&mut self, sql: &str) -> Result<(), Error> {
        match &mut self.db {
            Some(db) => Ok(db.batch_execute(sql).during("change archive_command")?),
            None => Ok(()),
        }
    }

    fn change_file(&mut self, settings: &[Setting]) -> Result<bool, Error> {
        let (auto, text) = self.auto_conf();
        for setting in settings {
            if let Some(line) = conf::find(&text, setting.name)
                && line.value != setting.value
            {
                return Err(Error::Refused(format!(
                    "{} line {} sets {}, and wins over {}: ALTER SYSTEM RESET {} removes it",
                    auto.display(),
                    line.number,
                    setting.name,
                    self.path.display(),
                    setting.name
                )));
            }
        }
        let new = self.edited(settings);
        let is_included = !matches!(&self.main, Some((_, _, Some(_))));
        if new == self.text && is_included {
            return self.find_overridden(settings).map(|()| false);
        }
        let old = std::mem::replace(&mut self.text, new);
        let was_there = self.path.exists();
        if let (false, Some((main, ..))) = (was_there, &self.main) {
            create_like(&self.path, main)?;
        }
        write(&self.path, &self.text)?;
        if let Some((main, _, Some(including))) = &self.main {
            write(main, including)?;
        }
        if let Err(error) = self.find_overridden(settings) {
            if let Some((main, text, Some(_))) = &self.main {
                write(main, text)?;
            }
            match was_there {
                true => write(&self.path, &old)?,
                false => durable::remove(&self.path)
                    .map(|_| ())
                    .map_err(|error| Error::io("remove", &self.path, error))?,
            }
            self.text = old;
            return Err(error);
        }
        Ok(true)
    }

    fn auto_conf(&self) -> (PathBuf, String) {
        let path = self.config.data.join("postgresql.auto.conf");
        // Without it nothing is overridden.
        let text = fs::read_to_string(&path).unwrap_or_default();
        (path, text)
    }

    /// Asks the server, which reads its files for that, whether another file has the last word.
    fn find_overridden(&mut self, settings: &[Setting]) -> Result<(), Error> {
        let Some(db) = &mut self.db else {
            return Ok(());
        };
        let rows = db
            .query(
                "select name, setting, sourcefile, sourceline, error from pg_file_settings order by seqno",
                &[],
            )
            .during("look at the files of the server")?;
        for setting in settings {
            let last = rows.iter().rfind(|row| {
                row.get::<_, Option<String>>(0)
                    .is_some_and(|name| name.eq_ignore_ascii_case(setting.name))
            });
            let Some(row) = last else {
                return Err(Error::Refused(format!(
                    "the server does not read {}, so master_config is not its file",
                    self.path.display()
                )));
            };
            let value: Option<String> = row.get(1);
            if value.as_deref() != Some(&setting.value) {
                return Err(Error::Refused(format!(
                    "{} is set in {} line {}, which the server reads after {}: remove it there",
                    setting.name,
                    row.get::<_, Option<String>>(2).unwrap_or_default(),
                    row.get::<_, Option<i32>>(3).unwrap_or_default(),
                    self.path.display()
                )));
            }
        }
        Ok(())
    }

    /// Has the server read its files again.
    pub(crate) fn reload(&mut self) -> Result<(), Error> {
        if let Some(db) = &mut self.db {
            db.batch_execute("select pg_reload_conf()")
                .during("reload the configuration")?;
            return Ok(());
        }
        let data = DataDir::new(&self.config.data, self.config.bin.as_deref());
        match data.postmaster()? {
            Some(pid) => kill_process(pid, Signal::HUP)
                .map_err(|error| Error::io("signal the server of", &data.path, error.into())),
            None => {
                info!("the server does not run: the settings count from its start on");
                Ok(())
            }
        }
    }

    /// Whether some setting counts only after a restart, as far as the server can be asked.
    pub(crate) fn needs_restart(&mut self, settings: &[Setting]) -> Result<bool, Error> {
        if self.db.is_none() {
            return Ok(true);
        }
        self.reload()?;
        Ok(settings
            .iter()
            .filter(|setting| matches!(setting.name, "archive_mode" | "wal_level"))
            .any(|setting| self.current(setting.name).as_ref() != Some(&setting.value)))
    }

    /// Looks whether the settings count, or will after a restart.
    ///
    /// # Errors
    /// One does not.
    pub(crate) fn verify(&mut self, settings: &[Setting]) -> Result<(), Error> {
        let Some(db) = &self.config.db else {
            warn!("master_db is not set, so nobody has looked whether the settings count");
            return Ok(());
        };
        // After a restart the old connection is gone.
        self.db = Connection::open("master_db", db).ok();
        let Some(db) = &mut self.db else {
            warn!("the master cannot be asked, so nobody has looked whether the settings count");
            return Ok(());
        };
        let begun = Instant::now();
        let is_off = settings.contains(&Setting::new("archive_mode", "off"));
        loop {
            let mut left = Vec::new();
            let mut pending = Vec::new();
            for setting in settings {
                let row = db
                    .query_one(
                        "select current_setting(name), pending_restart, sourcefile, sourceline \
                           from pg_settings where name = $1",
                        &[&setting.name],
                    )
                    .during("look at the settings")?;
                let value: String = row.get(0);
                // So it is shown as long as archive_mode is off, which waits for a restart.
                let is_disabled = setting.name == "archive_command" && value == "(disabled)";
                if is_disabled && is_off {
                    continue;
                }
                if row.get::<_, bool>(1) || is_disabled {
                    pending.push(setting.name);
                } else if value != setting.value && setting.name != "archive_timeout" {
                    let file = row.get::<_, Option<String>>(2);
                    left.push(format!(
                        "{} is '{value}'{}",
                        setting.name,
                        file.map(|file| format!(" (from {file})"))
                            .unwrap_or_default()
                    ));
                }
            }
            if left.is_empty() {
                match pending.is_empty() {
                    true => info!("the settings are active"),
                    false => warn!(
                        "active after a restart of the master: {}",
                        pending.join(", ")
                    ),
                }
                return Ok(());
            }
            // It reads its files in its own time.
            if begun.elapsed() > Duration::from_secs(10)
                || Stop::default().sleep(Duration::from_millis(100))
            {
                return Err(Error::Refused(format!(
                    "the settings do not count: {}",
                    left.join("; ")
                )));
            }
        }
    }
}

/// The file of our own that a configuration includes, and the text with which it does, if it does not yet.
fn included(main: &Path, text: &str) -> (PathBuf, Option<String>) {
    let dir = main.parent().unwrap_or(Path::new("/"));
    if let Some(line) = conf::find(text, "include_dir") {
        return (dir.join(line.value).join(OWN_FILE_IN_DIR), None);
    }
    let is_included = conf::lines(text).any(|line| includes_own(&line));
    let including = match is_included {
        true => None,
        false => {
            let end = if text.is_empty() || text.ends_with('\n') {
                ""
            } else {
                "\n"
            };
            Some(format!("{text}{end}include_if_exists = '{OWN_FILE}'\n"))
        }
    };
    (dir.join(OWN_FILE), including)
}

fn includes_own(line: &conf::Line) -> bool {
    line.name.starts_with("include") && line.value == OWN_FILE
}

fn read_or_empty(path: &Path) -> Result<String, Error> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        read => read.map_err(|error| Error::io("read", path, error)),
    }
}

/// Makes an empty file that its server may read: as another one that it reads.
fn create_like(path: &Path, other: &Path) -> Result<(), Error> {
    let failed = |error| Error::io("create", path, error);
    let metadata = fs::metadata(other).map_err(failed)?;
    fs::File::create_new(path)
        .and_then(|file| file.set_permissions(metadata.permissions()))
        .and_then(|()| chown(path, Some(metadata.uid()), Some(metadata.gid())))
        .map_err(failed)
}

fn alter(setting: &Setting) -> String {
    format!(
        "alter system set {} = {};\n",
        setting.name,
        skytools::quote::literal(&setting.value)
    )
}

/// Replaces a file in one step, with its owner and mode; where its directory cannot be written, in place, after
/// a copy.
fn write(path: &Path, text: &str) -> Result<(), Error> {
    let failed = |error| Error::io("write", path, error);
    // A link stays one.
    let path = &path.canonicalize().map_err(failed)?;
    let metadata = fs::metadata(path).map_err(failed)?;
    let new = crate::files::with_suffix(path, ".walmgr");
    let replaced = fs::write(&new, text)
        .and_then(|()| fs::set_permissions(&new, metadata.permissions()))
        .and_then(|()| chown(&new, Some(metadata.uid()), Some(metadata.gid())))
        .and_then(|()| fs::File::open(&new)?.sync_all())
        .and_then(|()| fs::rename(&new, path))
        .and_then(|()| durable::sync_dir(path.parent().unwrap_or(Path::new("/"))));
    if let Err(error) = replaced {
        let _ = fs::remove_file(&new);
        if error.kind() != std::io::ErrorKind::PermissionDenied {
            return Err(failed(error));
        }
        let old = crate::files::with_suffix(path, ".old");
        match fs::copy(path, &old) {
            Ok(_) => info!(path = %old.display(), "the old file is kept"),
            Err(error) => warn!(%error, path = %old.display(), "the old file is not kept"),
        }
        fs::write(path, text).map_err(failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::included;

    #[test]
    fn a_file_of_our_own_is_included_once() {
        let main = Path::new("/etc/pg/postgresql.conf");
        let (own, text) = included(main, "port = 1");
        assert_eq!(own, Path::new("/etc/pg/walmgr.conf"));
        let text = text.expect("it has to be included");
        assert_eq!(text, "port = 1\ninclude_if_exists = 'walmgr.conf'\n");
        assert_eq!(included(main, &text), (own, None));
        let debian = "include_dir = 'conf.d'\t# or not\n";
        let own = "/etc/pg/conf.d/99-walmgr.conf".into();
        assert_eq!(included(main, debian), (own, None));
    }
}
