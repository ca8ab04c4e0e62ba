//! The settings of recovery, in `postgresql.auto.conf`, which counts whatever other files say.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use super::{PointInTime, Purpose};
use crate::config::SlaveConfig;
use crate::server::{command, conf};
use crate::{Error, durable};

/// Settings of the master that would be wrong here.
fn is_unwanted(name: &str) -> bool {
    name.starts_with("recovery_target")
        || matches!(
            name,
            "restore_command"
                | "archive_cleanup_command"
                | "recovery_end_command"
                | "primary_conninfo"
                | "primary_slot_name"
                | "synchronous_standby_names"
                | "wal_retrieve_retry_interval"
                | "archive_command"
                | "archive_library"
        )
}

/// Writes the settings of a standby, or of a recovery up to a target, and the file that makes it one.
pub(super) fn write(
    ready: &Path,
    config: &SlaveConfig,
    point: &PointInTime,
    purpose: Purpose,
) -> Result<(), Error> {
    let path = ready.join("postgresql.auto.conf");
    let old = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => return Err(Error::io("read", &path, error)),
    };
    let fetch = match point.use_partial {
        true => "xrestore --use-partial %f \"%p\" %r",
        false => "xrestore %f \"%p\" %r",
    };
    let mut settings = vec![
        ("restore_command", command::own(&config.path, fetch)?),
        (
            "wal_retrieve_retry_interval",
            config.wal_poll_interval.clone(),
        ),
        ("archive_command", config.boot_archive_command.clone()),
    ];
    if point.is_wanted() {
        settings.extend(point.settings());
    } else {
        if purpose == Purpose::Standby {
            let cleanup = command::own(&config.path, "xcleanup %r")?;
            settings.push(("archive_cleanup_command", cleanup));
        }
        settings.push(("recovery_target_timeline", "latest".to_owned()));
        let conninfo = config.primary_conninfo.as_ref();
        let conninfo = conninfo.map(|conninfo| conninfo.text().to_owned());
        for (name, value) in [
            ("primary_conninfo", conninfo),
            ("primary_slot_name", config.primary_slot.clone()),
        ] {
            settings.extend(value.map(|value| (name, value)));
        }
    }
    let mut text = conf::without(&old, |line| is_unwanted(&line.name));
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    for (name, value) in settings {
        text.push_str(&format!("{name} = {}\n", conf::quote(&value)));
    }
    durable::write(&path, text.as_bytes()).map_err(|error| Error::io("write", &path, error))?;
    // Never both: after the end of recovery the second would be left, and begin it again.
    let signal = ready.join(match point.is_wanted() {
        true => "recovery.signal",
        false => "standby.signal",
    });
    durable::write(&signal, b"").map_err(|error| Error::io("write", &signal, error))
}
