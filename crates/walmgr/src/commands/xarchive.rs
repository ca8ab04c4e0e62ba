use std::path::PathBuf;
use std::time::{Duration, Instant};

use skytools::app::chain;
use skytools::failpoint;
use tracing::{debug, warn};

use super::{Work, periodic};
use crate::archive::check_content;
use crate::config::MasterConfig;
use crate::names::{NotAName, WalName};
use crate::page::HEADER;
use crate::server::DataDir;
use crate::slave::{Slave, Source, push, push_all};
use crate::spool::Spool;
use crate::{Error, durable, ready};

/// How long `periodic_command` may hold archiving up.
const PERIODIC_PATIENCE: Duration = Duration::from_secs(30);

/// Files that are sent along with one, at most.
const AHEAD: usize = 32;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Path of the file, as `%p`
    source: PathBuf,
    /// Its name, as `%f`
    #[arg(value_parser = parse_name)]
    name: WalName,
}

pub(super) fn parse_name(text: &str) -> Result<WalName, NotAName> {
    text.parse()
}

pub(super) fn run(work: &mut Work<'_>, args: &Args) -> Result<(), Error> {
    let config = work.master("xarchive")?;
    let begun = Instant::now();
    check(args)?;
    let slave = Slave::new(config)?;
    if work.options.not_really {
        let text = format!("would archive {} on {}\n", args.name, slave.name());
        return Ok(skytools::app::output(text)?);
    }
    archive(config, &slave, args).inspect_err(|_| tell_waiting(config))?;
    // The file is safe now: whatever goes wrong from here on is no reason to send it again. The note is for
    // `status`; what ships WAL asks the slave what it has. So it need not survive a power cut, which would cost as
    // much as the archive's own directory.
    let last = config.data.join(".walshipping.last");
    let new = config.data.join(".walshipping.last.new");
    if let Err(error) = durable::replace_lightly(&last, &new, format!("{}\n", args.name).as_bytes())
    {
        warn!(%error, path = %last.display(), "cannot note the last archived file");
    }
    failpoint::step("xarchive.noted");
    let limit = Some(PERIODIC_PATIENCE);
    if let Err(error) = periodic::run_if_due(config, limit, &work.context.stop) {
        warn!("{}", chain(&error));
    }
    work.context.stats.put("count", 1);
    work.context
        .stats
        .put("duration", begun.elapsed().as_secs_f64());
    Ok(())
}

/// How much WAL piles up here.
fn tell_waiting(config: &MasterConfig) {
    if let Ok(waiting) = ready::waiting(&DataDir::new(&config.data, None).wal())
        && let Some((oldest, age)) = waiting.oldest
    {
        let (files, seconds) = (waiting.count, age.as_secs());
        warn!(
            files,
            oldest, seconds, "WAL waits to be archived, and takes room here"
        );
    }
}

/// Puts the file into the slave's archive, if it is not there.
fn archive(config: &MasterConfig, slave: &Slave, args: &Args) -> Result<(), Error> {
    let spool = match &config.spool {
        // On this host there is no connection to share.
        Some(dir) if !slave.is_here() => Spool::open(dir, slave.address())
            .inspect_err(|error| warn!(%error, path = %dir.display(), "cannot use archive_spool"))
            .ok(),
        _ => None,
    };
    let Some(spool) = spool else {
        return push(slave, args.name, &args.source);
    };
    if spool.take(args.name, &args.source) {
        debug!(name = %args.name, "archived ahead");
        return Ok(());
    }
    let wal = DataDir::new(&config.data, None).wal();
    spool.clean(|name| ready::waits(&wal, name));
    let others = ready::behind(&wal, args.name).unwrap_or_else(|error| {
        warn!("{}", chain(&error));
        Vec::new()
    });
    let others = others
        .into_iter()
        .take(AHEAD)
        .filter(|name| !spool.has(*name))
        .map(|name| Source {
            name,
            path: wal.join(name.to_string()),
        })
        .collect();
    let first = Source {
        name: args.name,
        path: args.source.clone(),
    };
    push_all(slave, first, others, |name, stamp, digest| {
        spool.put(name, stamp, digest);
    })?;
    failpoint::step("xarchive.sent");
    Ok(())
}

/// Whether the file is what its name says, before anything is sent.
fn check(args: &Args) -> Result<(), Error> {
    use std::io::Read;
    let unread = |error| Error::io("read", &args.source, error);
    let file = std::fs::File::open(&args.source).map_err(unread)?;
    let size = file.metadata().map_err(unread)?.len();
    let mut head = Vec::new();
    file.take(HEADER as u64)
        .read_to_end(&mut head)
        .map_err(unread)?;
    check_content(args.name, size, &head)?;
    Ok(())
}
