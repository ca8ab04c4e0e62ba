//! How often one process looks at what another one does.

use std::time::{Duration, Instant};

use super::state::MergeState;

/// The shortest wait between two looks.
const SHORTEST: Duration = Duration::from_millis(5);

/// What waits between two looks at tables that are on their way: shortly while they move, for what comes
/// next is often a matter of milliseconds, and the longer the longer nothing has happened.
#[derive(Debug)]
pub(crate) struct Pace {
    seen: Vec<MergeState>,
    since: Instant,
}

impl Pace {
    pub(crate) fn new() -> Pace {
        Pace {
            seen: Vec::new(),
            since: Instant::now(),
        }
    }

    /// Notes the states that were seen.
    pub(crate) fn note(&mut self, states: impl Iterator<Item = MergeState> + Clone) {
        if !states.clone().eq(self.seen.iter().copied()) {
            self.seen = states.collect();
            self.since = Instant::now();
        }
    }

    /// How long to wait before the next look; `longest` at most.
    pub(crate) fn wait(&self, longest: Duration) -> Duration {
        (self.since.elapsed() / 4).max(SHORTEST).min(longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_short_after_a_change_and_never_longer_than_asked() {
        let hour = Duration::from_secs(3600);
        let mut pace = Pace::new();
        pace.note([MergeState::New].into_iter());
        let past = Instant::now()
            .checked_sub(hour)
            .expect("there was an hour before");
        pace.since = past;
        pace.note([MergeState::New].into_iter());
        assert_eq!(pace.since, past);
        assert!(pace.wait(hour) >= hour / 4);
        assert_eq!(pace.wait(SHORTEST * 2), SHORTEST * 2);
        pace.note([MergeState::InCopy].into_iter());
        assert!(pace.wait(hour) < hour / 4);
        assert_eq!(pace.wait(Duration::ZERO), Duration::ZERO);
    }
}
