//! The master, as it can be seen from the slave.

use postgres::types::PgLsn;
use skytools::app::chain;
use skytools::db::{Connection, During};

use crate::Error;
use crate::config::SlaveConfig;
use crate::init::locate;
use crate::server::Control;

/// What is known of the master.
#[derive(Debug)]
pub(super) enum Master {
    /// There is no `primary_conninfo`.
    Unasked,
    Primary(Facts),
    /// It answers, and refuses: it is starting or stopping, or lets nobody in.
    Closed(String),
    /// Nothing answers.
    Gone(String),
}

/// What a primary says of itself.
#[derive(Debug)]
pub(super) struct Facts {
    system_identifier: u64,
    flushed: PgLsn,
    /// What its role may not see is not known.
    data: Option<String>,
    archive_command: Option<String>,
}

impl Master {
    /// Asks the server that `primary_conninfo` leads to.
    ///
    /// # Errors
    /// It is no master.
    pub(super) fn ask(config: &SlaveConfig) -> Result<Master, Error> {
        let Some(conninfo) = &config.primary_conninfo else {
            return Ok(Master::Unasked);
        };
        let facts = conninfo
            .open("primary_conninfo")
            .and_then(|mut db| Facts::of(&mut db));
        match facts {
            Ok(Some(facts)) => Ok(Master::Primary(facts)),
            Ok(None) => Err(Error::Refused(
                "primary_conninfo leads to a server in recovery, and not to the master".to_owned(),
            )),
            Err(Error::Db(error)) => Ok(match error.sql_state() {
                Some(_) => Master::Closed(chain(&error)),
                None => Master::Gone(chain(&error)),
            }),
            Err(error) => Err(error),
        }
    }

    /// Whether the standby is its.
    ///
    /// # Errors
    /// It is of another cluster.
    pub(super) fn check(&self, standby: &Control) -> Result<(), Error> {
        match self {
            Master::Primary(facts) if facts.system_identifier != standby.system_identifier => {
                Err(Error::Refused(format!(
                    "the standby is of system {}, and the master of primary_conninfo of {}",
                    standby.system_identifier, facts.system_identifier
                )))
            }
            _ => Ok(()),
        }
    }

    /// Why it is not down.
    pub(super) fn problem(&self) -> Option<String> {
        match self {
            Master::Primary(_) => Some("the master still runs".to_owned()),
            Master::Closed(said) => Some(format!("the master still answers: {said}")),
            Master::Unasked | Master::Gone(_) => None,
        }
    }

    fn facts(&self) -> Option<&Facts> {
        match self {
            Master::Primary(facts) => Some(facts),
            _ => None,
        }
    }

    /// How far it had got for certain.
    pub(super) fn flushed(&self) -> PgLsn {
        self.facts().map_or(PgLsn::from(0), |facts| facts.flushed)
    }

    pub(super) fn data(&self) -> &str {
        let data = self.facts().and_then(|facts| facts.data.as_deref());
        data.unwrap_or("its data directory")
    }

    /// What stops it in good order, on its host.
    pub(super) fn stop_command(&self) -> String {
        match self.facts().and_then(|facts| facts.data.as_deref()) {
            Some(data) => locate::stop_command(data.as_ref()),
            None => "pg_ctl -D DATA -m fast stop".to_owned(),
        }
    }

    /// What sends the last of its WAL: as it archives itself, if it does.
    pub(super) fn sync_command(&self) -> String {
        let command = self
            .facts()
            .and_then(|facts| facts.archive_command.as_deref());
        let own = command.and_then(|command| command.split(" xarchive ").next());
        match (own, command) {
            (Some(own), Some(command)) if own != command => {
                format!("{} sync", own.replace("%%", "%"))
            }
            _ => "walmgr wal-master.ini sync".to_owned(),
        }
    }
}

impl Facts {
    /// `None` of a server in recovery.
    fn of(db: &mut Connection) -> Result<Option<Facts>, Error> {
        let is_standby: bool = db
            .query_one("select pg_is_in_recovery()", &[])
            .during("look at the master")?
            .get(0);
        if is_standby {
            return Ok(None);
        }
        let row = db
            .query_one(
                "select (select system_identifier from pg_control_system()), \
                        pg_current_wal_flush_lsn(), \
                        (select setting from pg_settings where name = 'data_directory'), \
                        (select setting from pg_settings where name = 'archive_command')",
                &[],
            )
            .during("look at the master")?;
        Ok(Some(Facts {
            system_identifier: row.get::<_, i64>(0).cast_unsigned(),
            flushed: row.get(1),
            data: row.get(2),
            archive_command: row.get(3),
        }))
    }
}
