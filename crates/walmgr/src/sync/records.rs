//! By positions: what the server has flushed.
//!
//! Never more than that: after a crash the server may write something else there. Names are computed here, since
//! the server's own functions answer with the segment before at a boundary.

use std::path::PathBuf;

use postgres::types::PgLsn;
use skytools::db::{Connection, During};
use tracing::{debug, info};

use super::there::There;
use super::{PIECE, Shipped, read_piece};
use crate::Error;
use crate::config::MasterConfig;
use crate::names::{Segment, SegmentSize};
use crate::partial::Taken;
use crate::server::DataDir;
use crate::slave::{Link, Slave};

/// A connection, and how far the slave is.
pub(crate) struct Records {
    db: Connection,
    wal: PathBuf,
    size: SegmentSize,
    /// Timeline and position up to which the slave has everything; `None` until it was asked.
    shipped: Option<(u32, PgLsn)>,
}

impl Records {
    pub(crate) fn new(config: &MasterConfig) -> Result<Records, Error> {
        let mut db = Connection::open("master_db", config.need_db()?)?;
        let bytes: i64 = db
            .query_one(
                "select setting::int8 from pg_settings where name = 'wal_segment_size'",
                &[],
            )
            .during("ask for the size of segments")?
            .get(0);
        let size = SegmentSize::new(bytes.cast_unsigned())
            .ok_or_else(|| Error::Refused(format!("segments of {bytes} bytes are not known")))?;
        Ok(Records {
            db,
            wal: DataDir::new(&config.data, None).wal(),
            size,
            shipped: None,
        })
    }

    /// Ships all that is flushed.
    pub(crate) fn ship(&mut self, link: &mut Link, dry_run: bool) -> Result<Shipped, Error> {
        let row = self
            .db
            .query_one(
                "select pg_current_wal_flush_lsn(), \
                        substr(pg_walfile_name(pg_current_wal_flush_lsn()), 1, 8)",
                &[],
            )
            .during("ask for the position")?;
        let flushed: PgLsn = row.get(0);
        let timeline = u32::from_str_radix(row.get(1), 16)
            .map_err(|_| Error::Refused("the server names no timeline".to_owned()))?;
        let mut position = match self.shipped {
            Some((known, position)) if known == timeline && position <= flushed => position,
            _ => self.begin(link.slave(), timeline, flushed)?,
        };
        let mut shipped = Shipped::default();
        while position < flushed {
            let segment = Segment::at(timeline, position, self.size);
            let start = u64::from(segment.start(self.size));
            let offset = u64::from(position) - start;
            let end = self
                .size
                .bytes()
                .min(u64::from(flushed) - start)
                .min(offset + PIECE);
            if dry_run {
                info!(%segment, offset, bytes = end - offset, "would be sent");
                position = PgLsn::from(start + end);
                continue;
            }
            let path = self.wal.join(segment.to_string());
            let next = match read_piece(&path, offset, end)? {
                // Recycled, which happens only after it was archived.
                None => self.size.bytes(),
                Some(bytes) => match link.send(segment, offset, &bytes)? {
                    Taken::Stored => {
                        shipped.count += 1;
                        shipped.bytes += end - offset;
                        end
                    }
                    Taken::Complete => end,
                },
            };
            position = PgLsn::from(start + next);
            self.shipped = Some((timeline, position));
        }
        if !dry_run {
            self.shipped = Some((timeline, position));
        }
        Ok(shipped)
    }

    /// Where to begin: after what the slave has.
    fn begin(&self, slave: &Slave, timeline: u32, flushed: PgLsn) -> Result<PgLsn, Error> {
        let there = There::ask(slave)?;
        let current = Segment::at(timeline, flushed, self.size);
        let first = match there.newest(timeline) {
            Some(newest) => Segment::numbered(timeline, newest.number(self.size) + 1, self.size),
            None => current,
        };
        let first = first.min(current);
        debug!(%first, %current, "the slave has what is before");
        Ok(first.start(self.size))
    }
}
