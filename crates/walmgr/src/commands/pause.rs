use skytools::app::chain;
use skytools::db::{Connection, During};
use tracing::{info, warn};

use super::Work;
use crate::Error;
use crate::config::SlaveConfig;
use crate::control::Signal;
use crate::server::DataDir;

/// A connection to the standby, if it takes some.
pub(super) fn connect(config: &SlaveConfig) -> Option<Connection> {
    let (dir, port) = DataDir::new(&config.data, config.bin.as_deref()).socket()?;
    let conninfo = format!("host='{dir}' port={port} dbname=postgres connect_timeout=5");
    let conninfo = conninfo.parse().ok()?;
    match Connection::open("standby", &conninfo) {
        Ok(db) => Some(db),
        Err(error) => {
            tracing::debug!("{}", chain(&error));
            None
        }
    }
}

/// `pause`
pub(super) fn pause(work: &mut Work<'_>) -> Result<(), Error> {
    let config = work.slave("pause")?;
    let data = DataDir::new(&config.data, config.bin.as_deref());
    if data.path.exists() && !data.is_standby() {
        return Err(Error::Refused(format!(
            "{} is not in recovery, so there is nothing to pause",
            data.path.display()
        )));
    }
    if work.options.not_really {
        return Ok(skytools::app::output("would hold replay\n")?);
    }
    Signal::Pause.raise(&config.completed_wals)?;
    if let Some(mut db) = connect(config) {
        db.batch_execute("select pg_wal_replay_pause()")
            .during("pause replay")?;
    }
    info!("replay is held; WAL that the master sends is kept, and takes room, until continue");
    Ok(())
}

/// `continue`
pub(super) fn go_on(work: &mut Work<'_>) -> Result<(), Error> {
    let config = work.slave("continue")?;
    if work.options.not_really {
        return Ok(skytools::app::output("would go on with replay\n")?);
    }
    Signal::Pause.lower(&config.completed_wals)?;
    resume(config);
    info!("replay goes on");
    Ok(())
}

/// Has a standby that was paused in SQL, too, go on.
pub(super) fn resume(config: &SlaveConfig) {
    if let Some(mut db) = connect(config) {
        let resumed = db
            .batch_execute("select pg_wal_replay_resume() where pg_is_in_recovery()")
            .during("resume replay");
        if let Err(error) = resumed {
            warn!("{}", chain(&error));
        }
    }
}
