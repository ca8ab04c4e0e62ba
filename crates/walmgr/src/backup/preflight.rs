//! What has to be in order before a backup begins.

use skytools::db::{Connection, During};
use tracing::warn;

use crate::Error;
use crate::config::MasterConfig;
use crate::names::SegmentSize;
use crate::server::DataDir;

/// The server that is backed up.
#[derive(Debug, Clone)]
pub(super) struct Master {
    pub(super) system_identifier: u64,
    pub(super) segment_size: SegmentSize,
    pub(super) version: String,
    /// Of all tablespaces.
    pub(super) bytes: u64,
}

/// Looks at the server; changes nothing.
pub(super) fn check(
    db: &mut Connection,
    config: &MasterConfig,
    force: bool,
) -> Result<Master, Error> {
    let row = db
        .query_one(
            "select pg_is_in_recovery(), current_setting('archive_mode'), \
                    current_setting('archive_command'), current_setting('server_version'), \
                    (select system_identifier from pg_control_system()), \
                    (select setting::int8 from pg_settings where name = 'wal_segment_size'), \
                    (select sum(pg_tablespace_size(oid))::int8 from pg_tablespace), \
                    (select last_failed_time > coalesce(last_archived_time, '-infinity') \
                       from pg_stat_archiver), \
                    current_setting('data_directory')",
            &[],
        )
        .during("look at the master")?;
    let refuse = |text: String| Err(Error::Refused(text));
    if row.get(0) {
        return refuse("master_db is in recovery: it is a standby, and no master".to_owned());
    }
    let (mode, command): (String, String) = (row.get(1), row.get(2));
    if mode == "off" {
        return refuse("archive_mode is off: run setup, and restart the master".to_owned());
    }
    if !command.contains("xarchive") {
        return refuse(format!(
            "archive_command is '{command}', so WAL of the backup would not get to the slave: run setup"
        ));
    }
    let is_failing: Option<bool> = row.get(7);
    if is_failing == Some(true) {
        let text = "archiving fails, so the backup's WAL would not get to the slave: see the log of the \
                    master";
        match force {
            true => warn!("{text}"),
            false => return refuse(format!("{text}; --force tries it all the same")),
        }
    }
    let identifier: i64 = row.get(4);
    let system_identifier = identifier.cast_unsigned();
    // `master_data` is what is copied: it must be the directory of the server that was asked.
    let control = DataDir::new(&config.data, config.bin.as_deref()).control()?;
    if control.system_identifier != system_identifier {
        return refuse(format!(
            "master_data ({}) is not the data directory of the server of master_db ({})",
            config.data.display(),
            row.get::<_, String>(8)
        ));
    }
    let segment_size: i64 = row.get(5);
    let size = SegmentSize::new(segment_size.cast_unsigned());
    let bytes: Option<i64> = row.get(6);
    Ok(Master {
        system_identifier,
        segment_size: size.ok_or_else(|| {
            Error::Refused(format!("segments of {segment_size} bytes are not known"))
        })?,
        version: row.get(3),
        bytes: bytes.unwrap_or_default().cast_unsigned(),
    })
}

/// Looks at a standby that is to be copied; changes nothing.
pub(super) fn look_at_standby(db: &mut Connection) -> Result<Master, Error> {
    let row = db
        .query_one(
            "select pg_is_in_recovery(), current_setting('server_version'), \
                    (select system_identifier from pg_control_system()), \
                    (select setting::int8 from pg_settings where name = 'wal_segment_size'), \
                    (select sum(pg_tablespace_size(oid))::int8 from pg_tablespace)",
            &[],
        )
        .during("look at the standby")?;
    if !row.get::<_, bool>(0) {
        return Err(Error::Refused(
            "the server of slave_data is a primary, and no standby: back it up with a master's configuration"
                .to_owned(),
        ));
    }
    let segment_size: i64 = row.get(3);
    let size = SegmentSize::new(segment_size.cast_unsigned());
    Ok(Master {
        system_identifier: row.get::<_, i64>(2).cast_unsigned(),
        segment_size: size.ok_or_else(|| {
            Error::Refused(format!("segments of {segment_size} bytes are not known"))
        })?,
        version: row.get(1),
        bytes: row
            .get::<_, Option<i64>>(4)
            .unwrap_or_default()
            .cast_unsigned(),
    })
}
