use std::time::{Duration, Instant};

use skytools::app::chain;
use skytools::daemon::Stop;
use skytools::db::{Connection, During};
use tracing::{info, warn};

use super::Work;
use crate::Error;
use crate::config::SlaveConfig;
use crate::control::Signal;
use crate::server::DataDir;
use crate::server::standby::connect;

/// How long the server may take for one record.
const PATIENCE: Duration = Duration::from_secs(10);

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
        wait_until_paused(&mut db, &work.context.stop)?;
    }
    info!("replay is held; WAL that the master sends is kept, and takes room, until continue");
    Ok(())
}

/// Replay is held after the record that it is at.
fn wait_until_paused(db: &mut Connection, stop: &Stop) -> Result<(), Error> {
    let begun = Instant::now();
    loop {
        let state: String = db
            .query_one("select pg_get_wal_replay_pause_state()", &[])
            .during("look whether replay is held")?
            .get(0);
        if state == "paused" {
            return Ok(());
        }
        if begun.elapsed() > PATIENCE || stop.sleep(Duration::from_millis(50)) {
            warn!(
                "the standby has been told, and does not say yet that it holds replay: see status"
            );
            return Ok(());
        }
    }
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
