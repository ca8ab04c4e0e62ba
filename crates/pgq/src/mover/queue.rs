//! How events of one queue get into another, by what the role may do there.

use postgres::types::Type;
use skytools::db::{During, Text, Tx};
use skytools::table::TableName;

use crate::batch::{Event, EventTime};
use crate::producer::{BulkInsert, Field};
use crate::{Error, QueueName};

/// Fields of an event that move along; the target gives it an id and a transaction of its own.
pub const FIELDS: [Field; 7] = [
    Field::Kind,
    Field::Data,
    Field::Extra1,
    Field::Extra2,
    Field::Extra3,
    Field::Extra4,
    Field::Time,
];

/// How events are put in.
#[derive(Debug, Clone)]
pub enum Way {
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
    pub fn into(tx: &mut Tx<'_>, queue: &QueueName) -> Result<Way, Error> {
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
    pub fn drawback(&self) -> Option<&'static str> {
        match self {
            Way::Copy(_) => None,
            Way::InsertRaw => Some("events go through pgq.insert_event_raw, which is slower"),
            Way::Insert => Some(
                "events go through pgq.insert_event, which is slower and sets their time to that of \
                 the move",
            ),
        }
    }

    /// Puts some events in, in their order; returns how many.
    fn insert(
        &self,
        target: &mut Tx<'_>,
        queue: &QueueName,
        events: &[Event],
    ) -> Result<u64, Error> {
        match self {
            Way::Copy(table) => copy(target, table, events),
            Way::InsertRaw => {
                let call =
                    "pgq.insert_event_raw($1, null, e.t, null, null, e.k, e.d, e.a, e.b, e.c, e.f)";
                call_for_each(target, queue, call, events)
            }
            Way::Insert => {
                let call = "pgq.insert_event($1, e.k, e.d, e.a, e.b, e.c, e.f)";
                call_for_each(target, queue, call, events)
            }
        }
    }
}

/// Events are worth sending when they have so many bytes.
const OUTBOX_BYTES: usize = 256 * 1024;

/// Memory that an event takes beside its text.
const EVENT_BYTES: usize = size_of::<Event>();

/// Events on their way into a queue, to be sent many at a time; good until the end of the transaction.
#[derive(Debug)]
pub struct Outbox {
    queue: QueueName,
    way: Way,
    events: Vec<Event>,
    bytes: usize,
}

impl Outbox {
    /// An empty one.
    pub fn new(queue: QueueName, way: Way) -> Outbox {
        Outbox {
            queue,
            way,
            events: Vec::new(),
            bytes: 0,
        }
    }

    /// The queue that the events are for.
    pub fn queue(&self) -> &QueueName {
        &self.queue
    }

    /// How they get there.
    pub fn way(&self) -> &Way {
        &self.way
    }

    /// Bytes of memory that its events take.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds an event; true if it is time to send them.
    pub fn put(&mut self, event: Event) -> bool {
        let fields = [&event.kind, &event.data].into_iter().chain(&event.extra);
        let text = fields.flatten().map(|text| text.as_bytes().len());
        self.bytes += EVENT_BYTES + text.sum::<usize>();
        self.events.push(event);
        self.bytes >= OUTBOX_BYTES
    }

    /// Sends what there is, in its order; returns how many events.
    ///
    /// # Errors
    /// The target refuses.
    pub fn send(&mut self, target: &mut Tx<'_>) -> Result<u64, Error> {
        if self.events.is_empty() {
            return Ok(0);
        }
        let sent = self.way.insert(target, &self.queue, &self.events)?;
        self.events.clear();
        self.bytes = 0;
        Ok(sent)
    }
}

fn copy(target: &mut Tx<'_>, table: &TableName, events: &[Event]) -> Result<u64, Error> {
    let mut insert = BulkInsert::into_table(target, &table.quoted(), &FIELDS)?;
    for event in events {
        let time = event.time.to_string();
        let [kind, data, extra1, extra2, extra3, extra4] = [
            &event.kind,
            &event.data,
            &event.extra[0],
            &event.extra[1],
            &event.extra[2],
            &event.extra[3],
        ]
        .map(|field| field.as_ref().map(Text::as_bytes));
        let time = Some(time.as_bytes());
        insert.push(&[kind, data, extra1, extra2, extra3, extra4, time])?;
    }
    insert.finish()
}

fn call_for_each(
    target: &mut Tx<'_>,
    queue: &QueueName,
    call: &str,
    events: &[Event],
) -> Result<u64, Error> {
    // The rows of `unnest` come in order, and so are the calls.
    let sql = format!(
        "select count({call}) from rows from (unnest($2), unnest($3), unnest($4), unnest($5), \
         unnest($6), unnest($7), unnest($8)) e (t, k, d, a, b, c, f)"
    );
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
            &sql,
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
