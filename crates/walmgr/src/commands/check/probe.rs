//! The whole way of a segment, tried out: the server ends one, and it has to arrive.

use std::time::{Duration, Instant};

use skytools::daemon::Stop;
use skytools::db::{Connection, During};

use crate::Error;
use crate::config::MasterConfig;
use crate::names::{Segment, SegmentSize};
use crate::report::Level;
use crate::slave::Slave;

/// Ends the current segment, and waits until it is on the slave. Nothing is written for that: where nothing has
/// happened since the last segment, there is none to send.
pub(super) fn probe(config: &MasterConfig, patience: Duration) -> Result<(Level, String), Error> {
    let mut db = Connection::open("master_db", config.need_db()?)?;
    let row = db
        .query_one(
            "select pg_is_in_recovery(), current_setting('archive_mode') = 'off', \
                    has_function_privilege('pg_switch_wal()', 'execute')",
            &[],
        )
        .during("look at the master")?;
    if row.get(0) || row.get(1) {
        return Ok((Level::Ok, "the server does not archive".to_owned()));
    }
    if !row.get::<_, bool>(2) {
        let text = "the role of master_db may not switch: grant execute on function pg_switch_wal to it, or use \
                    --no-probe";
        return Ok((Level::Warning, text.to_owned()));
    }
    let row = db
        .query_one(
            // Where the segment ended, and the timeline; right at a boundary nothing was there to be ended.
            "select l, (select timeline_id from pg_control_checkpoint()), \
                    (select setting::int8 from pg_settings where name = 'wal_segment_size') \
               from pg_switch_wal() l",
            &[],
        )
        .during("switch to the next segment")?;
    let size = SegmentSize::new(row.get::<_, i64>(2).cast_unsigned())
        .ok_or_else(|| Error::Refused("the size of segments is not known".to_owned()))?;
    let end: postgres::types::PgLsn = row.get(0);
    let end = u64::from(end);
    let last = match end % size.bytes() {
        // Nothing since the segment before.
        0 => end.saturating_sub(1),
        _ => end,
    };
    let timeline = row.get::<_, i32>(1).cast_unsigned();
    let name = Segment::at(timeline, last.into(), size);
    let slave = Slave::new(config)?;
    let begun = Instant::now();
    loop {
        let there = slave.run(&["xwals"], None)?;
        if there.lines().any(|line| line == format!("complete {name}")) {
            let took = begun.elapsed().as_millis();
            return Ok((Level::Ok, format!("{name} is there, after {took} ms")));
        }
        if begun.elapsed() > patience || Stop::default().sleep(Duration::from_millis(500)) {
            return Ok((
                Level::Failed,
                format!("{name} has not arrived within {} s", patience.as_secs()),
            ));
        }
    }
}
