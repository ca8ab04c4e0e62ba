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

/// The server, running or not, and the text of its file.
pub(crate) struct Change<'a> {
    config: &'a MasterConfig,
    db: Option<Connection>,
    path: &'a Path,
    text: String,
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
        Ok(Change {
            config,
            db,
            path,
            text,
        })
    }

    /// The value in force, else the one of the file.
    pub(crate) fn current(&mut self, name: &str) -> Option<String> {
        let shown = self.db.as_mut().and_then(|db| {
            let row = db.query_one("select current_setting($1, true)", &[&name]);
            row.ok()?.get::<_, Option<String>>(0)
        });
        shown.or_else(|| conf::find(&self.text, name).map(|line| line.value))
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
            ConfigMethod::Edit => {
                let new = self.edited(settings);
                match new == self.text {
                    true => format!("{} stays as it is\n", self.path.display()),
                    false => conf::diff(&self.path.display().to_string(), &self.text, &new),
                }
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
        if new == self.text {
            return Ok(false);
        }
        let old = std::mem::replace(&mut self.text, new);
        write(self.path, &self.text)?;
        if let Err(error) = self.find_overridden(settings) {
            write(self.path, &old)?;
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
