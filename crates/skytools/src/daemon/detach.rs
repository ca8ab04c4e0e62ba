//! Going to the background. The only user of `daemonize`, which nobody maintains; `fork` itself is
//! not callable from safe code.

use std::io;

use daemonize::Daemonize;
use rustix::fs::Mode;

/// Detaches from the terminal. The caller returns in the new process only; the old one ends with
/// code 0 and without clean-up.
///
/// Directory and umask stay, which are not the defaults of `daemonize`: relative paths of the
/// configuration depend on it.
pub(super) fn detach() -> io::Result<()> {
    // There is no call that only reads it. No other thread runs yet.
    let umask = rustix::process::umask(Mode::empty());
    rustix::process::umask(umask);
    Daemonize::new()
        .working_directory(std::env::current_dir()?)
        .umask(umask.bits())
        .start()
        .map_err(io::Error::other)
}

/// Sends the message of a panic, which would go to the closed stderr, to the log.
pub(super) fn log_panics() {
    std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
}
