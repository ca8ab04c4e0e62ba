//! Settings that a standby must not have lower than its master.

use skytools::app::chain;
use tracing::{debug, warn};

use crate::Error;
use crate::config::SlaveConfig;
use crate::server::{DataDir, run};

/// Their names, and what the control file calls them.
const LIMITS: [(&str, &str); 5] = [
    ("max_connections", "max_connections setting"),
    ("max_worker_processes", "max_worker_processes setting"),
    ("max_wal_senders", "max_wal_senders setting"),
    ("max_prepared_transactions", "max_prepared_xacts setting"),
    ("max_locks_per_transaction", "max_locks_per_xact setting"),
];

/// Warns before a server is started that would end, or hold replay, for one of them.
pub(super) fn warn_if_low(config: &SlaveConfig) {
    let data = DataDir::new(&config.data, config.bin.as_deref());
    for (name, key) in LIMITS {
        match compare(config, &data, name, key) {
            Ok((own, master)) if own < master => warn!(
                "{name} is {own} here, and was {master} on the master: unless hot_standby is off, the server does \
                 not replay with less"
            ),
            Ok(_) => {}
            // The server says itself what is wrong with its configuration.
            Err(error) => debug!("{}", chain(&error)),
        }
    }
}

/// The value here, and that of the master.
fn compare(
    config: &SlaveConfig,
    data: &DataDir,
    name: &str,
    key: &str,
) -> Result<(i64, i64), Error> {
    let number = |text: &str| {
        let number = text.trim().parse::<i64>();
        number.map_err(|_| Error::Refused(format!("{name}: '{}' is no number", text.trim())))
    };
    let dir = config.config_dir.as_ref().unwrap_or(&config.data);
    let own = run(data
        .program("postgres")
        .arg("-D")
        .arg(dir)
        .args(["-C", name]))?;
    Ok((number(&own)?, number(&data.control_text(key)?)?))
}
