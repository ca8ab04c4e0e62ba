//! Waiting only so long for the driver, which offers no way to interrupt it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

/// Pieces of work that ran out of time and still wait for a server; more are not begun.
///
/// Work cannot be interrupted, only left behind on its thread. It ends when the server answers or
/// goes away.
const MOST_LEFT_BEHIND: usize = 16;

/// Why there is no result in time.
#[derive(Debug, thiserror::Error)]
pub(super) enum Elapsed {
    #[error("timeout expired after {} s", .0.as_secs_f64())]
    TimedOut(Duration),
    #[error("{MOST_LEFT_BEHIND} earlier attempts still wait for an answer of their servers")]
    TooManyLeftBehind,
    #[error("cannot start a thread: {0}")]
    NoThread(io::Error),
    #[error("cannot wait for an answer: {0}")]
    NoRuntime(io::Error),
    #[error("the attempt ended without a result")]
    Panicked,
}

/// Runs `work` on a thread of its own and waits so long for its result; no timeout waits for ever.
pub(super) fn within<T: Send + 'static>(
    timeout: Option<Duration>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Elapsed> {
    static LEFT_BEHIND: AtomicUsize = AtomicUsize::new(0);

    let Some(timeout) = timeout else {
        return Ok(work());
    };
    if LEFT_BEHIND.load(Ordering::SeqCst) >= MOST_LEFT_BEHIND {
        return Err(Elapsed::TooManyLeftBehind);
    }
    let (answer, wait) = mpsc::sync_channel(1);
    // Set by whoever comes first: the work when it is done, or the one who stops waiting.
    let settled = Arc::new(AtomicBool::new(false));
    let settled_by_work = Arc::clone(&settled);
    std::thread::Builder::new()
        .name("connect".to_owned())
        .spawn(move || {
            // Fails if nobody waits any more; a connection in it is closed by being dropped.
            let _ = answer.send(work());
            if settled_by_work.swap(true, Ordering::SeqCst) {
                LEFT_BEHIND.fetch_sub(1, Ordering::SeqCst);
            }
        })
        .map_err(Elapsed::NoThread)?;
    match wait.recv_timeout(timeout) {
        Ok(result) => Ok(result),
        Err(mpsc::RecvTimeoutError::Disconnected) => Err(Elapsed::Panicked),
        Err(mpsc::RecvTimeoutError::Timeout) => {
            LEFT_BEHIND.fetch_add(1, Ordering::SeqCst);
            if settled.swap(true, Ordering::SeqCst) {
                // It ended at the last moment.
                LEFT_BEHIND.fetch_sub(1, Ordering::SeqCst);
                return wait.try_recv().map_err(|_| Elapsed::Panicked);
            }
            Err(Elapsed::TimedOut(timeout))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(20);

    #[test]
    fn a_result_in_time_is_returned() {
        assert_eq!(
            within(Some(Duration::from_secs(60)), || 7).expect("in time"),
            7
        );
        assert_eq!(within(None, || 7).expect("no limit"), 7);
    }

    #[test]
    fn a_panic_is_an_error() {
        let result = within(Some(Duration::from_secs(60)), || panic!("on purpose"));
        assert!(matches!(result, Err::<(), _>(Elapsed::Panicked)));
    }

    #[test]
    fn work_left_behind_is_bounded_until_it_ends() {
        let (release, gate) = mpsc::channel::<()>();
        let gate = Arc::new(std::sync::Mutex::new(gate));
        let attempt = || {
            let gate = Arc::clone(&gate);
            within(Some(SHORT), move || {
                // Ends when the sender is dropped.
                let _ = gate.lock().map(|gate| gate.recv());
            })
        };
        for _ in 0..MOST_LEFT_BEHIND {
            assert!(matches!(attempt(), Err(Elapsed::TimedOut(SHORT))));
        }
        assert!(matches!(attempt(), Err(Elapsed::TooManyLeftBehind)));
        drop(release);
        testkit::wait_until("the work to end", Duration::from_secs(30), || {
            Ok(within(Some(Duration::from_secs(60)), || ()).is_ok())
        })
        .expect("released");
    }
}
