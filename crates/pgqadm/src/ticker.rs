//! The ticker: one pass per `loop_delay`, on a connection that holds the ticker's lock.

use std::time::Instant;

use skytools::app::Program;
use skytools::config::CommonConfig;
use skytools::daemon::{Context, Job, Work, Worker};
use skytools::db::{Connection, Database, During};
use tracing::{info, warn};

use crate::maintenance::{self, Maintenance};
use crate::{Args, Config, Error};

/// Ticks and maintains until stopped, or once.
pub(crate) fn run(job: Job<Config>, args: &Args) -> Result<(), Error> {
    let ensure = args.common().ensure;
    Ok(job.run(|job| Ticker::new(job, ensure))?)
}

struct Ticker {
    common: CommonConfig,
    config: Config,
    db: Database,
    once: bool,
    ensure: bool,
    /// Whether the open connection was checked and holds the lock.
    ready: bool,
    /// When to look again whether the other ticker is gone.
    stand_by: Option<Instant>,
    maintenance: Option<Maintenance>,
    /// Ticks since they were last reported.
    ticks: i64,
    reported: Option<Instant>,
}

impl Ticker {
    fn new(job: &Job<Config>, ensure: bool) -> Result<Ticker, Error> {
        Ok(Ticker {
            db: job.config.database(&job.common)?,
            common: job.common.clone(),
            config: job.config.clone(),
            once: job.is_once(),
            ensure,
            ready: false,
            stand_by: None,
            maintenance: None,
            ticks: 0,
            reported: None,
        })
    }

    /// Makes sure that this process may tick. False while another one does.
    fn prepare(&mut self, context: &Context) -> Result<bool, Error> {
        self.ready &= self.db.is_open();
        if self.ready {
            return Ok(true);
        }
        if self.stand_by.is_some_and(|until| Instant::now() < until) {
            return Ok(false);
        }
        let db = self.db.connection()?;
        check_txid(db)?;
        if self.config.ticker_lock && !pgq::lock::try_ticker(&mut **db)? {
            if !self.once {
                warn!("another ticker is running on this database, waiting for its end");
                self.stand_by = Some(Instant::now() + self.config.queue_refresh_period);
            }
            return Ok(false);
        }
        if self.stand_by.take().is_some() {
            info!("the other ticker is gone, taking over");
        }
        self.ready = true;
        if self.maintenance.is_none() && !self.once {
            let stop = context.stop.clone();
            self.maintenance = Some(Maintenance::start(&self.common, &self.config, stop)?);
        }
        Ok(true)
    }

    /// Closes the connection. The lock is given back first: it would outlive the connection by the
    /// moment the server needs to notice, and keep the next one waiting.
    fn disconnect(&mut self) {
        if self.ready && self.db.is_open() {
            let released = self
                .db
                .connection()
                .map_err(Error::from)
                .and_then(|db| Ok(pgq::lock::release_ticker(&mut **db)?));
            if let Err(error) = released {
                warn!(%error, "cannot give back the lock of the ticker");
            }
        }
        self.ready = false;
        self.db.reset();
    }

    fn report(&mut self, context: &mut Context) {
        let delay = self.config.ticker_log_delay;
        if self.reported.is_none_or(|last| last.elapsed() >= delay) {
            context.stats.put("ticks", std::mem::take(&mut self.ticks));
            self.reported = Some(Instant::now());
        }
    }
}

impl Worker for Ticker {
    type Config = Config;
    type Error = Error;

    fn work(&mut self, context: &mut Context) -> Result<Work, Error> {
        if !self.prepare(context)? {
            return match (self.once, self.ensure) {
                (true, true) => Ok(Work::Done),
                (true, false) => Err(Error::AnotherTicker),
                (false, _) => Ok(Work::Idle),
            };
        }
        self.ticks += pgq::admin::ticker(&mut **self.db.connection()?)?;
        self.report(context);
        if self.once {
            maintenance::once(&mut self.config.database(&self.common)?, &context.stop)?;
        }
        // Also after ticks: the next ones are due by time, not because of these.
        Ok(Work::Idle)
    }

    fn recover(&mut self) {
        self.ready = false;
        self.db.reset();
    }

    fn between(&mut self) {
        let lifetime = self.common.connection_lifetime;
        let aged = |db: &Connection| !lifetime.is_zero() && db.age() > lifetime;
        if self.db.is_open() && self.db.connection().is_ok_and(|db| aged(db)) {
            self.disconnect();
        }
    }

    fn reload(&mut self, common: &CommonConfig, config: Config) -> Result<(), Error> {
        let db = config.database(common)?;
        if config.db != self.config.db {
            self.disconnect();
            self.stand_by = None;
            self.db = db;
        }
        // The time to look again may have changed: look at once.
        self.stand_by = self.stand_by.map(|_| Instant::now());
        self.common = common.clone();
        self.config = config;
        if let Some(maintenance) = &self.maintenance {
            maintenance.reload(&self.common, &self.config);
        }
        Ok(())
    }

    fn is_fatal(&self, error: &Error) -> bool {
        matches!(
            error,
            Error::BadTxid | Error::AnotherTicker | Error::NotSet(_) | Error::ConnInfo { .. }
        )
    }
}

/// Refuses a server that is younger than its data: after a dump was restored, new transactions get
/// ids that old ticks take for finished long ago.
fn check_txid(db: &mut Connection) -> Result<(), Error> {
    let row = db
        .query_typed_one("select to_regclass('txid.epoch') is not null", &[])
        .during("look for txid.epoch")?;
    if !row.get::<_, bool>(0) {
        return Ok(());
    }
    let bad = db
        .query_typed(
            "select 1 from txid.epoch where (epoch << 32) | last_value > txid_current()",
            &[],
        )
        .during("compare txid.epoch with the current transaction")?;
    if bad.is_empty() {
        Ok(())
    } else {
        Err(Error::BadTxid)
    }
}
