//! The password for streaming, in `.pgpass`.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use skytools::app::output;
use skytools::conninfo::parse_connect_string;

use crate::{Error, durable};

/// What a line is for: `HOST:PORT:replication:USER`.
fn subject(conninfo: Option<&str>) -> Result<String, Error> {
    let conninfo = conninfo.ok_or_else(|| {
        Error::Refused("nobody says whom the password is for: say --primary-conninfo".to_owned())
    })?;
    let settings = parse_connect_string(conninfo)
        .map_err(|error| Error::Refused(format!("primary_conninfo: {error}")))?;
    let find = |name: &str| {
        settings
            .iter()
            .rev()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    };
    let (Some(host), Some(user)) = (find("host"), find("user")) else {
        return Err(Error::Refused(
            "primary_conninfo needs host and user for a password".to_owned(),
        ));
    };
    let port = find("port").unwrap_or("5432");
    let parts = [host, port, "replication", user].map(escape);
    Ok(parts.join(":"))
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace(':', "\\:")
}

/// Remembers the password that is the first line of a file.
///
/// # Errors
/// There is none in the file, or it cannot be written.
pub(crate) fn add(
    home: &Path,
    conninfo: Option<&str>,
    file: &Path,
    dry_run: bool,
) -> Result<(), Error> {
    let subject = subject(conninfo)?;
    let text = fs::read_to_string(file).map_err(|error| Error::io("read", file, error))?;
    let password = text.lines().next().unwrap_or_default();
    if password.is_empty() {
        return Err(Error::Refused(format!(
            "{} has no password in its first line",
            file.display()
        )));
    }
    let line = format!("{subject}:{}", escape(password));
    change(home, dry_run, |old| {
        let others = old.lines().filter(|line| !is_for(line, &subject));
        // The first line that fits counts, and others may fit everybody.
        std::iter::once(line.as_str())
            .chain(others)
            .map(|line| format!("{line}\n"))
            .collect()
    })
}

/// Forgets it.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn remove(home: &Path, conninfo: Option<&str>, dry_run: bool) -> Result<(), Error> {
    let subject = subject(conninfo)?;
    change(home, dry_run, |old| {
        let others = old.lines().filter(|line| !is_for(line, &subject));
        others.map(|line| format!("{line}\n")).collect()
    })
}

fn is_for(line: &str, subject: &str) -> bool {
    line.strip_prefix(subject)
        .is_some_and(|rest| rest.starts_with(':'))
}

fn change(home: &Path, dry_run: bool, edit: impl Fn(&str) -> String) -> Result<(), Error> {
    let path = match std::env::var_os("PGPASSFILE") {
        Some(path) if !path.is_empty() => path.into(),
        _ => home.join(".pgpass"),
    };
    let old = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => return Err(Error::io("read", &path, error)),
    };
    let new = edit(&old);
    if new == old {
        return Ok(());
    }
    if dry_run {
        return Ok(output(format!("would change {}\n", path.display()))?);
    }
    // For its owner alone, or the server does not read it.
    durable::write(&path, new.as_bytes()).map_err(|error| Error::io("write", &path, error))
}

#[cfg(test)]
mod tests {
    use super::{is_for, subject};

    #[test]
    fn a_line_is_for_one_server_and_one_user() {
        let of = |text| subject(Some(text)).map_err(|error| error.to_string());
        assert_eq!(
            of("host=db1 port=5433 user='r:e\\\\p' application_name=x").as_deref(),
            Ok("db1:5433:replication:r\\:e\\\\p")
        );
        let plain = of("host=db1 user=rep").expect("complete");
        assert!(is_for("db1:5432:replication:rep:secret", &plain));
        assert!(!is_for("db1:5432:replication:reporter:secret", &plain));
        for short in ["host=db1", "user=rep", "host"] {
            assert!(of(short).is_err(), "{short}");
        }
        assert!(subject(None).is_err());
    }
}
