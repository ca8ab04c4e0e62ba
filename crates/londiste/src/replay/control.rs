//! Events that are no row changes, as replay handles them.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use pgq::QueueName;
use pgq::batch::Event;
use postgres::types::Type;
use skytools::db::{During, Text, Tx};
use tracing::{info, warn};

use super::apply::Routes;
use super::stream::Control;
use crate::Error;

/// How often an unknown type is reported.
const REMINDER: Duration = Duration::from_secs(3600);

/// When each unknown event type was last reported.
pub(crate) type Reported = HashMap<String, Instant>;

/// Handles control events of one batch.
pub(crate) struct ReplayControl<'a> {
    pub(crate) queue: &'a QueueName,
    /// Every table that is subscribed, whatever its state.
    pub(crate) subscribed: Vec<String>,
    /// Tables whose subscription a T event ended.
    pub(crate) removed: Vec<String>,
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
        match kind {
            "T" => self.tables_changed(tx, routes, event).map(|()| true),
            _ if kind.starts_with("pgq.") || kind.starts_with("londiste.") => {
                Err(Error::ReservedEvent {
                    kind: kind.to_owned(),
                    event: event.id,
                })
            }
            _ => {
                self.report(kind);
                Ok(false)
            }
        }
    }
}

impl ReplayControl<'_> {
    /// Unsubscribes tables that the provider does not have any more. Tables are never added.
    fn tables_changed(
        &mut self,
        tx: &mut Tx<'_>,
        routes: &mut Routes,
        event: &Event,
    ) -> Result<(), Error> {
        let list = event.data.as_ref().map(Text::to_string_lossy);
        let list = list.as_deref().unwrap_or_default();
        info!("got new table event: {list}");
        self.changed = true;
        let provided = parse_list(list);
        let gone: Vec<String> = (self.subscribed)
            .extract_if(.., |table| !provided.contains(table))
            .collect();
        for table in gone {
            info!("Removing table {table} from set");
            tx.query_typed(
                "select londiste.subscriber_remove_table($1, $2)",
                &[(self.queue, Type::TEXT), (&table, Type::TEXT)],
            )
            .during(format!("unsubscribe {table}"))?;
            routes.remove(&table);
            self.removed.push(table);
        }
        Ok(())
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
}
