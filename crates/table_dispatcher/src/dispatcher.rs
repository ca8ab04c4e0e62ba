use std::cell::Cell;
use std::sync::mpsc::{self, SyncSender};

use jiff::tz::TimeZone;
use pgq::batch::EventText;
use pgq::consumer::{ConsumerConfig, OpenBatch};
use pgq::mover::partition::{PartStyle, PartitionConfig, PartitionError, Partitions};
use pgq::mover::row::{Reason, RowConfig, Rows};
use pgq::mover::{Mover, Needs, Report};
use skytools::config::Both;
use skytools::db::{Connection, During, Tx};
use skytools::table::TableName;
use tracing::info;

use crate::config::PartField;
use crate::label::Labels;
use crate::loader::{Loader, Todo};
use crate::sorter::{Piece, Sorter, owned};
use crate::{Config, Error};

/// Pieces that are sorted before the target has taken the last one.
const AHEAD: usize = 2;

/// Appends the rows of each batch to a table, or to its partitions.
pub(crate) struct TableDispatcher {
    config: Config,
    row_config: RowConfig,
    partitions: Partitions,
    labels: Labels,
    /// Zone of the names of partitions, if it is set.
    zone: Option<TimeZone>,
    /// There from the first look at both servers on.
    rows: Option<Rows>,
    todo: Todo,
    /// Whether tables are being made.
    making: bool,
    /// Tables that rows of the last batch are for.
    tables: Vec<TableName>,
    /// Key columns of rows seen last.
    keys: Vec<String>,
}

impl TableDispatcher {
    /// Column of the target that partitions are by, if the server is to know.
    fn bounds(&self) -> Option<&str> {
        match &self.config.part_field {
            Some(PartField::Column(name)) => self.config.fields.target_of(name),
            _ => None,
        }
    }
}

impl Mover for TableDispatcher {
    type Config = Both<Config, Both<PartitionConfig, RowConfig>>;
    type Error = Error;

    fn new(Both(config, Both(partitions, row_config)): Self::Config) -> Result<Self, Error> {
        let zone = match partitions.partition_timezone.as_str() {
            "" => None,
            name => Some(zone(name)?),
        };
        let by_event_time = config.part_field == Some(PartField::EventTime);
        let style = partitions.part_style;
        let strict = config.part_strict || by_event_time;
        let dispatcher = TableDispatcher {
            labels: Labels {
                method: config.part_method,
                strict,
                zones: None,
                event_zone: zone.clone().unwrap_or(TimeZone::UTC),
            },
            partitions: Partitions::new(partitions, ""),
            config,
            row_config,
            zone,
            rows: None,
            todo: Todo::default(),
            making: false,
            tables: Vec::new(),
            keys: Vec::new(),
        };
        if dispatcher.config.part_field.is_some() && style != PartStyle::Template {
            if !strict {
                return Err(Error::Keys(
                    "part_strict = 0 goes with part_style = template only",
                ));
            }
            if style == PartStyle::Declarative && dispatcher.bounds().is_none() {
                return Err(Error::Keys(
                    "part_style = declarative needs a part_field that is a column of the target",
                ));
            }
        }
        Ok(dispatcher)
    }

    fn check(
        &mut self,
        consumer: &ConsumerConfig,
        source: &mut Connection,
        target: &mut Connection,
    ) -> Result<(), Error> {
        self.rows = Some(Rows::open(&self.row_config, consumer, source, target)?);
        self.partitions.check(&mut **target)?;
        if self.config.part_field == Some(PartField::EventTime) && self.zone.is_none() {
            self.labels.event_zone = zone_of(source)?;
        }
        let style = self.partitions.config().part_style;
        if style != PartStyle::Template
            && let Some(column) = self.bounds()
            && self
                .partitions
                .is_zoned(&mut **target, &self.config.dest_table, column)?
        {
            let session = zone_of(target)?;
            let names = self.zone.clone().unwrap_or_else(|| session.clone());
            self.labels.zones = Some((names, session));
        }
        Ok(())
    }

    fn prepare(
        &mut self,
        batch: &mut OpenBatch<'_>,
        target: &mut Tx<'_>,
        report: &mut Report,
    ) -> Result<bool, Error> {
        let todo = std::mem::take(&mut self.todo);
        self.making = !todo.tables.is_empty();
        let mut made = false;
        for wanted in &todo.tables {
            if self.partitions.ensure(target, wanted)? {
                info!("created table {}", wanted.table);
                report.created(&wanted.table.to_string());
                made = true;
            }
        }
        for column in &todo.columns {
            made |= column.add(batch, target, report)?;
        }
        Ok(made)
    }

    fn apply(
        &mut self,
        batch: &mut OpenBatch<'_>,
        target: &mut Tx<'_>,
        report: &mut Report,
    ) -> Result<(), Error> {
        self.making = false;
        let bounds = self.bounds().map(str::to_owned);
        let rows = self.rows.as_ref().expect("the servers are looked at first");
        let cutoff = self.partitions.cutoff(&mut **target)?;
        let sorter = Sorter::new(&self.config, rows, &self.labels, cutoff.as_deref());
        let mut loader = Loader::new(&self.config, &mut self.partitions, bounds.as_deref());
        let mut refused = rows.refused();
        let events = Cell::new(0_u64);
        let sorted = std::thread::scope(|scope| {
            let (send, sorted) = mpsc::sync_channel(AHEAD);
            let sorting = scope.spawn(move || sort(batch, sorter, &send));
            let mut load = || -> Result<(), Error> {
                let mut next = || {
                    let one = sorted.recv().ok();
                    if let Some(Sorted::Rows(piece)) = &one {
                        events.update(|events| events + piece.events.len() as u64);
                    }
                    one
                };
                let mut one = next();
                while let Some(sorted) = one {
                    report.progress(events.get());
                    one = match sorted {
                        Sorted::Rows(piece) => loader.load(target, piece, &mut next, report)?,
                        Sorted::Bad(event, reason) => {
                            refused.take(&event, &reason, target, report)?;
                            next()
                        }
                    };
                }
                Ok(())
            };
            let loaded = load();
            // Who sorts ends when nobody listens.
            drop(sorted);
            let sorted = sorting.join().expect("sorting does not panic");
            loaded.and(sorted)
        });
        self.tables = loader.tables();
        let sorted = sorted?;
        self.todo = loader.finish();
        if !self.todo.is_empty() {
            return Err(Error::Unprepared);
        }
        refused.finish(target)?;
        if sorted.skipped() > 0 {
            report.of(&self.config.dest_table.to_string()).skipped += sorted.skipped();
        }
        if let Some(keys) = sorted.keys() {
            self.keys = keys.to_vec();
        }
        Ok(())
    }

    fn maintain(&mut self, target: &mut Connection) -> Result<(), Error> {
        if self.config.part_field.is_none() || !self.labels.strict {
            return Ok(());
        }
        let (parent, period) = (&self.config.dest_table, self.config.part_method.period());
        let bounds = self.bounds().map(str::to_owned);
        let made =
            (self.partitions).precreate(target, parent, period, bounds.as_deref(), &self.keys)?;
        for table in made {
            info!("created table {table} ahead");
        }
        self.partitions
            .retire(target, std::slice::from_ref(parent))?;
        Ok(())
    }

    fn forget(&mut self) {
        self.partitions.forget();
        self.todo = Todo::default();
    }

    fn as_queue_error(error: &Error) -> Option<&pgq::Error> {
        match error {
            Error::Queue(error) => Some(error),
            _ => None,
        }
    }

    fn needs(&self) -> Needs {
        let parent = std::slice::from_ref(&self.config.dest_table);
        match self.making {
            true => Needs {
                tables: parent.to_vec(),
                privileges: &["select"],
                creates: true,
                temporary: false,
            },
            false => Needs {
                tables: self.tables.clone(),
                privileges: &["insert"],
                creates: false,
                temporary: false,
            },
        }
    }

    fn rows(&self) -> Option<&Rows> {
        self.rows.as_ref()
    }

    fn is_unprepared(error: &Error) -> bool {
        matches!(error, Error::Unprepared)
    }

    fn is_fatal(error: &Error) -> bool {
        matches!(
            error,
            Error::Keys(_) | Error::Zone(_) | Error::Partition(PartitionError::Key { .. })
        )
    }
}

/// What comes out of sorting.
pub(crate) enum Sorted {
    /// Rows for the target.
    Rows(Piece),
    /// An event that cannot be applied.
    Bad(EventText<'static>, Reason),
}

/// Sorts the events of a batch, beside the one who loads them.
fn sort<'s>(
    batch: &mut OpenBatch<'_>,
    mut sorter: Sorter<'s>,
    send: &SyncSender<Sorted>,
) -> Result<Sorter<'s>, Error> {
    // Who does not listen any more knows why.
    let hand_over = |sorted| send.send(sorted).map_err(|_| Error::Unprepared);
    batch.stream_here(|event| match sorter.put(&event) {
        Ok(pieces) => pieces.into_iter().map(Sorted::Rows).try_for_each(hand_over),
        Err(reason) => hand_over(Sorted::Bad(owned(&event), reason)),
    })?;
    let rest = sorter.take_all();
    rest.into_iter().map(Sorted::Rows).try_for_each(hand_over)?;
    Ok(sorter)
}

/// The time zone of a session.
fn zone_of(db: &mut Connection) -> Result<TimeZone, Error> {
    let row = db
        .query_typed_one("select pg_catalog.current_setting('TimeZone')", &[])
        .during("ask for the time zone")?;
    zone(row.get(0))
}

fn zone(name: &str) -> Result<TimeZone, Error> {
    TimeZone::get(name)
        .or_else(|_| TimeZone::posix(name))
        .map_err(|_| Error::Zone(name.to_owned()))
}
