//! Running other programs, and being interrupted meanwhile.

use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::Result;

/// Whether somebody asked us to end: Ctrl-C, SIGTERM or a closed terminal.
///
/// While it lives these signals end nothing by themselves, so that there is a chance to clean up.
#[derive(Debug, Clone)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Starts listening.
    pub(crate) fn listen() -> Result<Interrupt> {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [
            signal_hook::consts::SIGINT,
            signal_hook::consts::SIGTERM,
            signal_hook::consts::SIGHUP,
        ] {
            signal_hook::flag::register(signal, Arc::clone(&flag))?;
        }
        Ok(Interrupt(flag))
    }

    /// Whether a signal has come.
    pub(crate) fn requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Fails once a signal has come.
    pub(crate) fn check(&self) -> Result {
        if self.requested() {
            return Err("interrupted".into());
        }
        Ok(())
    }
}

/// Runs a command to its end; an interrupt is passed on to it.
pub(crate) fn run(command: &mut Command, interrupt: &Interrupt) -> Result<ExitStatus> {
    let program = command.get_program().to_owned();
    let mut child = command
        .spawn()
        .map_err(|error| format!("cannot start {}: {error}", program.display()))?;
    let status = wait(&mut child, interrupt)?;
    interrupt.check()?;
    Ok(status)
}

/// Runs a command and insists on its success.
pub(crate) fn succeed(command: &mut Command, interrupt: &Interrupt) -> Result {
    let status = run(command, interrupt)?;
    if status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {status}").into())
}

/// Waits for a child's end; an interrupt is passed on to it.
pub(crate) fn wait(child: &mut Child, interrupt: &Interrupt) -> Result<ExitStatus> {
    let pid = Pid::from_child(child);
    let mut told = false;
    testkit::wait_for("a program to end", Duration::MAX, || {
        if interrupt.requested() && !told {
            told = true;
            // On a terminal the child has had its own signal, and may be gone.
            let _ = kill_process(pid, Signal::TERM);
        }
        Ok(child.try_wait()?)
    })
}

/// Path of a program in `$PATH`.
pub(crate) fn in_path(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|dir| dir.join(program))
        .find(|path| path.is_file())
}

/// The cargo that runs us.
pub(crate) fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Waits a moment before looking again.
#[expect(
    clippy::disallowed_methods,
    reason = "short, between looks at what other processes do"
)]
pub(crate) fn pause(duration: Duration) {
    std::thread::sleep(duration);
}
