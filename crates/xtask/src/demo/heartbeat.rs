//! Measuring lag: rows written to the provider, and how long each takes to appear on the
//! subscriber.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use postgres::Client;

use crate::Result;
use crate::process::pause;

const SEND_EVERY: Duration = Duration::from_millis(100);
/// How often the subscriber is asked; lags are exact to this much.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// A thread that sends heartbeats and notes when they arrive.
#[derive(Debug)]
pub(super) struct Heartbeat {
    state: Arc<Mutex<State>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result>>,
}

#[derive(Debug, Default)]
struct State {
    /// Committed on the provider, not yet seen on the subscriber: id, and when.
    under_way: Vec<(i64, Instant)>,
    lags: Vec<Duration>,
    arrived: i64,
}

impl Heartbeat {
    pub(super) fn start(provider: Client, subscriber: Client) -> Heartbeat {
        let state = Arc::new(Mutex::new(State::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let (state, stop) = (Arc::clone(&state), Arc::clone(&stop));
            move || beat(provider, subscriber, &state, &stop)
        });
        Heartbeat {
            state,
            stop,
            thread: Some(thread),
        }
    }

    /// The lag at this moment: how long the oldest heartbeat under way has been waiting, or what
    /// the last one took.
    pub(super) fn lag(&self) -> Option<Duration> {
        let state = lock(&self.state);
        let waiting = state.under_way.first().map(|(_, sent)| sent.elapsed());
        waiting.max(state.lags.last().copied())
    }

    /// Whether the thread has met an error; [`Heartbeat::finish`] tells which.
    pub(super) fn failed(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Ends it and answers the lags, sorted.
    pub(super) fn finish(mut self) -> Result<Vec<Duration>> {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().map_err(|_| "the heartbeat panicked")??;
        }
        let mut lags = std::mem::take(&mut lock(&self.state).lags);
        lags.sort();
        Ok(lags)
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn beat(
    mut provider: Client,
    mut subscriber: Client,
    state: &Mutex<State>,
    stop: &AtomicBool,
) -> Result {
    let mut next = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        if Instant::now() >= next {
            let id = provider
                .query_one(
                    "insert into shop.heartbeat default values returning id",
                    &[],
                )?
                .get(0);
            lock(state).under_way.push((id, Instant::now()));
            next = Instant::now() + SEND_EVERY;
        }
        let arrived: i64 = subscriber
            .query_one("select coalesce(max(id), 0) from shop.heartbeat", &[])?
            .get(0);
        lock(state).arrived(arrived);
        pause(LOOK_EVERY);
    }
    Ok(())
}

impl State {
    fn arrived(&mut self, id: i64) {
        if id == self.arrived {
            return;
        }
        self.arrived = id;
        let here = self.under_way.partition_point(|(sent, _)| *sent <= id);
        let lags = self.under_way.drain(..here).map(|(_, sent)| sent.elapsed());
        self.lags.extend(lags);
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().expect("no holder of this lock panics")
}

/// The value below which `percent` of the sorted values lie.
pub(super) fn percentile(sorted: &[Duration], percent: usize) -> Option<Duration> {
    let index = (sorted.len() * percent).div_ceil(100).max(1) - 1;
    sorted.get(index).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let values: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!(percentile(&values, 50), Some(Duration::from_millis(100)));
        assert_eq!(percentile(&values, 99), Some(Duration::from_millis(198)));
        assert_eq!(percentile(&values[..1], 99), Some(Duration::from_millis(1)));
        assert_eq!(percentile(&[], 50), None);
    }
}
