mod fence;

use std::fs;
use std::time::{Duration, Instant};

use skytools::failpoint;
use tracing::{info, warn};

use super::{Work, pause};
use crate::archive::{Identity, Listing};
use crate::args::Options;
use crate::config::SlaveConfig;
use crate::control::{self, Signal};
use crate::names::{Segment, WalName};
use crate::server::{Control, DataDir, ServerState, run as run_program};
use crate::{Error, page, receiver};

pub(super) fn run(work: &mut Work<'_>) -> Result<(), Error> {
    let config = work.slave("boot")?;
    let Some(standby) = Standby::find(config, work.options)? else {
        info!("already a primary");
        return Ok(());
    };
    if work.options.not_really {
        fence::check(config, work.options)?;
        return Ok(skytools::app::output(
            "would end recovery and open for writes\n",
        )?);
    }
    standby.open(work, config).map(|_| ())
}

/// A server that recovers, and that nothing is missing for.
pub(super) struct Standby {
    pub(super) data: DataDir,
    pub(super) control: Control,
}

impl Standby {
    /// The server of the slave; `None` if it is a primary already.
    ///
    /// # Errors
    /// None runs, or it would be opened without WAL that is here.
    pub(super) fn find(config: &SlaveConfig, options: &Options) -> Result<Option<Standby>, Error> {
        let data = DataDir::new(&config.data, config.bin.as_deref());
        if data.postmaster()?.is_none() {
            return Err(Error::Refused(format!(
                "no server runs in {}: restore first, or start it",
                data.path.display()
            )));
        }
        let control = data.control()?;
        if control.state == ServerState::InProduction {
            return Ok(None);
        }
        if let Some(problem) = gap(config, &control)? {
            match options.force {
                true => warn!("{problem}"),
                false => {
                    return Err(Error::Refused(format!(
                        "{problem}; --force opens without what comes after it"
                    )));
                }
            }
        }
        Ok(Some(Standby { data, control }))
    }

    /// Ends recovery, after all WAL that is here; where that was, if the server says it.
    ///
    /// # Errors
    /// The master is alive, or the server does not end recovery.
    pub(super) fn open(
        &self,
        work: &Work<'_>,
        config: &SlaveConfig,
    ) -> Result<Option<String>, Error> {
        fence::check(config, work.options)?;
        // Paused, it would open without WAL that is here.
        Signal::Pause.lower(&config.completed_wals)?;
        pause::resume(config);
        Signal::Stop.raise(&config.completed_wals)?;
        failpoint::step("boot.stop");
        // Raised, the signal keeps another one from being started.
        if let Some(receiver) = &config.receiver {
            receiver::end(&receiver.dir)?;
        }
        // The server ends recovery after a request that finds nothing: not after one that has not seen the signal.
        control::wait_for_requests(
            &config.completed_wals,
            config.boot_timeout,
            &work.context.stop,
        )?;
        promote(config, &self.data, work)?;
        let (old, new) = (self.control.timeline, newest_history(&self.data));
        let end = new.and_then(|timeline| end_of_replay(&self.data, timeline));
        info!(
            old_timeline = old,
            new_timeline = new,
            end,
            "the server is a primary now; all before the end of replay is there"
        );
        warn!(
            "it does not archive: point clients here, then run setup with a master's configuration, and take a \
             base backup"
        );
        Ok(end)
    }
}

/// Asks for the promotion until the server has reached a state where it takes the request, and waits for its
/// end. The server replays all WAL that it can get before.
fn promote(config: &SlaveConfig, data: &DataDir, work: &Work<'_>) -> Result<(), Error> {
    let begun = Instant::now();
    let seconds = config.boot_timeout.as_secs().max(1).to_string();
    loop {
        let mut command = data.program("pg_ctl");
        command
            .args(["-D".as_ref(), data.path.as_os_str()])
            .args(["-w", "-t", &seconds, "promote"]);
        let said = run_program(&mut command);
        if data.control()?.state == ServerState::InProduction {
            return Ok(());
        }
        let problem = match said {
            Ok(text) => text,
            Err(error) => skytools::app::chain(&error),
        };
        if data.postmaster()?.is_none() {
            return Err(Error::Refused(format!(
                "the server in {} has ended instead: {}. Its log tells whether WAL of the backup is missing",
                data.path.display(),
                problem.trim()
            )));
        }
        if begun.elapsed() > config.boot_timeout
            || work.context.stop.sleep(Duration::from_millis(500))
        {
            return Err(Error::Refused(format!(
                "the server in {} is still in recovery; it may be done later: {}",
                data.path.display(),
                problem.trim()
            )));
        }
    }
}

/// The timeline of the newest history that the server has: its own, from the moment on that it is a primary. The
/// control file tells only at the next checkpoint.
fn newest_history(data: &DataDir) -> Option<u32> {
    let listing = Listing::read(&data.wal()).ok()?;
    let histories = listing.names().filter_map(|name| match name {
        WalName::History(timeline) => Some(timeline),
        _ => None,
    });
    histories.max()
}

/// Where the old timeline ended, as the history of the new one says.
fn end_of_replay(data: &DataDir, timeline: u32) -> Option<String> {
    let path = data.wal().join(WalName::History(timeline).to_string());
    let text = fs::read_to_string(path).ok()?;
    let parent = text.lines().rfind(|line| !line.trim().is_empty())?;
    parent.split_whitespace().nth(1).map(str::to_owned)
}

/// WAL that is missing although later WAL is there, from the server's restart point on.
fn gap(config: &SlaveConfig, control: &Control) -> Result<Option<String>, Error> {
    let Some(identity) = Identity::read(&config.completed_wals)? else {
        return Ok(None);
    };
    let size = identity.segment_size;
    let (restart, timeline) = (control.redo_segment(size), control.timeline);
    let listing = receiver::all_wal(config)?;
    let partial = match config.partial_wals.is_dir() {
        true => Listing::read(&config.partial_wals)?,
        false => Listing::default(),
    };
    let of_timeline = |segment: &Segment| segment.timeline == timeline;
    let unfinished = listing.names().filter_map(|name| match name {
        WalName::Partial(segment) => Some(segment),
        _ => None,
    });
    let beyond: Vec<Segment> = partial
        .segments()
        .chain(unfinished)
        .filter(of_timeline)
        .collect();
    let last = listing
        .segments()
        .filter(of_timeline)
        .chain(beyond.iter().copied())
        .max();
    let Some(last) = last.filter(|last| *last > restart) else {
        return Ok(None);
    };
    let wal = DataDir::new(&config.data, None).wal();
    // The server may have got it by streaming, and replayed it. It also keeps old files under names to come.
    let has_streamed =
        |segment: &Segment| page::valid_length(&wal.join(segment.to_string()), *segment).is_some();
    let missing = (restart.number(size)..last.number(size))
        .map(|number| Segment::numbered(timeline, number, size))
        .find(|segment| {
            !listing.has(*segment) && !beyond.contains(segment) && !has_streamed(segment)
        });
    Ok(missing.map(|missing| {
        format!("{missing} is missing in the archive, although WAL up to {last} is there")
    }))
}
