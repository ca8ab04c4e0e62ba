//! How events get into a queue, by what the role may do.

use std::ops::ControlFlow;

use pgq::QueueName;
use pgq::batch::{Event, EventTime};
use pgq::consumer::OpenBatch;
use pgq::mover::Report;
use postgres::types::Type;
use skytools::db::{During, Text, Tx};
use skytools::full_copy::{CopyError, FullCopy};
use skytools::table::TableName;

use crate::Error;

/// Columns of an event that move along; the target gives it an id and a transaction of its own.
const COLUMNS: [&str; 7] = [
    "ev_type",
    "ev_data",
    "ev_extra1",
    "ev_extra2",
    "ev_extra3",
    "ev_extra4",
    "ev_time",
];

/// Events that are sent with one call of a function.
const CALL_EVENTS: usize = 1000;

/// How events are put in.
#[derive(Debug)]
pub(crate) enum Way {
    /// COPY into the table that now takes the queue's events.
    Copy(TableName),
    /// `pgq.insert_event_raw`, which keeps the time of an event, where it runs with its owner's rights.
    InsertRaw,
    /// `pgq.insert_event`, which does not.
    Insert,
}

impl Way {
    /// The best way into a queue that the role has; good until the end of the transaction, as the
    /// tables rotate.
    ///
    /// # Errors
    /// The queue does not exist, or takes no events now.
    pub(crate) fn into(tx: &mut Tx<'_>, queue: &QueueName) -> Result<Way, Error> {
        let row = tx
            .query_typed_one("select pgq.current_event_table($1)", &[(queue, Type::TEXT)])
            .during("look up the table of the queue")?;
        let table = TableName::parse(row.get(0));
        let row = tx
            .query_typed_one(
                "select pg_catalog.has_table_privilege($1, 'insert') \
                        and coalesce(pg_catalog.has_sequence_privilege((\
                            select pg_catalog.string_agg(pg_catalog.quote_ident(part), '.') \
                              from pg_catalog.regexp_split_to_table(q.queue_event_seq, '[.]') part\
                        ), 'usage'), false), \
                        exists (\
                            select from pg_catalog.pg_proc f \
                             where f.oid = pg_catalog.to_regprocedure('pgq.insert_event_raw(text, \
                                   bigint, timestamptz, integer, integer, text, text, text, text, \
                                   text, text)') \
                               and f.prosecdef and pg_catalog.has_function_privilege(f.oid, 'execute')) \
                 from pgq.queue q where q.queue_name = $2",
                &[(&table.quoted(), Type::TEXT), (queue, Type::TEXT)],
            )
            .during("ask how to write to the queue")?;
        Ok(match (row.get(0), row.get(1)) {
            (true, _) => Way::Copy(table),
            (false, true) => Way::InsertRaw,
            (false, false) => Way::Insert,
        })
    }

    /// What is worse about it than about the best one.
    pub(crate) fn drawback(&self) -> Option<&'static str> {
        match self {
            Way::Copy(_) => None,
            Way::InsertRaw => Some("events go through pgq.insert_event_raw, which is slower"),
            Way::Insert => Some(
                "events go through pgq.insert_event, which is slower and sets their time to that of \
                 the move",
            ),
        }
    }
}

/// Puts the events of a batch into a queue, in their order; returns how many.
///
/// # Errors
/// The source failed, or the target refuses.
pub(crate) fn move_batch(
    batch: &mut OpenBatch<'_>,
    target: &mut Tx<'_>,
    queue: &QueueName,
    way: &Way,
    report: &mut Report,
) -> Result<u64, Error> {
    let call = match way {
        Way::Copy(table) => return copy(batch, target, table, report),
        Way::InsertRaw => {
            "pgq.insert_event_raw($1, null, e.t, null, null, e.k, e.d, e.a, e.b, e.c, e.f)"
        }
        Way::Insert => "pgq.insert_event($1, e.k, e.d, e.a, e.b, e.c, e.f)",
    };
    // The rows of `unnest` come in order, and so are the calls.
    let sql = format!(
        "select count({call}) from rows from (unnest($2), unnest($3), unnest($4), unnest($5), \
         unnest($6), unnest($7), unnest($8)) e (t, k, d, a, b, c, f)"
    );
    let mut events: Vec<Event> = Vec::new();
    let mut sent = 0;
    batch.for_each(|event| {
        events.push(event);
        if events.len() >= CALL_EVENTS {
            sent += insert(target, queue, &sql, &events)?;
            events.clear();
            report.progress(sent);
        }
        Ok::<(), Error>(())
    })?;
    if !events.is_empty() {
        sent += insert(target, queue, &sql, &events)?;
    }
    Ok(sent)
}

fn copy(
    batch: &mut OpenBatch<'_>,
    target: &mut Tx<'_>,
    table: &TableName,
    report: &mut Report,
) -> Result<u64, Error> {
    let (mut source, query) = batch.query(&COLUMNS)?;
    let copied = FullCopy::new(table)
        .of_query(&query)
        .columns(&COLUMNS)
        .run(&mut source, target, |copied| {
            report.progress(copied.rows);
            ControlFlow::Continue(())
        })
        .map_err(copy_error)?;
    source.rollback()?;
    batch.counted(i64::try_from(copied.rows).unwrap_or(i64::MAX));
    Ok(copied.rows)
}

fn copy_error(error: CopyError) -> Error {
    match error {
        CopyError::Source(error) | CopyError::Target(error) => error.into(),
        CopyError::ColumnCount | CopyError::Stopped => {
            unreachable!("both sides have the same columns, and nobody stops the copy")
        }
    }
}

fn insert(
    target: &mut Tx<'_>,
    queue: &QueueName,
    sql: &str,
    events: &[Event],
) -> Result<u64, Error> {
    let texts = |field: fn(&Event) -> &Option<Text>| -> Vec<Option<&Text>> {
        events.iter().map(|event| field(event).as_ref()).collect()
    };
    let times: Vec<EventTime> = events.iter().map(|event| event.time).collect();
    let (kinds, data) = (texts(|event| &event.kind), texts(|event| &event.data));
    let [extra1, extra2, extra3, extra4] = [
        texts(|event| &event.extra[0]),
        texts(|event| &event.extra[1]),
        texts(|event| &event.extra[2]),
        texts(|event| &event.extra[3]),
    ];
    let row = target
        .query_typed_one(
            sql,
            &[
                (queue, Type::TEXT),
                (&times, Type::TIMESTAMPTZ_ARRAY),
                (&kinds, Type::TEXT_ARRAY),
                (&data, Type::TEXT_ARRAY),
                (&extra1, Type::TEXT_ARRAY),
                (&extra2, Type::TEXT_ARRAY),
                (&extra3, Type::TEXT_ARRAY),
                (&extra4, Type::TEXT_ARRAY),
            ],
        )
        .during("insert events into the queue")?;
    let inserted: i64 = row.get(0);
    Ok(u64::try_from(inserted).unwrap_or_default())
}
