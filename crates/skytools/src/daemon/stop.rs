//! The stop request of a job and the sleep it ends.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A stop request that SIGINT raises; shared by all threads of a program.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    stop: bool,
    /// A reload that the work loop has not seen yet.
    reload: bool,
    /// Reload requests so far, so that each sleeper wakes once for each.
    reloads: u64,
    /// Someone who waits beside the work loop is done.
    awake: bool,
}

impl Stop {
    /// Whether the program was asked to end after the current batch.
    pub fn requested(&self) -> bool {
        self.state().stop
    }

    /// Whether the program was asked to end, or a reload waits for the work loop.
    pub fn is_disturbed(&self) -> bool {
        let state = self.state();
        state.stop || state.reload
    }

    /// Asks the program to end after the current batch.
    pub fn request(&self) {
        self.state().stop = true;
        self.shared.changed.notify_all();
    }

    /// Sleeps, but not past a stop or reload request. True if the program shall end.
    pub fn sleep(&self, duration: Duration) -> bool {
        let state = self.state();
        let seen = state.reloads;
        self.wait(state, duration, |state| state.reloads == seen)
    }

    /// Sleeps as [`Stop::sleep`] does, and not at all while a reload waits for the work loop.
    pub fn pause(&self, duration: Duration) -> bool {
        self.wait(self.state(), duration, |state| !state.reload)
    }

    /// Forgets an earlier [`Stop::wake`].
    pub(super) fn rest(&self) {
        self.state().awake = false;
    }

    /// Sleeps as [`Stop::pause`] does, but not past a call of [`Stop::wake`] since [`Stop::rest`].
    pub(super) fn pause_until_awake(&self, duration: Duration) -> bool {
        self.wait(self.state(), duration, |state| {
            !state.reload && !state.awake
        })
    }

    /// Ends [`Stop::pause_until_awake`].
    pub(super) fn wake(&self) {
        self.state().awake = true;
        self.shared.changed.notify_all();
    }

    /// Asks the work loop to read the configuration again.
    pub(super) fn request_reload(&self) {
        let mut state = self.state();
        state.reload = true;
        state.reloads += 1;
        self.shared.changed.notify_all();
    }

    /// Whether a reload was asked for since the last call.
    pub(super) fn take_reload(&self) -> bool {
        std::mem::take(&mut self.state().reload)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        let state = self.shared.state.lock();
        state.unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(
        &self,
        state: MutexGuard<'_, State>,
        duration: Duration,
        undisturbed: impl Fn(&State) -> bool,
    ) -> bool {
        let waited = self
            .shared
            .changed
            .wait_timeout_while(state, duration, |state| !state.stop && undisturbed(state));
        waited.unwrap_or_else(PoisonError::into_inner).0.stop
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::Stop;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_stop_request_ends_every_sleep_at_once() {
        let stop = Stop::default();
        let start = Instant::now();
        std::thread::scope(|scope| {
            let sleepers: Vec<_> = (0..3)
                .map(|_| scope.spawn(|| stop.clone().sleep(LONG)))
                .collect();
            stop.request();
            assert!(
                sleepers
                    .into_iter()
                    .all(|sleeper| sleeper.join().expect("sleeps"))
            );
        });
        assert!(stop.requested());
        assert!(stop.sleep(LONG));
        assert!(start.elapsed() < LONG);
    }

    #[test]
    fn an_undisturbed_sleep_does_not_ask_to_end() {
        assert!(!Stop::default().sleep(Duration::from_millis(1)));
    }

    #[test]
    fn a_reload_waits_for_the_work_loop_and_wakes_other_sleepers_once() {
        let stop = Stop::default();
        stop.request_reload();
        let start = Instant::now();
        assert!(stop.is_disturbed() && !stop.requested());
        assert!(!stop.pause(LONG));
        assert!(start.elapsed() < LONG);
        // It came before this sleep began.
        assert!(!stop.sleep(Duration::from_millis(20)));
        assert!(start.elapsed() >= Duration::from_millis(20));
        assert!(stop.take_reload());
        assert!(!stop.take_reload());
        assert!(!stop.is_disturbed());
    }
}
