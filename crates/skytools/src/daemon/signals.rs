//! Signal handlers: a thread that turns signals into requests.

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level;
use tracing::warn;

use super::Stop;
use crate::{log, pidfile};

/// Two of SIGINT closer than this end the process without waiting.
const DOUBLE: Duration = Duration::from_secs(1);

/// Installs the handlers; from here on no signal is lost and none has its default effect.
///
/// SIGPIPE is ignored already, as in every Rust program.
pub(super) fn install(stop: Stop, pidfile: Option<PathBuf>) -> io::Result<()> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    let handle = move || {
        let remove_pidfile = || {
            if let Some(path) = &pidfile {
                pidfile::remove_own(path);
            }
        };
        let mut interrupted: Option<Instant> = None;
        for signal in signals.forever() {
            match signal {
                SIGHUP => {
                    log::request_reopen();
                    stop.request_reload();
                }
                SIGINT => {
                    if interrupted.is_some_and(|before| before.elapsed() < DOUBLE) {
                        remove_pidfile();
                        warn!("Double ^C, fast exit");
                        low_level::exit(1);
                    }
                    interrupted = Some(Instant::now());
                    stop.request();
                }
                // SIGTERM. No lock may be taken here: work may hold it.
                _ => {
                    remove_pidfile();
                    // Dies of it, so that the wait status tells; it returns only for an unknown
                    // signal.
                    let _ = low_level::emulate_default_handler(signal);
                }
            }
        }
    };
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(handle)?;
    Ok(())
}
