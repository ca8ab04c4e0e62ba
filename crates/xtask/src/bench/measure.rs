//! Rounds in random order, medians, and the processor time of a server's process.

use std::fs;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use postgres::Client;

use crate::Result;
use crate::process::Interrupt;

/// What the rounds gave.
#[derive(Debug, Clone, Default)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) fn push(&mut self, sample: f64) {
        self.0.push(sample);
    }

    /// The middle one; NaN if there is none.
    pub(crate) fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// These samples divided by those of a peer that were taken beside them.
    pub(crate) fn ratios(&self, peer: &Samples) -> Samples {
        Samples(
            self.0
                .iter()
                .zip(&peer.0)
                .map(|(ours, theirs)| ours / theirs)
                .collect(),
        )
    }

    /// The smallest sample that at least this share of all do not exceed; NaN if there is none.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a place in a short list"
        )]
        let place = (share * sorted.len() as f64).ceil() as usize;
        sorted
            .get(place.saturating_sub(1))
            .copied()
            .unwrap_or(f64::NAN)
    }
}

/// Measures every variant once a round, in an order that changes from round to round, so that what
/// the machine does beside us hits all of them alike.
pub(crate) fn in_rounds<V: Copy>(
    rounds: usize,
    variants: &[V],
    interrupt: &Interrupt,
    mut measure: impl FnMut(V) -> Result<f64>,
) -> Result<Vec<Samples>> {
    let mut samples = vec![Samples::default(); variants.len()];
    let mut order: Vec<usize> = (0..variants.len()).collect();
    for _ in 0..rounds {
        shuffle(&mut order);
        for &i in &order {
            interrupt.check()?;
            samples[i].push(measure(variants[i])?);
        }
    }
    Ok(samples)
}

/// Puts places in a random order.
pub(crate) fn shuffle(order: &mut [usize]) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let mut state = now.map_or(1, |now| u64::from(now.subsec_nanos()) | 1);
    for i in (1..order.len()).rev() {
        // xorshift: good enough to have no pattern
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let bound = u64::try_from(i + 1).expect("an index of a short list");
        let other = usize::try_from(state % bound).expect("below the length of a list");
        order.swap(i, other);
    }
}

/// Calls per second: repeats `call` for `time`.
pub(crate) fn rate(time: Duration, mut call: impl FnMut() -> Result) -> Result<f64> {
    let start = Instant::now();
    let mut calls = 0.0;
    while start.elapsed() < time {
        call()?;
        calls += 1.0;
    }
    Ok(calls / start.elapsed().as_secs_f64())
}

/// Seconds that `work` takes.
pub(crate) fn seconds(work: impl FnOnce() -> Result) -> Result<f64> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed().as_secs_f64())
}

/// A process of a server on this machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Backend(i32);

impl Backend {
    /// The one that serves a connection.
    pub(crate) fn of(db: &mut Client) -> Result<Backend> {
        Ok(Backend(
            db.query_one("select pg_backend_pid()", &[])?.get(0),
        ))
    }

    /// This program, as far as the calling thread goes that it was started with.
    pub(crate) fn ourselves() -> Backend {
        Backend(rustix::process::getpid().as_raw_pid())
    }

    /// Processor time it has used so far, in seconds.
    pub(crate) fn cpu(self) -> Result<f64> {
        let path = format!("/proc/{}/schedstat", self.0);
        let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
        let nanos: u64 = text
            .split(' ')
            .next()
            .unwrap_or_default()
            .parse()
            .map_err(|error| format!("{path}: {error}"))?;
        Ok(Duration::from_nanos(nanos).as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_sample_and_a_quantile_covers_its_share() {
        let samples = Samples(vec![5.0, 1.0, 4.0, 2.0, 3.0]);
        assert_eq!(samples.median(), 3.0);
        assert_eq!(samples.quantile(0.99), 5.0);
        assert_eq!(samples.quantile(0.0), 1.0);
        assert!(Samples::default().median().is_nan());
    }

    #[test]
    fn a_sample_is_divided_by_the_one_beside_it() {
        let ratios = Samples(vec![1.0, 6.0, 8.0]).ratios(&Samples(vec![2.0, 2.0, 4.0]));
        assert_eq!(ratios.0, [0.5, 3.0, 2.0]);
    }

    #[test]
    fn shuffling_keeps_every_variant() {
        let mut order: Vec<usize> = (0..20).collect();
        shuffle(&mut order);
        order.sort_unstable();
        assert_eq!(order, (0..20).collect::<Vec<_>>());
    }
}
