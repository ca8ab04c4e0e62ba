//! Where a server is, on a host that nobody has described yet.

use std::fs;
use std::path::{Path, PathBuf};

use skytools::conninfo::merge_connect_string;
use skytools::shell;

use crate::Error;
use crate::server::DataDir;

/// A server's directories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Located {
    pub(crate) data: PathBuf,
    /// Of its programs, if they are found.
    pub(crate) bin: Option<PathBuf>,
    /// Path of `postgresql.conf`.
    pub(crate) config: PathBuf,
    /// Version and name, where Debian's `pg_ctlcluster` starts and stops it.
    pub(crate) cluster: Option<(String, String)>,
}

impl Located {
    /// Finds the server of a data directory: the one that is said, that of `PGDATA`, or where packages put it.
    ///
    /// # Errors
    /// There is none, or there are several and none is said.
    pub(crate) fn find(pgdata: Option<&Path>) -> Result<Located, Error> {
        let data = match (pgdata, std::env::var_os("PGDATA")) {
            (Some(path), _) => path.to_owned(),
            (None, Some(path)) if !path.is_empty() => path.into(),
            _ => usual_data()?,
        };
        if !data.is_dir() {
            return Err(Error::Refused(format!(
                "{} is no directory: say --pgdata DIR, that of the server's data",
                data.display()
            )));
        }
        let data =
            std::path::absolute(&data).map_err(|error| Error::io("resolve", &data, error))?;
        let started = Started::read(&data);
        let major = DataDir::new(&data, None).major().ok();
        let bin = started.bin.or_else(|| bin_of(major));
        let cluster = debian_cluster(&data);
        let in_etc = cluster.as_ref().map(|(version, name)| {
            Path::new("/etc/postgresql")
                .join(version)
                .join(name)
                .join("postgresql.conf")
        });
        let own = data.join("postgresql.conf");
        let config = match (started.config, in_etc) {
            (Some(config), _) => config,
            (None, Some(in_etc)) if !own.exists() && in_etc.exists() => in_etc,
            _ => own,
        };
        // Only a server that is configured there is one of those.
        let cluster = cluster.filter(|_| {
            config.starts_with("/etc/postgresql") && on_path("pg_ctlcluster").is_some()
        });
        Ok(Located {
            data,
            bin,
            config,
            cluster,
        })
    }

    /// How the server is reached from the same host, as a connect string.
    pub(crate) fn db(&self) -> String {
        let mut settings = Vec::new();
        if let Some((dir, port)) = DataDir::new(&self.data, None).socket() {
            settings.push(("host", dir));
            settings.push(("port", port.to_string()));
        }
        settings.push(("dbname", "postgres".to_owned()));
        merge_connect_string(&settings)
    }

    /// Directory of the configuration, if that is not the data directory.
    pub(crate) fn config_dir(&self) -> Option<&Path> {
        self.config.parent().filter(|dir| *dir != self.data)
    }

    /// The command that has the server do something: `start`, `stop` or `restart`.
    pub(crate) fn command(&self, verb: &str, log: &Path) -> String {
        if let Some((version, name)) = &self.cluster {
            return format!("pg_ctlcluster {version} {name} {verb}");
        }
        let program = match &self.bin {
            Some(bin) => word(&bin.join("pg_ctl")),
            None => "pg_ctl".to_owned(),
        };
        let how = match verb {
            "start" => format!("-l {}", word(log)),
            "stop" => "-m fast".to_owned(),
            _ => format!("-m fast -l {}", word(log)),
        };
        format!("{program} -D {} -w {how} {verb}", word(&self.data))
    }
}

/// How a server was started last, as `postmaster.opts` has it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Started {
    bin: Option<PathBuf>,
    config: Option<PathBuf>,
}

impl Started {
    fn read(data: &Path) -> Started {
        fs::read_to_string(data.join("postmaster.opts"))
            .map(|text| Started::parse(&text))
            .unwrap_or_default()
    }

    /// `/usr/lib/postgresql/15/bin/postgres "-D" "/data" "-c" "config_file=/etc/postgresql.conf"`
    fn parse(text: &str) -> Started {
        let line = text.lines().next().unwrap_or_default();
        let (program, arguments) = line.split_once(" \"").unwrap_or((line, ""));
        // Nothing is escaped between the quotes.
        let words = arguments.trim_end_matches('"').split("\" \"");
        let config = words
            .filter_map(|word| {
                word.trim_start_matches("--")
                    .strip_prefix("config_file=")
                    .or_else(|| word.trim_start_matches("--").strip_prefix("config-file="))
            })
            .last();
        Started {
            bin: Path::new(program)
                .parent()
                .filter(|dir| dir.is_absolute())
                .map(Path::to_owned),
            config: config.map(PathBuf::from),
        }
    }
}

/// Where packages put data: the only one, or a word about all of them.
fn usual_data() -> Result<PathBuf, Error> {
    let mut found = Vec::new();
    for dir in ["/var/lib/postgresql", "/var/lib/pgsql"] {
        let versions = entries(Path::new(dir));
        let below = versions.iter().flat_map(|version| entries(version));
        // /var/lib/postgresql/15/main, /var/lib/pgsql/15/data, /var/lib/pgsql/data
        found.extend(
            below
                .chain(versions.iter().cloned())
                .filter(|dir| dir.join("PG_VERSION").exists()),
        );
    }
    match found.as_slice() {
        [one] => Ok(one.clone()),
        [] => Err(Error::Refused(
            "no data directory is found: say --pgdata DIR".to_owned(),
        )),
        several => {
            let list: Vec<String> = several
                .iter()
                .map(|dir| dir.display().to_string())
                .collect();
            Err(Error::Refused(format!(
                "there are several data directories, say which with --pgdata: {}",
                list.join(", ")
            )))
        }
    }
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// Programs of a version: those that the shell finds, if they are of it, or where packages put them.
fn bin_of(major: Option<u32>) -> Option<PathBuf> {
    let known = on_path("postgres").and_then(|path| path.parent().map(Path::to_owned));
    let Some(major) = major else {
        return known;
    };
    let is_of = |bin: &PathBuf| {
        DataDir::new(Path::new("/"), Some(bin))
            .major_of_programs()
            .is_ok_and(|programs| programs == major)
    };
    let usual = [
        format!("/usr/lib/postgresql/{major}/bin"),
        format!("/usr/pgsql-{major}/bin"),
    ];
    known
        .into_iter()
        .chain(usual.into_iter().map(PathBuf::from))
        .find(is_of)
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|dir| dir.join(program))
        .find(|path| path.is_file())
}

/// A path as a word for the shell.
fn word(path: &Path) -> String {
    let text = path.to_string_lossy().into_owned();
    match shell::is_plain(path.as_os_str()) && !text.contains(' ') {
        true => text,
        false => shell::quote(path).to_string_lossy().into_owned(),
    }
}

/// What stops the server of a data directory, of whose host nothing else is known.
pub(crate) fn stop_command(data: &Path) -> String {
    match debian_cluster(data) {
        Some((version, name)) => format!("pg_ctlcluster {version} {name} stop"),
        None => format!("pg_ctl -D {} -m fast -w stop", word(data)),
    }
}

/// Version and name of `/var/lib/postgresql/15/main`.
fn debian_cluster(data: &Path) -> Option<(String, String)> {
    let rest = data.strip_prefix("/var/lib/postgresql").ok()?;
    let mut parts = rest.iter().map(|part| part.to_string_lossy().into_owned());
    match (parts.next(), parts.next(), parts.next()) {
        (Some(version), Some(name), None) if version.bytes().all(|b| b.is_ascii_digit()) => {
            Some((version, name))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::{Located, Started, debian_cluster};

    #[test]
    fn the_way_a_server_was_started_tells_where_it_is() {
        let started = |text| Started::parse(text);
        assert_eq!(
            started(
                "/usr/lib/postgresql/15/bin/postgres \"-D\" \"/my data\" \"-c\" \
                 \"config_file=/etc/postgresql/15/main/postgresql.conf\"\n"
            ),
            Started {
                bin: Some("/usr/lib/postgresql/15/bin".into()),
                config: Some("/etc/postgresql/15/main/postgresql.conf".into()),
            }
        );
        assert_eq!(
            started("/opt/pg 16/bin/postgres \"--config-file=/x y/p.conf\"\n"),
            Started {
                bin: Some("/opt/pg 16/bin".into()),
                config: Some("/x y/p.conf".into()),
            }
        );
        assert_eq!(started("postgres\n"), Started::default());
        assert_eq!(started(""), Started::default());
    }

    #[test]
    fn commands_are_those_of_the_layout() {
        let mut located = Located {
            data: "/var/lib/postgresql/15/main".into(),
            bin: Some("/opt/pg 15/bin".into()),
            config: "/etc/postgresql/15/main/postgresql.conf".into(),
            cluster: debian_cluster(Path::new("/var/lib/postgresql/15/main")),
        };
        let log = PathBuf::from("/l");
        assert_eq!(located.command("stop", &log), "pg_ctlcluster 15 main stop");
        assert_eq!(
            located.config_dir(),
            Some(Path::new("/etc/postgresql/15/main"))
        );
        located.cluster = None;
        assert_eq!(
            located.command("start", &log),
            "'/opt/pg 15/bin/pg_ctl' -D /var/lib/postgresql/15/main -w -l /l start"
        );
        assert_eq!(
            located.command("stop", &log),
            "'/opt/pg 15/bin/pg_ctl' -D /var/lib/postgresql/15/main -w -m fast stop"
        );
        for other in [
            "/var/lib/postgresql",
            "/var/lib/postgresql/15/main/x",
            "/x/15/main",
        ] {
            assert_eq!(debian_cluster(Path::new(other)), None);
        }
    }
}
