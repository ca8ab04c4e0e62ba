use postgres::types::Type;
use serde::Serialize;
use skytools::app::chain;
use skytools::conninfo::ConnInfo;
use skytools::db::{Connection, During};
use tracing::error;

use super::super::Outcome;
use super::super::setup::{ANOTHER, Setup, print, print_json};
use crate::grants::Work;
use crate::replay::mirror;
use crate::{Error, node};

/// Show the nodes of the cascade, and which could become the root
///
/// A candidate is a relay of the newest generation that has the newest tick among those asked.
#[derive(Debug, Clone, clap::Args)]
pub(in super::super) struct Args {
    /// Connect strings of nodes; default: provider_db and subscriber_db
    #[arg(value_name = "DSN")]
    nodes: Vec<String>,
}

#[derive(Debug, Clone, Serialize)]
struct Row {
    node: String,
    address: String,
    role: &'static str,
    lineage: Option<String>,
    generation: Option<i32>,
    paused: bool,
    top_tick: Option<i64>,
    tick_age_seconds: Option<f64>,
    oldest_consumer: Option<String>,
    oldest_tick: Option<i64>,
    /// What this node reads from, if it was changed.
    provider: Option<String>,
    candidate: bool,
}

pub(in super::super) fn run(setup: &mut Setup<'_>, args: &Args) -> Result<Outcome, Error> {
    let mut outcome = Outcome::Done;
    let mut rows = Vec::new();
    if args.nodes.is_empty() {
        for (address, found) in [
            ("provider_db", setup.provider().map(|_| ())),
            ("subscriber_db", setup.subscriber().map(|_| ())),
        ] {
            let row = found.and_then(|()| match address {
                "provider_db" => look(setup.queue.as_str(), address, setup.provider()?),
                _ => look(setup.queue.as_str(), address, setup.subscriber()?),
            });
            let row = row.map_err(|error| setup.explain(error, Work::Look));
            outcome = outcome.max(add(&mut rows, address, row));
        }
    }
    for text in &args.nodes {
        let conninfo = ConnInfo::parse(text).map_err(|source| Error::ConnInfo {
            key: ANOTHER,
            source,
        })?;
        let address = conninfo.to_string();
        let mut database = setup.database(conninfo);
        let row = database
            .connection()
            .map_err(Error::from)
            .and_then(|db| look(setup.queue.as_str(), &address, db));
        outcome = outcome.max(add(&mut rows, &address, row));
    }
    choose(&mut rows);
    if setup.options.json {
        print_json(&rows)?;
    } else {
        print(&rows.iter().map(text_of).collect::<String>())?;
    }
    Ok(outcome)
}

fn add(rows: &mut Vec<Row>, address: &str, row: Result<Row, Error>) -> Outcome {
    match row {
        Ok(row) => {
            rows.push(row);
            Outcome::Done
        }
        Err(failure) => {
            error!("{address}: {}", chain(&failure));
            Outcome::Failed
        }
    }
}

fn look(queue: &str, address: &str, db: &mut Connection) -> Result<Row, Error> {
    let queue = pgq::QueueName::from(queue);
    let found = node::find(db, &queue)?;
    let found_here = found.is_some();
    let mut row = Row {
        node: found
            .as_ref()
            .map_or_else(|| "?".to_owned(), |node| node.name.clone()),
        address: address.to_owned(),
        role: "leaf",
        generation: found.as_ref().map(|node| node.generation),
        paused: found.as_ref().is_some_and(|node| node.paused),
        lineage: found.map(|node| node.lineage),
        top_tick: None,
        tick_age_seconds: None,
        oldest_consumer: None,
        oldest_tick: None,
        provider: node::stored_provider(db, &queue)?.map(|conninfo| conninfo.to_string()),
        candidate: false,
    };
    // What is applied counts, though the tick may not be in a relay's queue yet: promoting makes it.
    if found_here {
        let name = pgq::ConsumerName::from(row.node.as_str());
        row.top_tick =
            pgq::position::last_tick(&mut **db, "londiste", &name)?.map(pgq::TickId::get);
    }
    if !skytools::table::exists_schema(&mut **db, "pgq")? {
        return Ok(row);
    }
    let queues = db
        .query_typed_opt(
            "select q.queue_external_ticker, t.tick_id, \
                    greatest(extract(epoch from now() - t.tick_time), 0)::float8, o.co_name, o.sub_last_tick \
             from pgq.queue q \
             left join lateral (select * from pgq.tick t where t.tick_queue = q.queue_id \
                                order by t.tick_id desc limit 1) t on true \
             left join lateral (select c.co_name, s.sub_last_tick from pgq.subscription s \
                                join pgq.consumer c on c.co_id = s.sub_consumer \
                                where s.sub_queue = q.queue_id and s.sub_last_tick is not null \
                                order by s.sub_last_tick, c.co_name limit 1) o on true \
             where q.queue_name = $1",
            &[(&queue, Type::TEXT)],
        )
        .during("look at the queue")?;
    if let Some(found) = queues {
        row.role = match (found.get(0), mirror::is_relay(db, &queue)?) {
            (_, true) => "relay",
            (true, false) => "demoted root",
            (false, false) => "root",
        };
        row.top_tick = row.top_tick.max(found.get(1));
        row.tick_age_seconds = found.get(2);
        row.oldest_consumer = found.get(3);
        row.oldest_tick = found.get(4);
    }
    Ok(row)
}

/// Marks the relays that have the most.
fn choose(rows: &mut [Row]) {
    rows.sort_by_key(|row| std::cmp::Reverse((row.generation, row.top_tick)));
    let best = rows
        .iter()
        .find(|row| row.role == "relay")
        .map(|row| (row.lineage.clone(), row.generation, row.top_tick));
    let newest = rows.iter().map(|row| row.generation).max().flatten();
    for row in rows.iter_mut() {
        row.candidate = row.role == "relay"
            && row.generation == newest
            && Some((row.lineage.clone(), row.generation, row.top_tick)) == best;
    }
}

fn text_of(row: &Row) -> String {
    let number = |number: Option<i64>| number.map_or_else(|| "-".to_owned(), |n| n.to_string());
    let mut text = format!(
        "{} ({}): {}, generation {}, tick {}",
        row.node,
        row.address,
        row.role,
        number(row.generation.map(i64::from)),
        number(row.top_tick),
    );
    if let Some(age) = row.tick_age_seconds {
        text += &format!(" ({age:.1} s old)");
    }
    if let (Some(consumer), Some(tick)) = (&row.oldest_consumer, row.oldest_tick) {
        text += &format!(", oldest consumer {consumer} at {tick}");
    }
    if let Some(provider) = &row.provider {
        text += &format!(", reads from {provider}");
    }
    if row.candidate {
        text += ", candidate for root";
    }
    text += "\n";
    if let Some(lineage) = &row.lineage {
        text += &format!("    lineage {lineage}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(node: &str, role: &'static str, generation: i32, top_tick: i64) -> Row {
        Row {
            node: node.to_owned(),
            address: String::new(),
            role,
            lineage: Some("a".to_owned()),
            generation: Some(generation),
            paused: false,
            top_tick: Some(top_tick),
            tick_age_seconds: None,
            oldest_consumer: None,
            oldest_tick: None,
            provider: None,
            candidate: false,
        }
    }

    #[test]
    fn the_relay_that_has_the_most_is_the_candidate() {
        let mut rows = [
            row("root", "root", 1, 90),
            row("behind", "relay", 1, 70),
            row("ahead", "relay", 1, 80),
            row("leaf", "leaf", 1, 90),
        ];
        choose(&mut rows);
        let chosen: Vec<&str> = rows
            .iter()
            .filter(|row| row.candidate)
            .map(|row| row.node.as_str())
            .collect();
        assert_eq!(chosen, ["ahead"]);
    }

    #[test]
    fn a_relay_of_an_older_generation_is_no_candidate() {
        let mut rows = [row("new", "root", 2, 10), row("old", "relay", 1, 80)];
        choose(&mut rows);
        assert!(rows.iter().all(|row| !row.candidate));
    }
}
