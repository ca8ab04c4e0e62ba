//! Shipping WAL before its segment is finished.
//!
//! By positions, from a server that runs: what it has flushed and the slave does not have. By files, also from
//! one that is dead: every segment that the slave does not have whole.

mod files;
mod records;
mod there;

use std::io::Read;
use std::path::Path;
use std::time::Instant;

use skytools::daemon::{Context, Work, Worker};
use tracing::info;

pub(crate) use records::Records;
pub(crate) use there::There;

use crate::config::MasterConfig;
use crate::server::DataDir;
use crate::slave::{Link, Slave};
use crate::{Config, Error};

/// Most bytes of one call.
const PIECE: u64 = 16 << 20;

/// What has been shipped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Shipped {
    /// Segments, or parts of them.
    pub(crate) count: u32,
    pub(crate) bytes: u64,
}

/// Ships all that there is, once.
///
/// # Errors
/// Something could not be shipped.
pub(crate) fn once(
    config: &MasterConfig,
    context: &mut Context,
    dry_run: bool,
) -> Result<(), Error> {
    all(
        config,
        &mut Link::new(Slave::new(config)?),
        context,
        dry_run,
    )
}

fn all(
    config: &MasterConfig,
    link: &mut Link,
    context: &mut Context,
    dry_run: bool,
) -> Result<(), Error> {
    let begun = Instant::now();
    let data = DataDir::new(&config.data, config.bin.as_deref());
    let is_alive = data.postmaster()?.is_some();
    let by_records = config.use_wal_functions && is_alive;
    let shipped = match by_records {
        true => Records::new(config)?.ship(link, dry_run)?,
        false => files::ship(config, link, is_alive, dry_run)?,
    };
    context.stats.put("count", i64::from(shipped.count));
    context
        .stats
        .put("bytes", i64::try_from(shipped.bytes).unwrap_or(i64::MAX));
    context.stats.put("duration", begun.elapsed().as_secs_f64());
    Ok(())
}

/// Bytes of a file, from one offset to another; `None` if there is no such file.
fn read_piece(path: &Path, from: u64, to: u64) -> Result<Option<Vec<u8>>, Error> {
    use std::io::{ErrorKind, Seek, SeekFrom};
    let failed = |error| Error::io("read", path, error);
    let mut file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    file.seek(SeekFrom::Start(from)).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(to - from)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    match bytes.len() as u64 == to - from {
        true => Ok(Some(bytes)),
        false => Err(failed(ErrorKind::UnexpectedEof.into())),
    }
}

/// `syncdaemon`: the same again and again.
pub(crate) struct Daemon {
    config: MasterConfig,
    link: Link,
    records: Option<Records>,
}

impl Daemon {
    pub(crate) fn new(config: MasterConfig) -> Result<Daemon, Error> {
        Ok(Daemon {
            link: Link::new(Slave::new(&config)?),
            config,
            records: None,
        })
    }
}

impl Worker for Daemon {
    type Config = Config;
    type Error = Error;

    fn work(&mut self, context: &mut Context) -> Result<Work, Error> {
        if !self.config.use_wal_functions {
            all(&self.config, &mut self.link, context, false)?;
            return Ok(Work::Idle);
        }
        let begun = Instant::now();
        let records = match &mut self.records {
            Some(records) => records,
            none => none.insert(Records::new(&self.config)?),
        };
        let shipped = records.ship(&mut self.link, false)?;
        if shipped.bytes > 0 {
            let bytes = i64::try_from(shipped.bytes).unwrap_or(i64::MAX);
            context.stats.put("count", i64::from(shipped.count));
            context.stats.put("bytes", bytes);
            context.stats.put("duration", begun.elapsed().as_secs_f64());
        }
        Ok(Work::Idle)
    }

    fn recover(&mut self) {
        // What the slave has is asked for again.
        self.records = None;
    }

    fn reload(
        &mut self,
        _common: &skytools::config::CommonConfig,
        config: Config,
    ) -> Result<(), Error> {
        let config = MasterConfig::new(&config)?;
        self.link = Link::new(Slave::new(&config)?);
        self.config = config;
        self.records = None;
        info!("shipping goes on with the new settings");
        Ok(())
    }
}
