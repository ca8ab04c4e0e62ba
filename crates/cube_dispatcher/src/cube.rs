use std::collections::HashMap;

use pgq::consumer::{ConsumerConfig, OpenBatch};
use pgq::mover::partition::{PartStyle, PartitionError, Partitions, Period, Span};
use pgq::mover::row::{RowConfig, Rows};
use pgq::mover::{Courier, Mover, Needs, Report};
use postgres::types::Type;
use skytools::config::Both;
use skytools::db::{Connection, During, Tx};
use skytools::table::TableName;
use tracing::info;

use crate::config::Mode;
use crate::work::{Fault, Known, Missing, Work};
use crate::{Config, CubeConfig, Error};

/// Puts the rows of each batch into the tables of its period.
pub(crate) struct CubeDispatcher {
    config: CubeConfig,
    row_config: RowConfig,
    /// There as soon as both servers were looked at.
    rows: Option<Rows>,
    known: Known,
    /// That of the last batch, if its label says how long it is.
    period: Option<Period>,
    /// Whether tables are being made.
    making: bool,
}

impl Mover for CubeDispatcher {
    type Config = Config;
    type Error = Error;

    fn new(config: Config) -> Result<CubeDispatcher, Error> {
        let Both(row_config, Both(partitions, config)) = config;
        if partitions.part_style == PartStyle::Declarative && config.part_time_column.is_none() {
            return Err(Error::NoTimeColumn);
        }
        Ok(CubeDispatcher {
            known: Known {
                partitions: Partitions::new(partitions, config.template()),
                layouts: HashMap::new(),
                parents: HashMap::new(),
                missing: Missing::default(),
            },
            config,
            row_config,
            rows: None,
            period: None,
            making: false,
        })
    }

    fn check(
        &mut self,
        consumer: &ConsumerConfig,
        source: &mut Connection,
        target: &mut Connection,
    ) -> Result<(), Error> {
        self.rows = Some(Rows::open(&self.row_config, consumer, source, target)?);
        Ok(self.known.partitions.check(&mut **target)?)
    }

    fn prepare(
        &mut self,
        batch: &mut OpenBatch<'_>,
        target: &mut Tx<'_>,
        report: &mut Report,
    ) -> Result<bool, Error> {
        let Missing { tables, columns } = std::mem::take(&mut self.known.missing);
        let mut made = false;
        self.making = !tables.is_empty();
        for wanted in tables {
            if self.known.partitions.ensure(target, &wanted)? {
                info!("created table {}", wanted.table);
                report.created(&wanted.table.to_string());
                made = true;
            }
        }
        for lacking in columns {
            made |= lacking.add(batch, target, report)?;
            self.known.layouts.clear();
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
        let label = self.label(batch)?;
        self.period = Span::parse(&label).map(|span| span.period());
        let cutoff = self.known.partitions.cutoff(&mut **target)?;
        let is_past = cutoff.is_some_and(|cutoff| Partitions::is_past(&label, &cutoff));
        let rows = (self.rows.as_ref()).expect("servers are looked at before the first batch");
        let mut refused = rows.refused();
        let mut work = Work::new(&self.config, rows, &mut self.known, &label, is_past);
        std::thread::scope(|scope| {
            let mut courier = Courier::new(scope, target);
            batch.stream_here(|event| match work.put(&event, &mut courier, report) {
                Ok(()) => Ok(()),
                Err(Fault::Event(reason)) => {
                    Ok(refused.take(&event, &reason, courier.target()?, report)?)
                }
                Err(Fault::Error(error)) => Err(error),
            })?;
            work.finish(&mut courier, report)?;
            Ok(refused.finish(courier.target()?)?)
        })
    }

    fn needs(&self) -> Needs {
        let written = self.known.layouts.keys().filter(|_| !self.making);
        let likened = self.known.parents.keys().filter(|_| self.making);
        let latest = self.config.mode == Mode::KeepLatest;
        Needs {
            tables: written.chain(likened).cloned().collect(),
            privileges: match (self.making, latest) {
                (true, _) => &["select"],
                (false, true) => &["select", "insert", "delete"],
                (false, false) => &["insert"],
            },
            creates: self.making,
            temporary: latest,
        }
    }

    fn rows(&self) -> Option<&Rows> {
        self.rows.as_ref()
    }

    fn is_unprepared(error: &Error) -> bool {
        matches!(error, Error::Unprepared(_))
    }

    fn maintain(&mut self, target: &mut Connection) -> Result<(), Error> {
        let Known {
            partitions,
            parents,
            ..
        } = &mut self.known;
        if let Some(period) = self.period {
            let column = self.config.time_column(partitions.config().part_style);
            for (parent, keys) in parents.iter() {
                for table in partitions.precreate(target, parent, period, column, keys)? {
                    info!("created table {table} ahead");
                }
            }
        }
        let parents: Vec<TableName> = parents.keys().cloned().collect();
        for old in self.known.partitions.retire(target, &parents)? {
            info!("table {old} was past its time");
            self.known.layouts.remove(&old);
        }
        Ok(())
    }

    fn forget(&mut self) {
        self.known.partitions.forget();
        self.known.layouts.clear();
        self.known.missing = Missing::default();
    }

    fn as_queue_error(error: &Error) -> Option<&pgq::Error> {
        match error {
            Error::Queue(error) => Some(error),
            _ => None,
        }
    }

    fn is_fatal(error: &Error) -> bool {
        matches!(
            error,
            Error::NoTimeColumn | Error::Partition(PartitionError::Key { .. })
        )
    }
}

impl CubeDispatcher {
    /// The end of the names of tables for a batch: that of its period. The source makes it, in the time zone of
    /// its session if no other is wanted, of what is stored of the batch, so that it is the same whenever the
    /// batch comes.
    fn label(&self, batch: &mut OpenBatch<'_>) -> Result<String, Error> {
        let format = &self.config.dateformat;
        if format.is_empty() {
            return Ok(String::new());
        }
        let id = batch.batch().id;
        let zone = &self.known.partitions.config().partition_timezone;
        let end = match zone.is_empty() {
            true => "batch_end",
            false => "pg_catalog.timezone($3, batch_end)",
        };
        let sql = format!("select pg_catalog.to_char({end}, $2) from pgq.get_batch_info($1)");
        let mut parameters: Vec<(&(dyn postgres::types::ToSql + Sync), Type)> =
            vec![(&id, Type::INT8), (format, Type::TEXT)];
        if !zone.is_empty() {
            parameters.push((zone, Type::TEXT));
        }
        let row = batch
            .source()?
            .query_typed_one(&sql, &parameters)
            .during("ask for the end of the batch")?;
        let label: Option<String> = row.get(0);
        (label.filter(|label| !label.is_empty())).ok_or_else(|| Error::NoPeriod(format.clone()))
    }
}
