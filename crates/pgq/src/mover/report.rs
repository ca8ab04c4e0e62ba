use std::fmt;
use std::time::{Duration, Instant};

use skytools::stats::Stats;
use tracing::{debug, info};

/// Time between two lines in the log about a batch that takes long.
const PROGRESS: Duration = Duration::from_secs(10);

/// What a batch has done at the target, for the log and for a dry run.
#[derive(Debug, Clone)]
pub struct Report {
    targets: Vec<(String, Counts)>,
    created: Vec<String>,
    noted: Vec<(&'static str, u64)>,
    told: Instant,
}

/// Numbers of rows of a table, or of events of a queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Put in.
    pub inserted: u64,
    /// Changed.
    pub updated: u64,
    /// Removed.
    pub deleted: u64,
    /// Events that were not applied, for a reason that the configuration gives.
    pub skipped: u64,
    /// Events that cannot be applied and were put aside.
    pub quarantined: u64,
}

impl Default for Report {
    fn default() -> Report {
        Report {
            targets: Vec::new(),
            created: Vec::new(),
            noted: Vec::new(),
            told: Instant::now(),
        }
    }
}

impl Report {
    /// The numbers of a table or queue.
    pub fn of(&mut self, target: &str) -> &mut Counts {
        let place = match self.targets.iter().position(|(name, _)| name == target) {
            Some(place) => place,
            None => {
                self.targets.push((target.to_owned(), Counts::default()));
                self.targets.len() - 1
            }
        };
        &mut self.targets[place].1
    }

    /// Forgets what was applied: it was undone, and comes again.
    pub(super) fn restart(&mut self) {
        self.targets.clear();
        self.noted.clear();
    }

    /// How many rows or events were put in so far, over all.
    pub fn inserted(&self) -> u64 {
        self.targets.iter().map(|(_, counts)| counts.inserted).sum()
    }

    /// Notes a table or queue that was made.
    pub fn created(&mut self, target: &str) {
        self.created.push(target.to_owned());
    }

    /// Adds to a number of the program's own, for the line of statistics.
    pub fn add(&mut self, key: &'static str, number: u64) {
        match self.noted.iter_mut().find(|(noted, _)| *noted == key) {
            Some((_, sum)) => *sum += number,
            None => self.noted.push((key, number)),
        }
    }

    /// Says now and then in the log how far a long batch is.
    pub fn progress(&mut self, events: u64) {
        if self.told.elapsed() >= PROGRESS {
            self.told = Instant::now();
            info!("{events} events of the batch so far");
        }
    }

    /// Puts the sums into the line of statistics, behind what every consumer has there.
    pub(super) fn count(&self, stats: &mut Stats) {
        let sum = |field: fn(&Counts) -> u64| self.targets.iter().map(|(_, c)| field(c)).sum();
        for (key, number) in [
            ("inserted", sum(|counts| counts.inserted)),
            ("updated", sum(|counts| counts.updated)),
            ("deleted", sum(|counts| counts.deleted)),
            ("skipped", sum(|counts| counts.skipped)),
            ("quarantined", sum(|counts| counts.quarantined)),
            ("created", self.created.len() as u64),
        ]
        .into_iter()
        .chain(self.noted.iter().copied())
        {
            if number > 0 {
                stats.put(key, i64::try_from(number).unwrap_or(i64::MAX));
            }
        }
        for (target, counts) in &self.targets {
            debug!("{target}: {counts}");
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts {
            inserted,
            updated,
            deleted,
            skipped,
            quarantined,
        } = self;
        write!(
            f,
            "{inserted} inserted, {updated} updated, {deleted} deleted"
        )?;
        for (events, what) in [(skipped, "skipped"), (quarantined, "put aside")] {
            if *events > 0 {
                write!(f, ", {events} {what}")?;
            }
        }
        Ok(())
    }
}

/// One line for each thing made, and each table or queue written to.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for target in &self.created {
            writeln!(f, "{target}: created")?;
        }
        for (target, counts) in &self.targets {
            writeln!(f, "{target}: {counts}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_go_into_the_statistics_and_each_target_into_the_text() {
        let mut report = Report::default();
        report.created("public.b");
        report.of("public.a").inserted += 2;
        report.of("public.b").inserted += 1;
        report.of("public.a").skipped += 4;
        report.of("public.b").quarantined += 1;
        report.add("null_keys", 1);
        report.add("null_keys", 2);
        let mut stats = Stats::default();
        report.count(&mut stats);
        assert_eq!(
            stats.to_string(),
            "{inserted: 3, skipped: 4, quarantined: 1, created: 1, null_keys: 3}"
        );
        assert_eq!(
            report.to_string(),
            "public.b: created\n\
             public.a: 2 inserted, 0 updated, 0 deleted, 4 skipped\n\
             public.b: 1 inserted, 0 updated, 0 deleted, 1 put aside\n"
        );
    }
}
