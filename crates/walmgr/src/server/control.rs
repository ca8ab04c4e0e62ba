//! `global/pg_control`: what the server knows of itself when it does not run.
//!
//! Read here, and not by `pg_controldata`: it is asked for at moments when no program should be missing. Only its
//! beginning is used, which is the same in all versions. Source: `ControlFileData` and `CheckPoint` of the
//! server's `catalog/pg_control.h`, in the byte order of the machine.

use std::fs;
use std::path::Path;
use std::time::Duration;

use postgres::types::PgLsn;
use skytools::daemon::Stop;

use crate::Error;
use crate::names::{Segment, SegmentSize};

/// `pg_control_version` of PostgreSQL 12 to 18.
const VERSIONS: [u32; 4] = [1201, 1300, 1700, 1800];

/// Bytes that hold what is read here.
const BEGINNING: usize = 56;

/// State of a cluster, as its control file has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ServerState {
    /// Accepts writes, or did when it died.
    InProduction,
    ShutDown,
    ShutDownInRecovery,
    InRecovery,
    /// On its way from one to another.
    Other,
}

/// What the control file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Control {
    pub(crate) system_identifier: u64,
    pub(crate) state: ServerState,
    /// Timeline of the last checkpoint.
    pub(crate) timeline: u32,
    /// Where the record of the last checkpoint is.
    checkpoint: PgLsn,
    /// Where recovery from it begins.
    redo: PgLsn,
}

impl Control {
    /// Reads the file of a data directory, also while its server writes it.
    ///
    /// # Errors
    /// It cannot be read, or is of a version that is not known.
    pub(super) fn read(data: &Path) -> Result<Control, Error> {
        let path = data.join("global/pg_control");
        let read = || fs::read(&path).map_err(|error| Error::io("read", &path, error));
        // Half of an old and half of a new one would be neither.
        let mut bytes = read()?;
        loop {
            let again = read()?;
            if again == bytes {
                break;
            }
            bytes = again;
            Stop::default().sleep(Duration::from_millis(5));
        }
        Control::parse(&bytes).ok_or_else(|| {
            Error::Refused(format!(
                "{} is no control file of PostgreSQL 12 to 18",
                path.display()
            ))
        })
    }

    fn parse(bytes: &[u8]) -> Option<Control> {
        let bytes = bytes.get(..BEGINNING)?;
        let four = |at: usize| Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let eight = |at: usize| Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        if !VERSIONS.contains(&four(8)?) {
            return None;
        }
        Some(Control {
            system_identifier: eight(0)?,
            state: match four(16)? {
                1 => ServerState::ShutDown,
                2 => ServerState::ShutDownInRecovery,
                5 => ServerState::InRecovery,
                6 => ServerState::InProduction,
                _ => ServerState::Other,
            },
            checkpoint: eight(32)?.into(),
            redo: eight(40)?.into(),
            timeline: four(48)?,
        })
    }

    /// Where the server begins to replay when it starts.
    pub(crate) fn redo(&self) -> PgLsn {
        self.redo
    }

    /// First segment that the server needs to start.
    pub(crate) fn redo_segment(&self, size: SegmentSize) -> Segment {
        Segment::at(self.timeline, self.redo, size)
    }

    /// Whether the last checkpoint is before a position where a record ends.
    pub(crate) fn is_before(&self, position: PgLsn) -> bool {
        self.checkpoint < position
    }

    /// Segment of the last checkpoint: of a server that was shut down cleanly, the last one with WAL.
    pub(crate) fn checkpoint_segment(&self, size: SegmentSize) -> Segment {
        Segment::at(self.timeline, self.checkpoint, size)
    }
}

#[cfg(test)]
mod tests {
    use testkit::{Cluster, Shutdown, TestResult};

    use super::{Control, ServerState};

    #[test]
    fn the_file_says_what_the_server_says() -> TestResult {
        let mut cluster = Cluster::start()?;
        let mut db = cluster.connect("postgres")?;
        db.batch_execute("checkpoint")?;
        let row = db.query_one(
            "select system_identifier, checkpoint_lsn, redo_lsn, timeline_id \
               from pg_control_system(), pg_control_checkpoint()",
            &[],
        )?;
        let control = Control::read(&cluster.data_dir())?;
        assert_eq!(
            control.system_identifier,
            row.get::<_, i64>(0).cast_unsigned()
        );
        assert_eq!((control.checkpoint, control.redo), (row.get(1), row.get(2)));
        assert_eq!(control.timeline, row.get::<_, i32>(3).cast_unsigned());
        assert_eq!(control.state, ServerState::InProduction);
        drop(db);
        cluster.stop(Shutdown::Fast)?;
        let control = Control::read(&cluster.data_dir())?;
        assert_eq!(control.state, ServerState::ShutDown);
        assert_eq!(control.checkpoint, control.redo);
        Ok(())
    }

    #[test]
    fn what_is_no_control_file_says_nothing() {
        for bytes in [&[][..], &[0; 55], &[0; 8192], &[0xFF; 8192]] {
            assert_eq!(Control::parse(bytes), None);
        }
    }
}
