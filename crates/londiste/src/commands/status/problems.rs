//! What is wrong, and what to type.

use std::collections::HashSet;
use std::path::Path;

use pgq::{ConsumerName, TickId};
use serde::Serialize;
use skytools::app::chain;

use super::read::{Provider, Subscriber};
use super::show::span;
use crate::Error;

/// Lag that somebody should look at, in seconds.
const LAG: f64 = 300.0;

/// How bad a [`Problem`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Severity {
    /// Replication does not work.
    Error,
    /// Somebody should look.
    Warning,
    /// Good to know.
    Note,
}

impl Severity {
    pub(super) fn name(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        }
    }
}

/// Something that a person should know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Problem {
    pub(super) severity: Severity,
    pub(super) message: String,
    /// What to type or to do.
    pub(super) advice: String,
}

/// Command lines of this program.
pub(super) struct Advice {
    ini: String,
}

impl Advice {
    pub(super) fn new(config: &Path) -> Advice {
        Advice {
            ini: config.display().to_string(),
        }
    }

    fn command(&self, words: &str) -> String {
        format!("londiste {} {words}", self.ini)
    }
}

/// Collects problems.
struct Finder<'a> {
    advice: &'a Advice,
    found: Vec<Problem>,
}

impl Finder<'_> {
    fn add(&mut self, severity: Severity, message: impl Into<String>, advice: impl Into<String>) {
        self.found.push(Problem {
            severity,
            message: message.into(),
            advice: advice.into(),
        });
    }

    /// A problem that a command of this program solves.
    fn command(&mut self, severity: Severity, message: impl Into<String>, words: &str) {
        let advice = self.advice.command(words);
        self.add(severity, message, advice);
    }
}

/// What is wrong with the job; the worst first. A side that could not be looked at gives its error.
pub(super) fn find(
    advice: &Advice,
    consumer: &ConsumerName,
    provider: Result<&Provider, &Error>,
    subscriber: Result<&Subscriber, &Error>,
) -> Vec<Problem> {
    let mut finder = Finder {
        advice,
        found: Vec::new(),
    };
    for (side, failure) in [
        ("provider", provider.as_ref().err()),
        ("subscriber", subscriber.as_ref().err()),
    ] {
        let Some(error) = failure else { continue };
        match error {
            Error::NotInstalled { schema, .. } => finder.command(
                Severity::Error,
                format!("schema {schema} is missing in {side}_db"),
                &format!("{side} install"),
            ),
            Error::ForeignSchema { .. } => finder.add(
                Severity::Error,
                error.to_string(),
                format!("take over, or correct {side}_db"),
            ),
            _ => finder.add(
                Severity::Error,
                format!("the {side} cannot be looked at: {}", chain(error)),
                format!("see to {side}_db, its server and its network"),
            ),
        }
    }
    let is_root = subscriber
        .as_ref()
        .is_ok_and(|subscriber| subscriber.is_root);
    if let Ok(provider) = &provider {
        of_provider(&mut finder, consumer, provider);
    }
    if is_root {
        finder.command(
            Severity::Error,
            "subscriber_db is the root of the queue itself: there is nothing to replay",
            "provider resurrect, if it is a former root that shall follow provider_db",
        );
        return finder.found;
    }
    if let Ok(subscriber) = &subscriber {
        of_subscriber(&mut finder, subscriber);
    }
    if let (Ok(provider), Ok(subscriber)) = (&provider, &subscriber) {
        of_both(&mut finder, consumer, provider, subscriber);
    }
    finder.found.sort_by_key(|problem| problem.severity);
    finder.found
}

fn of_provider(finder: &mut Finder<'_>, consumer: &ConsumerName, provider: &Provider) {
    if provider.queue.is_none() {
        finder.command(
            Severity::Error,
            "the queue does not exist",
            "provider install",
        );
        return;
    }
    for problem in &provider.queue_problems {
        let ours = match &problem.consumer {
            None => true,
            Some(name) => name == consumer,
        };
        if !ours {
            continue;
        }
        let severity = match problem.severity {
            pgq::health::Severity::Error => Severity::Error,
            pgq::health::Severity::Warning => Severity::Warning,
            pgq::health::Severity::Note => Severity::Note,
        };
        finder.add(severity, problem.message.clone(), problem.advice.clone());
    }
    for (table, detail) in &provider.bad_captures {
        finder.command(
            Severity::Warning,
            format!("{table} is not captured as it should be: {detail}"),
            &match provider.absent_tables.contains(table) {
                true => format!("provider remove {table}"),
                false => format!("provider refresh {table}"),
            },
        );
    }
}

fn of_subscriber(finder: &mut Finder<'_>, subscriber: &Subscriber) {
    match (subscriber.replay_runs, subscriber.replay_pid) {
        (true, _) => {}
        (false, Some(pid)) => finder.add(
            Severity::Error,
            format!("replay, pid {pid}, is not at work: it pauses after an error, or is starting"),
            "look into its log; it tries again by itself",
        ),
        (false, None) => finder.command(Severity::Error, "replay does not run", "replay -d"),
    }
    for error in &subscriber.errors {
        if error.solved_seconds.is_some() {
            continue;
        }
        let who = match &error.table {
            Some(table) => format!("the copy of {table} fails"),
            None => "replay fails".to_owned(),
        };
        finder.add(
            Severity::Error,
            format!(
                "{who} since {}, {} times, last {} ago: {}",
                span(error.since_seconds),
                error.times,
                span(error.last_seconds),
                error.error
            ),
            "remove the cause: it is tried again by itself; see \"What to do when\" in the manual",
        );
    }
    for fkey in &subscriber.pending_fkeys {
        finder.command(
            Severity::Note,
            format!("foreign key {fkey} is not back yet"),
            "subscriber fkeys pending",
        );
    }
    let waiting = subscriber
        .tables
        .iter()
        .filter(|table| table.state.is_none());
    let waiting = waiting.count();
    if waiting > 0 {
        finder.command(
            Severity::Note,
            format!("{waiting} tables wait to be copied"),
            "subscriber wait-sync",
        );
    }
}

fn of_both(
    finder: &mut Finder<'_>,
    consumer: &ConsumerName,
    provider: &Provider,
    subscriber: &Subscriber,
) {
    if let Some(queue) = &provider.queue {
        match &provider.consumer {
            None => unregistered(finder, consumer, subscriber),
            Some(info) => {
                let after = info.next_tick.max(info.last_tick);
                if let Some(message) = lost(subscriber.position, provider.tick_before, after) {
                    // What the provider has lost is there no more.
                    let ahead = subscriber.position > queue.last_tick;
                    let advice = match (subscriber.replay_runs, ahead) {
                        (true, false) => "replay -s, and --rewind when it has ended",
                        (false, false) => "--rewind",
                        (true, true) => {
                            "replay -s, and when it has ended --reset, and subscriber resync --all"
                        }
                        (false, true) => "--reset, and subscriber resync --all",
                    };
                    finder.command(Severity::Error, message, advice);
                }
                if let Some(lag) = info.lag_seconds
                    && lag > LAG
                    && subscriber.replay_runs
                {
                    finder.add(
                        Severity::Warning,
                        format!("replay is {} behind", span(lag)),
                        "look into its log; see whether the lag shrinks",
                    );
                }
            }
        }
    }
    let published: HashSet<&str> = (provider.published_tables.iter().map(String::as_str)).collect();
    let subscribed: HashSet<&str> = (subscriber.tables.iter())
        .map(|table| table.table.as_str())
        .collect();
    let missing = published.difference(&subscribed).count();
    if missing > 0 {
        finder.command(
            Severity::Note,
            format!("{missing} published tables are not subscribed"),
            "subscriber missing",
        );
    }
    let unpublished =
        (subscriber.tables.iter()).filter(|table| !published.contains(table.table.as_str()));
    for table in unpublished {
        finder.command(
            Severity::Warning,
            format!("{} is subscribed, and not published", table.table),
            &format!("provider add {0}; or: subscriber remove {0}", table.table),
        );
    }
}

/// The consumer is not registered: what replay makes of that, and whether it has to be started for it.
fn unregistered(finder: &mut Finder<'_>, consumer: &ConsumerName, subscriber: &Subscriber) {
    let runs = subscriber.replay_runs || subscriber.replay_pid.is_some();
    let message = format!("consumer {consumer} is not registered on the queue");
    match (subscriber.position, runs) {
        (Some(_), true) => finder.add(
            Severity::Error,
            format!("{message} any more"),
            "replay registers it at its position when it tries again, or stops and says what is lost",
        ),
        (Some(_), false) => finder.command(
            Severity::Error,
            format!("{message} any more"),
            "replay -d, which registers it at its position or says what is lost",
        ),
        (None, true) => finder.command(
            Severity::Error,
            message,
            "replay -s, and replay -d when it has ended",
        ),
        (None, false) => finder.command(Severity::Error, message, "replay -d"),
    }
}

/// What is wrong with the position on the subscriber: the consumer was at `before` when it was read,
/// and is at `after`, or in the batch that ends there, now.
fn lost(stored: Option<TickId>, before: Option<TickId>, after: Option<TickId>) -> Option<String> {
    let (stored, before, after) = (stored?, before?, after?);
    if (before..=after).contains(&stored) {
        return None;
    }
    Some(format!(
        "lost position: the subscriber is at tick {stored}, the consumer at {before}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_differ_while_replay_goes_on() {
        let tick = |number: i64| Some(TickId::from(number));
        assert_eq!(lost(tick(5), tick(5), tick(5)), None);
        assert_eq!(lost(tick(6), tick(5), tick(8)), None);
        assert_eq!(lost(None, tick(5), tick(5)), None);
        assert!(lost(tick(7), tick(5), tick(6)).is_some());
        assert!(lost(tick(4), tick(5), tick(6)).is_some());
    }
}
