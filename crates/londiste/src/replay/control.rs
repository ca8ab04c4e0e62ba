//! Events that are no row changes, as replay handles them.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use pgq::batch::Event;
use pgq::{QueueName, TickId};
use postgres::types::Type;
use skytools::db::{Connection, During, Text, Tx};
use skytools::table::TableName;
use tracing::{info, warn};

use super::apply::Routes;
use super::state::{self, Actor, MergeState};
use super::stream::Control;
use crate::execute::{self, Local, Script};
use crate::{Error, registry};

/// How often an unknown type is reported.
const REMINDER: Duration = Duration::from_secs(3600);

/// When each unknown event type was last reported.
pub(crate) type Reported = HashMap<String, Instant>;

/// Handles control events of one batch.
pub(crate) struct ReplayControl<'a> {
    pub(crate) queue: &'a QueueName,
    /// Every table that is subscribed, whatever its state.
    pub(crate) subscribed: Vec<String>,
    /// Tables whose subscription has ended.
    pub(crate) removed: Vec<String>,
    /// Tables that a T event says the provider does not have any more. By now it may have them
    /// again.
    pub(crate) gone: Vec<String>,
    /// Tables that a T event did not know of yet.
    pub(crate) spared: Vec<String>,
    /// Tables that are being copied.
    pub(crate) in_progress: Vec<String>,
    /// Tick that every node has applied, as the root says.
    pub(crate) watermark: Option<TickId>,
    /// The registration changed on the provider.
    pub(crate) changed: bool,
    pub(crate) reported: &'a mut Reported,
}

impl Control for ReplayControl<'_> {
    fn control(
        &mut self,
        tx: &mut Tx<'_>,
        routes: &mut Routes,
        kind: &str,
        event: &Event,
    ) -> Result<bool, Error> {
        let data = event.data.as_ref().map(Text::to_string_lossy);
        let data = data.as_deref().unwrap_or_default();
        match kind {
            "T" => {
                let known = event.extra[0].as_ref().map(Text::to_string_lossy);
                let known = known.and_then(|number| number.parse().ok());
                self.tables_changed(tx, routes, data, known)?;
            }
            "londiste.remove-table" => self.unsubscribe(tx, routes, data)?,
            "londiste.remove-seq" => self.unsubscribe_seq(tx, data)?,
            "londiste.update-seq" => {
                let name = event.extra[0].as_ref().map(Text::to_string_lossy);
                self.sequence_moved(tx, name.as_deref().unwrap_or_default(), data)?;
            }
            "pgq.global-watermark" => {
                let queue = event.extra[0].as_ref().map(Text::to_string_lossy);
                if queue.as_deref() == Some(self.queue.as_str()) {
                    self.watermark = data.parse().ok().map(<TickId as From<i64>>::from);
                }
            }
            "londiste.promoted" => promoted(tx, self.queue, data, event)?,
            // News for relays, and of tables that have to be subscribed by hand.
            "londiste.add-table"
            | "pgq.location-info"
            | "pgq.unregister-location"
            | "pgq.tick-id" => {}
            "EXECUTE" => self.execute(tx, routes, event)?,
            _ if kind.starts_with("pgq.") || kind.starts_with("londiste.") => {
                return Err(Error::ReservedEvent {
                    kind: kind.to_owned(),
                    event: event.id,
                });
            }
            _ => {
                self.report(kind);
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl ReplayControl<'_> {
    /// Stops applying events to tables that the provider does not have any more. Tables are never
    /// added.
    ///
    /// `known` is the number of the last registration that the list knows of: a table that follows a
    /// later one was registered again since.
    fn tables_changed(
        &mut self,
        tx: &mut Tx<'_>,
        routes: &mut Routes,
        list: &str,
        known: Option<i32>,
    ) -> Result<(), Error> {
        info!("got new table event: {list}");
        self.changed = true;
        let provided = parse_list(list);
        let followed = registry::followed_numbers(tx, self.queue)?;
        let later = |table: &String| match (followed.get(table), known) {
            (Some(&followed), Some(known)) => followed > known,
            _ => false,
        };
        let missing = |table: &&String| !provided.contains(*table);
        let spared = (self.subscribed.iter())
            .filter(missing)
            .filter(|table| later(table));
        self.spared.extend(spared.cloned());
        let gone =
            (self.subscribed).extract_if(.., |table| !provided.contains(table) && !later(table));
        for table in gone {
            routes.remove(&table);
            self.gone.push(table);
        }
        Ok(())
    }

    /// Runs a script that the provider has run at this place of the stream.
    fn execute(
        &mut self,
        tx: &mut Tx<'_>,
        routes: &mut Routes,
        event: &Event,
    ) -> Result<(), Error> {
        // A copy may have been taken before the provider ran the script, or after it.
        let copied = routes
            .iter()
            .filter(|(_, route)| route.contains(event.txid));
        let mut waiting = self.in_progress.clone();
        waiting.extend(copied.map(|(name, _)| name.clone()));
        if !waiting.is_empty() {
            return Err(Error::ScriptWaits {
                event: event.id,
                tables: waiting.join(", "),
            });
        }
        let name = event.extra[0].as_ref().map(Text::to_string_lossy);
        let name = name.as_deref().unwrap_or_default();
        let text = event.data.as_ref().map(Text::to_string_lossy);
        let script = Script::parse(name, text.unwrap_or_default().into_owned())?;
        if !execute::record(tx, self.queue, &script)? {
            info!("{name} has been run before, skipping");
            return Ok(());
        }
        info!("Executing {name}");
        let seqs = registry::subscriber_seqs(tx, self.queue)?;
        let local = Local {
            tables: &self.subscribed,
            seqs: &seqs,
        };
        if execute::run(tx, &script, &local)? {
            // The subscriber may be a provider too.
            tx.query_typed("select londiste.refresh_stale_triggers()", &[])
                .during("refresh the captures of changed tables")?;
        }
        Ok(())
    }

    fn unsubscribe(
        &mut self,
        tx: &mut Tx<'_>,
        routes: &mut Routes,
        table: &str,
    ) -> Result<(), Error> {
        let Some(place) = self.subscribed.iter().position(|other| other == table) else {
            return Ok(());
        };
        unsubscribe_table(tx, self.queue, table)?;
        routes.remove(table);
        self.removed.push(self.subscribed.remove(place));
        Ok(())
    }

    fn unsubscribe_seq(&self, tx: &mut Tx<'_>, name: &str) -> Result<(), Error> {
        if self.follows(tx, name)? {
            unsubscribe_seq(tx, self.queue, name)?;
        }
        Ok(())
    }

    /// Sets a sequence to a value that the provider published.
    fn sequence_moved(&self, tx: &mut Tx<'_>, name: &str, value: &str) -> Result<(), Error> {
        if self.follows(tx, name)? {
            tx.query_typed(
                "select pg_catalog.setval($1::text::regclass, $2::text::int8)",
                &[
                    (&TableName::parse(name).quoted(), Type::TEXT),
                    (&value, Type::TEXT),
                ],
            )
            .during(format!("set sequence {name}"))?;
        }
        Ok(())
    }

    /// Whether the sequence is subscribed.
    fn follows(&self, tx: &mut Tx<'_>, name: &str) -> Result<bool, Error> {
        let names = registry::subscriber_seqs(tx, self.queue)?;
        Ok(names.iter().any(|subscribed| subscribed == name))
    }

    fn report(&mut self, kind: &str) {
        let due = self
            .reported
            .get(kind)
            .is_none_or(|last| last.elapsed() > REMINDER);
        if due {
            warn!("Unknows op {kind}");
            self.reported.insert(kind.to_owned(), Instant::now());
        }
    }
}

/// Takes tables and sequences that the provider does not have any more out of the subscription;
/// returns the tables. `gone` are those that were missing in a list.
///
/// The list is as old as its event. A table that was registered again since was not captured for a
/// while, unless the subscription is younger than the list, which nobody can tell: it is copied again.
pub(crate) fn follow_registration(
    tx: &mut Tx<'_>,
    provider: &mut Connection,
    queue: &QueueName,
    gone: Vec<String>,
    spared: Vec<String>,
) -> Result<Vec<String>, Error> {
    let provided = registry::provider_numbers(provider, queue)?;
    let (back, mut removed): (Vec<_>, Vec<_>) = gone
        .into_iter()
        .partition(|table| provided.contains_key(table));
    removed.extend(
        spared
            .into_iter()
            .filter(|table| !provided.contains_key(table)),
    );
    removed.sort();
    removed.dedup();
    for table in back {
        tx.query_typed(
            "select londiste.subscriber_set_provider_nr($1, $2, $3)",
            &[
                (queue, Type::TEXT),
                (&table, Type::TEXT),
                (&provided.get(&table), Type::INT4),
            ],
        )
        .during("store the provider's number of the table")?;
        info!("Table {table} was removed on the provider and added again: it is copied again");
        state::store(
            &mut **tx,
            queue,
            Actor::Replay,
            &table,
            MergeState::New,
            None,
        )?;
    }
    for table in &removed {
        unsubscribe_table(tx, queue, table)?;
    }
    let provided = registry::provider_seqs(provider, queue)?;
    for name in registry::subscriber_seqs(tx, queue)? {
        if !provided.contains(&name) {
            unsubscribe_seq(tx, queue, &name)?;
        }
    }
    Ok(removed)
}

/// Notes that another node has become the root.
fn promoted(tx: &mut Tx<'_>, queue: &QueueName, node: &str, event: &Event) -> Result<(), Error> {
    let [generation, last_tick] = [0, 1].map(|place: usize| {
        let text = event.extra[place].as_ref().map(Text::to_string_lossy);
        text.and_then(|text| text.parse::<i64>().ok())
    });
    let (Some(generation), Some(last_tick)) = (generation, last_tick) else {
        return Err(Error::ReservedEvent {
            kind: "londiste.promoted".to_owned(),
            event: event.id,
        });
    };
    info!("node {node} is the root now: generation {generation}, after tick {last_tick}");
    tx.query_typed(
        "select londiste.node_promoted($1, $2, $3::int8::int4, $4) \
         where to_regclass('londiste.node_info') is not null",
        &[
            (queue, Type::TEXT),
            (&node, Type::TEXT),
            (&generation, Type::INT8),
            (&last_tick, Type::INT8),
        ],
    )
    .during("store the generation of the queue")?;
    Ok(())
}

/// Ends the subscription of a table.
fn unsubscribe_table(tx: &mut Tx<'_>, queue: &QueueName, table: &str) -> Result<(), Error> {
    info!("Removing table {table} from set");
    tx.query_typed(
        "select londiste.subscriber_remove_table($1, $2)",
        &[(queue, Type::TEXT), (&table, Type::TEXT)],
    )
    .during(format!("unsubscribe {table}"))?;
    Ok(())
}

/// Ends the subscription of a sequence.
fn unsubscribe_seq(tx: &mut Tx<'_>, queue: &QueueName, name: &str) -> Result<(), Error> {
    info!("Removing sequence {name} from set");
    tx.query_typed(
        "select londiste.subscriber_remove_seq($1, $2)",
        &[(queue, Type::TEXT), (&name, Type::TEXT)],
    )
    .during(format!("unsubscribe the sequence {name}"))?;
    Ok(())
}

/// Names joined by commas; one with a comma, a quote or blanks at its ends is quoted as in CSV.
fn parse_list(list: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut name = String::new();
    let mut quoted = false;
    let mut characters = list.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                name.push('"');
            }
            '"' if quoted || name.is_empty() => quoted = !quoted,
            ',' if !quoted => names.push(std::mem::take(&mut name)),
            _ => name.push(character),
        }
    }
    names.push(name);
    names.retain(|name| !name.is_empty());
    names
}

/// A copy leaves control events to replay.
pub(crate) struct Ignore;

impl Control for Ignore {
    fn control(
        &mut self,
        _tx: &mut Tx<'_>,
        _routes: &mut Routes,
        _kind: &str,
        _event: &Event,
    ) -> Result<bool, Error> {
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lists_of_tables_are_split_at_commas_outside_quotes() {
        assert_eq!(parse_list(""), Vec::<String>::new());
        assert_eq!(parse_list("public.a"), ["public.a"]);
        assert_eq!(
            parse_list("public.a,\"s.x,y\",\"\"\"my.s\"\".t\",public.b\"c"),
            ["public.a", "s.x,y", "\"my.s\".t", "public.b\"c"]
        );
    }

    proptest! {
        #[test]
        fn a_list_of_tables_reads_back(names in prop::collection::vec("[a-z.,\"' ]{0,8}[a-z.,\"]", 0..5)) {
            let quoted: Vec<String> = names
                .iter()
                .map(|name| match name.contains([',', '"']) || name.trim() != name {
                    true => format!("\"{}\"", name.replace('"', "\"\"")),
                    false => name.clone(),
                })
                .collect();
            prop_assert_eq!(parse_list(&quoted.join(",")), names);
        }

        #[test]
        fn no_list_of_tables_panics(text in any::<String>(), similar in "[a,\" ]{0,12}") {
            for list in [text, similar] {
                prop_assert!(parse_list(&list).iter().all(|name| !name.is_empty()));
            }
        }
    }
}
