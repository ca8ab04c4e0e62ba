//! Making sure before a promotion that there will not be two masters.

use skytools::app::chain;
use skytools::db::During;
use tracing::{debug, info, warn};

use crate::Error;
use crate::args::Options;
use crate::config::{Conninfo, SlaveConfig};
use crate::server::shell;

/// Runs what the configuration says, and asks the master itself.
///
/// # Errors
/// The command fails, or the master is alive.
pub(super) fn check(config: &SlaveConfig, options: &Options) -> Result<(), Error> {
    match &config.boot_check_command {
        Some(command) if options.not_really => {
            skytools::app::output(format!("would run: {command}\n"))?;
        }
        Some(command) => {
            info!(command, "making sure that the master is gone");
            shell("boot_check_command", command).map_err(|error| {
                Error::Refused(format!(
                    "{}: nothing is opened; --set boot_check_command= opens without asking",
                    chain(&error)
                ))
            })?;
        }
        None => {}
    }
    let Some(conninfo) = &config.primary_conninfo else {
        return Ok(());
    };
    if !is_primary(conninfo) {
        return Ok(());
    }
    let text = "the master of primary_conninfo is alive, and a primary: stop it";
    match options.force {
        true => warn!("{text}"),
        false => return Err(Error::Refused(format!("{text}, or use --force"))),
    }
    Ok(())
}

/// Whether a server answers, and says that it is a primary.
fn is_primary(conninfo: &Conninfo) -> bool {
    let asked = conninfo.open("primary_conninfo").and_then(|mut db| {
        let row = db.query_one("select pg_is_in_recovery()", &[]);
        Ok(!row.during("ask the master")?.get::<_, bool>(0))
    });
    asked.unwrap_or_else(|error| {
        // As it has to be.
        debug!("{}", chain(&error));
        false
    })
}
