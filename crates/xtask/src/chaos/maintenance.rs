//! A second process that maintains, beside the ticker: what it does must bear company and being killed.

use std::process::ExitCode;
use std::time::Duration;

use pgq::{Error, maintenance};
use skytools::conninfo::ConnInfo;
use skytools::db::Connection;

use crate::Result;
use crate::process::pause;

use super::stage::complain;

/// Maintain without a pause
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Connect string of the database with the queue
    db: ConnInfo,
}

pub(super) fn run(args: &Args) -> Result<ExitCode> {
    loop {
        if let Err(error) = maintain(&args.db) {
            complain(&error);
        }
        pause(Duration::from_millis(200));
    }
}

fn maintain(conninfo: &ConnInfo) -> Result<(), Error> {
    let mut db = Connection::open("db", conninfo)?;
    loop {
        for operation in maintenance::operations(&mut *db)? {
            while operation.run(&mut *db)? {}
        }
        while maintenance::retry_events(&mut *db)? > 0 {}
        pause(Duration::from_millis(70));
    }
}
