//! `switchover`: master and slave change roles while both are well, and nothing is lost.
//!
//! The master is stopped on its own host, by a command of the configuration or by who is told what to type there.
//! The slave is opened when the master does not answer any more and the WAL that is here ends with the record of its
//! clean shutdown. Until then nothing is changed here.

mod master;

use std::time::{Duration, Instant};

use postgres::types::PgLsn;
use tracing::{info, warn};

use super::Work;
use super::boot::Standby;
use crate::config::SlaveConfig;
use crate::server::shell;
use crate::server::standby::{self, Stream};
use crate::wal_end::{self, Ending};
use crate::{Error, receiver};
use master::Master;

/// Between two looks.
const POLL: Duration = Duration::from_millis(250);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Seconds to wait for the end of the master, and for the last of its WAL
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    timeout: u64,
}

pub(super) fn run(work: &mut Work<'_>, args: &Args) -> Result<(), Error> {
    let config = work.slave("switchover")?;
    let Some(standby) = Standby::find(config, work.options)? else {
        info!("already a primary");
        return Ok(());
    };
    need_a_way_to_tell(config, work.options.force)?;
    let master = Master::ask(config)?;
    master.check(&standby.control)?;
    if work.options.not_really {
        return Ok(skytools::app::output(plan(config, &master, args))?);
    }
    match (&master, &config.switchover_stop_command) {
        (Master::Gone(problem), _) => {
            warn!("the master has been stopped already, or cannot be reached: {problem}");
        }
        (_, Some(command)) => {
            info!(command, "stopping the master");
            shell("switchover_stop_command", command)?;
        }
        (_, None) => {
            let text = what_to_type(config, &master);
            skytools::app::output(format!(
                "{text}Waiting for that, for {} s at most\n",
                args.timeout
            ))?;
        }
    }
    let ending = wait(work, config, &standby, &master, args)?;
    info!(end = %ending.position, "all WAL of the master is here, up to its clean shutdown");
    let end = standby.open(work, config)?;
    check_end(end.as_deref(), ending)?;
    Ok(skytools::app::output(next(&master))?)
}

/// Two masters are worse than none.
fn need_a_way_to_tell(config: &SlaveConfig, force: bool) -> Result<(), Error> {
    if config.primary_conninfo.is_some() || config.boot_check_command.is_some() {
        return Ok(());
    }
    let text = "nobody here can tell whether the master is down: set primary_conninfo, or boot_check_command";
    match force {
        true => warn!("{text}"),
        false => {
            return Err(Error::Refused(format!(
                "{text}; --force takes your word for it"
            )));
        }
    }
    Ok(())
}

/// Waits until the master is down, and all of its WAL is here.
fn wait(
    work: &Work<'_>,
    config: &SlaveConfig,
    standby: &Standby,
    before: &Master,
    args: &Args,
) -> Result<Ending, Error> {
    let begun = Instant::now();
    let mut told = String::new();
    loop {
        // In this order: what a master that is down has written does not change any more.
        let master = Master::ask(config)?;
        let ending = wal_end::find(config, &standby.control)?;
        let problem = match (master.problem(), ending) {
            (Some(problem), _) => problem,
            (None, Some(ending)) if ending.is_shutdown && ending.position >= before.flushed() => {
                return Ok(ending);
            }
            (None, ending) => incomplete(ending, before),
        };
        if problem != told {
            info!("{problem}");
            told.clone_from(&problem);
        }
        if begun.elapsed().as_secs() >= args.timeout || work.context.stop.sleep(POLL) {
            return Err(Error::Refused(format!(
                "{problem}. The slave is as it was: run switchover again, or start the master again"
            )));
        }
    }
}

/// What is missing of the WAL of a master that is down.
fn incomplete(ending: Option<Ending>, before: &Master) -> String {
    let end = match ending {
        Some(ending) if ending.is_shutdown => format!(
            "ends at {}, with a clean shutdown, and the master had got to {}",
            ending.position,
            before.flushed()
        ),
        Some(ending) => format!(
            "ends at {}, without the record of a clean shutdown",
            ending.position
        ),
        None => "is none".to_owned(),
    };
    format!(
        "the master is down, and the WAL that is here {end}: on the master's host, type {}",
        before.sync_command()
    )
}

/// Whether replay ended where the master had ended.
fn check_end(end: Option<&str>, ending: Ending) -> Result<(), Error> {
    let end: Option<PgLsn> = end.and_then(|end| end.parse().ok());
    match end {
        Some(end) if end == ending.position => Ok(()),
        _ => Err(Error::Refused(format!(
            "the server is a primary, and its replay ended at {}, not at {} with the master's shutdown: compare \
             before clients write",
            end.map_or("an unknown place".to_owned(), |end| end.to_string()),
            ending.position
        ))),
    }
}

/// What the administrator of the master does.
fn what_to_type(config: &SlaveConfig, master: &Master) -> String {
    let mut text = format!(
        "Clients are to be away from the master now. On its host, as the user of its server, type:\n  {}\n",
        master.stop_command()
    );
    if !is_streamed(config) {
        text.push_str(&format!("  {}\n", master.sync_command()));
    }
    text
}

/// Whether a server that is shut down waits until the last of its WAL is here.
fn is_streamed(config: &SlaveConfig) -> bool {
    let receives = config.receiver.as_ref();
    let receives = receives.is_some_and(|receiver| receiver::pid(&receiver.dir).is_some());
    receives || matches!(standby::stream(config), Some(Stream::Timeline(_)))
}

/// For `-n`.
fn plan(config: &SlaveConfig, master: &Master, args: &Args) -> String {
    let stop = match (master, &config.switchover_stop_command) {
        (Master::Gone(_), _) => "the master does not answer\n".to_owned(),
        (_, Some(command)) => format!("would run: {command}\n"),
        (_, None) => format!("would say:\n{}", what_to_type(config, master)),
    };
    let check = match &config.boot_check_command {
        Some(command) => format!("would run: {command}\n"),
        None => String::new(),
    };
    format!(
        "{stop}would wait until the master is down and the WAL here ends with its clean shutdown, for {} s at \
         most\n{check}would end recovery and open for writes\n",
        args.timeout
    )
}

/// What is left to be done.
fn next(master: &Master) -> String {
    format!(
        "Next, on the host of the old master, with a slave's file whose slave_data is {} and whose primary_conninfo \
         leads here:\n  walmgr wal-slave.ini setup\n  walmgr wal-slave.ini rejoin\n",
        master.data()
    )
}
