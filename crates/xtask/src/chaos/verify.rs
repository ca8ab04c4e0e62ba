//! Comparing what was committed with what consumers were given.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write;

use postgres::Client;
use serde_json::Value;

use super::consumer::Kind;
use super::producer;
use super::stage::{Role, Stage};
use crate::Result;

/// Problems of one kind that are told one by one.
const SHOWN: usize = 10;

/// What came of a run.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) problems: Vec<String>,
    pub(super) summary: String,
    /// Number of the last tick.
    pub(super) ticks: i64,
}

/// An event as a consumer has written it down.
struct Seen {
    ev_id: i64,
    /// Name of the event in the ledger.
    tag: String,
    /// The change of a row, if it is one.
    change: Option<Change>,
}

struct Change {
    table: String,
    operation: char,
    id: i64,
    value: String,
}

/// An event of the ledger.
struct Committed {
    producer: i32,
    number: i64,
    txid: i64,
}

pub(super) fn verify(stage: &Stage, source: &mut Client, target: &mut Client) -> Result<Outcome> {
    let mut outcome = Outcome {
        ticks: source
            .query_one("select max(tick_id) from pgq.tick", &[])?
            .get(0),
        ..Outcome::default()
    };
    let ledger = ledger(source)?;
    durability(stage, &ledger, &mut outcome)?;
    let mut tables = BTreeMap::new();
    for table in ["item", "lot"] {
        let rows = source.query(&format!("select id::bigint, v from {table}"), &[])?;
        let rows: BTreeMap<i64, String> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        tables.insert(table.to_owned(), rows);
    }
    for kind in Kind::ALL {
        let db = if kind.is_at_source() {
            &mut *source
        } else {
            &mut *target
        };
        let seen = seen(db, kind)?;
        let around = |txid| between(source, txid);
        let repeated = delivery(kind, &ledger, &seen, around, &mut outcome)?;
        writeln!(
            outcome.summary,
            "  {:<6} saw {} events, {repeated} of them repeated",
            kind.name(),
            seen.len()
        )?;
        if kind.is_ordered() {
            replay(kind, &seen, &tables, &mut outcome);
        }
    }
    Ok(outcome)
}

/// Where consumers are, for a failure.
pub(super) fn consumers(db: &mut Client) -> Result<String> {
    let rows = db.query(
        "select consumer_name, lag::text, last_tick, current_batch::text, next_tick::text \
         from pgq.get_consumer_info()",
        &[],
    )?;
    let mut text = String::new();
    for row in rows {
        writeln!(
            text,
            "  {}: lag {:?}, tick {:?}, batch {:?} until {:?}",
            row.get::<_, &str>(0),
            row.get::<_, Option<&str>>(1),
            row.get::<_, Option<i64>>(2),
            row.get::<_, Option<&str>>(3),
            row.get::<_, Option<&str>>(4)
        )?;
    }
    Ok(text)
}

fn ledger(source: &mut Client) -> Result<HashMap<String, Committed>> {
    let rows = source.query("select tag, producer, number, txid from ledger", &[])?;
    Ok(rows
        .iter()
        .map(|row| {
            let committed = Committed {
                producer: row.get(1),
                number: row.get(2),
                txid: row.get(3),
            };
            (row.get(0), committed)
        })
        .collect())
}

/// What was acknowledged is there, and every producer did something.
fn durability(stage: &Stage, ledger: &HashMap<String, Committed>, outcome: &mut Outcome) -> Result {
    let mut counts: BTreeMap<producer::Kind, usize> = BTreeMap::new();
    for process in &stage.processes {
        let Role::Producer(kind, id) = process.role else {
            continue;
        };
        let own = || ledger.values().filter(|event| event.producer == id);
        let numbers: HashSet<i64> = own().map(|event| event.number).collect();
        *counts.entry(kind).or_default() += own().count();
        if numbers.is_empty() {
            let name = kind.name();
            outcome
                .problems
                .push(format!("producer {id} ({name}) committed nothing"));
        }
        for number in stage.acknowledged(id)? {
            if !numbers.contains(&number) {
                outcome.problems.push(format!(
                    "transaction {number} of producer {id} was acknowledged and is gone"
                ));
            }
        }
    }
    let counts: Vec<String> = counts
        .iter()
        .map(|(kind, count)| format!("{} {count}", kind.name()))
        .collect();
    writeln!(
        outcome.summary,
        "  committed {} events: {}",
        ledger.len(),
        counts.join(", ")
    )?;
    Ok(())
}

fn seen(db: &mut Client, kind: Kind) -> Result<Vec<Seen>> {
    let rows = db.query(
        "select ev_id, coalesce(kind, ''), coalesce(data, ''), coalesce(extra1, '') from seen \
         where consumer = $1 and kind is distinct from 'marker' order by place",
        &[&kind.name()],
    )?;
    rows.iter()
        .map(|row| {
            let (kind, data): (String, String) = (row.get(1), row.get(2));
            let change = match kind.as_str() {
                "event" => None,
                json => Some(change(json, &data, row.get(3))?),
            };
            Ok(Seen {
                ev_id: row.get(0),
                tag: change.as_ref().map_or(data, |change| {
                    format!("{}:{}", change.operation, change.value)
                }),
                change,
            })
        })
        .collect()
}

/// Reads `{"op":"INSERT",...}` and the row of a change.
fn change(kind: &str, data: &str, table: &str) -> Result<Change> {
    let bad = || format!("not a change: {kind} {data}");
    let kind: Value = serde_json::from_str(kind).map_err(|_| bad())?;
    let row: Value = serde_json::from_str(data).map_err(|_| bad())?;
    let table = table.strip_prefix("public.").ok_or_else(bad)?;
    Ok(Change {
        table: table.to_owned(),
        operation: kind["op"]
            .as_str()
            .and_then(|text| text.chars().next())
            .ok_or_else(bad)?,
        id: row["id"].as_i64().ok_or_else(bad)?,
        value: row["v"].as_str().ok_or_else(bad)?.to_owned(),
    })
}

/// Every committed event is there, once if that is promised, and no other. Returns how many are
/// repeated. `around` tells the ticks around a transaction.
fn delivery(
    kind: Kind,
    ledger: &HashMap<String, Committed>,
    seen: &[Seen],
    mut around: impl FnMut(i64) -> Result<String>,
    outcome: &mut Outcome,
) -> Result<usize> {
    let mut found: HashMap<&str, Vec<i64>> = HashMap::new();
    for event in seen {
        found.entry(&event.tag).or_default().push(event.ev_id);
    }
    let name = kind.name();
    let mut lost = Vec::new();
    for (tag, event) in ledger {
        if !found.contains_key(tag.as_str()) {
            lost.push(format!(
                "{name} did not get {tag}, transaction {}: {}",
                event.txid,
                around(event.txid)?
            ));
        }
    }
    let unknown = found
        .iter()
        .filter(|(tag, _)| !ledger.contains_key(**tag))
        .map(|(tag, ids)| format!("{name} got {tag}, which was never committed, as {ids:?}"))
        .collect();
    // The same event twice is one thing, two events of the same name are another.
    let mut doubled = Vec::new();
    let mut repeated = 0;
    for (tag, ids) in &found {
        repeated += ids.len() - 1;
        let different = ids.iter().any(|id| *id != ids[0]);
        if ids.len() > 1 && (kind.is_exact() || different) {
            doubled.push(format!("{name} got {tag} {} times, as {ids:?}", ids.len()));
        }
    }
    for group in [lost, unknown, doubled] {
        tell(group, outcome);
    }
    Ok(repeated)
}

/// The ticks around a transaction, as far as they are left.
fn between(source: &mut Client, txid: i64) -> Result<String> {
    let row = source.query_one(
        "select coalesce(max(tick_id) filter \
                    (where not txid_visible_in_snapshot($1, tick_snapshot))::text, 'none left'), \
                coalesce(min(tick_id) filter \
                    (where txid_visible_in_snapshot($1, tick_snapshot))::text, 'none') \
         from pgq.tick",
        &[&txid],
    )?;
    let (before, after): (String, String) = (row.get(0), row.get(1));
    Ok(format!(
        "last tick without it {before}, first with it {after}"
    ))
}

/// Applies the changes of rows in the order of their delivery: that gives the tables.
fn replay(
    kind: Kind,
    seen: &[Seen],
    tables: &BTreeMap<String, BTreeMap<i64, String>>,
    outcome: &mut Outcome,
) {
    let name = kind.name();
    let mut problems = Vec::new();
    let mut copies: BTreeMap<&str, BTreeMap<i64, String>> = BTreeMap::new();
    for event in seen {
        let Some(change) = &event.change else {
            continue;
        };
        let copy = copies.entry(&change.table).or_default();
        let there = copy.contains_key(&change.id);
        let fits = match change.operation {
            'I' => !there,
            'D' => copy.get(&change.id) == Some(&change.value),
            _ => there,
        };
        if !fits {
            problems.push(format!(
                "{name}: event {} ({}) of {} {} does not fit, the row being {:?}",
                event.ev_id,
                event.tag,
                change.table,
                change.id,
                copy.get(&change.id)
            ));
        }
        if change.operation == 'D' {
            copy.remove(&change.id);
        } else {
            copy.insert(change.id, change.value.clone());
        }
    }
    for (table, rows) in tables {
        let copy = copies.remove(table.as_str()).unwrap_or_default();
        let ids: HashSet<i64> = rows.keys().chain(copy.keys()).copied().collect();
        for id in ids {
            if rows.get(&id) != copy.get(&id) {
                problems.push(format!(
                    "{name}: row {id} of {table} is {:?}, and replayed {:?}",
                    rows.get(&id),
                    copy.get(&id)
                ));
            }
        }
    }
    tell(problems, outcome);
}

/// Adds problems of one kind, in a fixed order and not too many of them.
fn tell(mut problems: Vec<String>, outcome: &mut Outcome) {
    problems.sort();
    let more = problems.len().saturating_sub(SHOWN);
    problems.truncate(SHOWN);
    if more > 0 {
        problems.push(format!("... and {more} more of this kind"));
    }
    outcome.problems.append(&mut problems);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(tags: &[&str]) -> HashMap<String, Committed> {
        let event = |tag: &&str| {
            let committed = Committed {
                producer: 1,
                number: 1,
                txid: 7,
            };
            ((*tag).to_owned(), committed)
        };
        tags.iter().map(event).collect()
    }

    fn events(list: &[(i64, &str)]) -> Vec<Seen> {
        list.iter()
            .map(|(ev_id, tag)| Seen {
                ev_id: *ev_id,
                tag: (*tag).to_owned(),
                change: None,
            })
            .collect()
    }

    fn problems(kind: Kind, committed: &[&str], seen: &[(i64, &str)]) -> Vec<String> {
        let mut outcome = Outcome::default();
        let around = |_| Ok("ticks".to_owned());
        delivery(
            kind,
            &ledger(committed),
            &events(seen),
            around,
            &mut outcome,
        )
        .unwrap();
        outcome.problems
    }

    #[test]
    fn a_lost_a_strange_and_a_doubled_event_are_problems() {
        assert_eq!(
            problems(Kind::Serial, &["a", "b"], &[(1, "a"), (1, "a"), (2, "c")]),
            [
                "serial did not get b, transaction 7: ticks",
                "serial got c, which was never committed, as [2]",
                "serial got a 2 times, as [1, 1]",
            ]
        );
    }

    #[test]
    fn at_least_once_may_repeat_an_event_but_not_have_it_as_two() {
        assert!(problems(Kind::Plain, &["a"], &[(1, "a"), (1, "a")]).is_empty());
        let two = problems(Kind::Plain, &["a"], &[(1, "a"), (2, "a")]);
        assert_eq!(two, ["plain got a 2 times, as [1, 2]"]);
    }

    #[test]
    fn changes_of_a_row_out_of_order_are_a_problem() {
        let changes = |list: &[(char, &str)]| -> Vec<Seen> {
            list.iter()
                .map(|(operation, value)| Seen {
                    ev_id: 1,
                    tag: String::new(),
                    change: Some(Change {
                        table: "item".to_owned(),
                        operation: *operation,
                        id: 5,
                        value: (*value).to_owned(),
                    }),
                })
                .collect()
        };
        let rows = BTreeMap::from([("item".to_owned(), BTreeMap::from([(5, "b".to_owned())]))]);
        let count = |list| {
            let mut outcome = Outcome::default();
            replay(Kind::Serial, &changes(list), &rows, &mut outcome);
            outcome.problems.len()
        };
        assert_eq!(count(&[('I', "a"), ('U', "b")]), 0);
        assert_eq!(count(&[('I', "x"), ('D', "x"), ('I', "a"), ('U', "b")]), 0);
        assert_eq!(count(&[('U', "b"), ('I', "a")]), 3);
        assert_eq!(count(&[('I', "a"), ('D', "x"), ('I', "b")]), 1);
        assert_eq!(count(&[]), 1);
    }
}
