use std::fmt;
use std::path::Path;

use skytools::app::Override;

use super::locate::Located;
use crate::Error;
use crate::place::{Place, checked_host};

/// A configuration with everything filled in that can be known.
#[derive(Debug, Clone)]
pub(super) struct Text {
    section: &'static str,
    lines: Vec<Line>,
}

#[derive(Debug, Clone)]
enum Line {
    Comment(String),
    Key(String, String),
}

impl Text {
    fn new(section: &'static str) -> Text {
        Text {
            section,
            lines: Vec::new(),
        }
    }

    fn comment(mut self, text: impl Into<String>) -> Text {
        self.lines.push(Line::Comment(text.into()));
        self
    }

    /// A value as it is in a file: with percent signs doubled, unless they name keys.
    fn raw(mut self, key: &str, value: impl Into<String>) -> Text {
        self.lines.push(Line::Key(key.to_owned(), value.into()));
        self
    }

    fn key(self, key: &str, value: impl fmt::Display) -> Text {
        self.raw(key, value.to_string().replace('%', "%%"))
    }

    fn path(self, key: &str, value: &Path) -> Text {
        self.key(key, value.display())
    }

    /// With what `--set` says.
    pub(super) fn with_overrides(mut self, overrides: &[Override]) -> Text {
        for Override { key, value } in overrides {
            let same = self.lines.iter_mut().find_map(|line| match line {
                Line::Key(name, old) if name == key => Some(old),
                _ => None,
            });
            match same {
                Some(old) => old.clone_from(value),
                None => self.lines.push(Line::Key(key.clone(), value.clone())),
            }
        }
        self
    }

    /// `wal-master.ini`: after `job_name`.
    pub(super) fn file_name(&self) -> String {
        let job = self.lines.iter().find_map(|line| match line {
            Line::Key(name, value) if name == "job_name" => Some(value.as_str()),
            _ => None,
        });
        format!("{}.ini", job.unwrap_or(self.section).replace('/', "_"))
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "[{}]", self.section)?;
        for line in &self.lines {
            match line {
                Line::Comment(text) => writeln!(f, "\n; {text}")?,
                Line::Key(key, value) => {
                    writeln!(f, "{key} = {}", value.replace('\n', "\n\t"))?;
                }
            }
        }
        Ok(())
    }
}

/// Directories below the base directory, which both sides call the same.
fn below_slave(text: Text) -> Text {
    text.raw("completed_wals", "%(slave)s/logs.complete")
        .raw("partial_wals", "%(slave)s/logs.partial")
        .raw("full_backup", "%(slave)s/data.master")
        .raw("config_backup", "%(slave)s/config.backup")
}

/// Of the master on this host.
///
/// # Errors
/// `slave` is no host.
pub(super) fn master(located: &Located, home: &Path, slave: &str) -> Result<Text, Error> {
    let wrong = |error| Error::Refused(format!("--slave: {error}"));
    let base = home.join("walshipping");
    let slave = match slave.contains('/') {
        true => Place::parse(slave).map_err(wrong)?,
        false => Place {
            host: Some(checked_host(slave).map_err(wrong)?),
            path: base.display().to_string(),
        },
    };
    let log = home.join("log/postgres.log");
    let mut text = Text::new("wal-master")
        .raw("job_name", "wal-master")
        .raw("logfile", format!("{}/log/%(job_name)s.log", escaped(home)))
        .raw("pidfile", format!("{}/pid/%(job_name)s.pid", escaped(home)))
        .comment("the server")
        .key("master_db", located.db())
        .path("master_data", &located.data)
        .path("master_config", &located.config);
    if let Some(bin) = &located.bin {
        text = text.path("master_bin", bin);
    }
    text = text
        .comment(format!(
            "empty: setup only reloads, and says what waits for a restart; else for example\n\
             ;   {}",
            located.command("restart", &log)
        ))
        .raw("master_restart_cmd", "")
        .comment("the slave, its base directory, and the path of its file there")
        .key("slave", slave)
        .path("slave_config", &home.join("conf/wal-slave.ini"));
    Ok(below_slave(text)
        .comment(
            "syncdaemon: seconds between two rounds, and whether it asks the server for positions",
        )
        .raw("loop_delay", "10.0")
        .raw("use_xlog_functions", "1")
        .raw("compression", "0")
        .raw("keep_symlinks", "1"))
}

/// Of the slave on this host.
pub(super) fn slave(located: &Located, home: &Path, primary_conninfo: Option<&str>) -> Text {
    let log = home.join("log/postgres.log");
    let mut text = Text::new("wal-slave")
        .raw("job_name", "wal-slave")
        .raw("logfile", format!("{}/log/%(job_name)s.log", escaped(home)))
        .raw("pidfile", format!("{}/pid/%(job_name)s.pid", escaped(home)))
        .comment("the standby")
        .path("slave_data", &located.data);
    if let Some(bin) = &located.bin {
        text = text.path("slave_bin", bin);
    }
    text = text
        .key("slave_stop_cmd", located.command("stop", &log))
        .key("slave_start_cmd", located.command("start", &log));
    if let Some(dir) = located.config_dir() {
        text = text.path("slave_config_dir", dir);
    }
    text = text
        .comment("what the master sends")
        .path("slave", &home.join("walshipping"));
    text = below_slave(text)
        .comment("base backups to keep, and what is run before one is deleted")
        .raw("keep_backups", "3")
        .raw("archive_command", "")
        .raw("backup_datadir", "yes");
    if let Some(conninfo) = primary_conninfo {
        text = text
            .comment("streaming on top of the archive")
            .key("primary_conninfo", conninfo);
    }
    text
}

fn escaped(path: &Path) -> String {
    path.display().to_string().replace('%', "%%")
}
