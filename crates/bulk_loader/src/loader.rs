use std::collections::BTreeSet;

use pgq::consumer::{ConsumerConfig, OpenBatch};
use pgq::mover::drift::Lacking;
use pgq::mover::row::{RowConfig, Rows};
use pgq::mover::{Mover, Needs, Report};
use skytools::config::Both;
use skytools::db::{Connection, During, Tx};
use skytools::table::TableName;

use crate::config::{LoadMethod, MergeMode, Truncate};
use crate::part::Part;
use crate::{Config, Error};

/// Applies the row events of each batch to the tables that they are of.
pub(crate) struct BulkLoader {
    row_config: RowConfig,
    config: Config,
    /// There once the servers were looked at.
    rows: Option<Rows>,
    told: Told,
    /// Tables that events of the last batch are for.
    tables: BTreeSet<TableName>,
    /// Columns that the batch needs and the target does not have.
    additions: Vec<Lacking>,
}

/// What was said once and is not to be said with each batch.
#[derive(Debug, Default)]
pub(crate) struct Told(BTreeSet<(&'static str, String)>);

impl Told {
    /// Whether this is the first time.
    pub(crate) fn first(&mut self, what: &'static str, of: &str) -> bool {
        self.0.insert((what, of.to_owned()))
    }
}

impl Mover for BulkLoader {
    type Config = Both<RowConfig, Config>;
    type Error = Error;

    fn new(Both(row_config, config): Both<RowConfig, Config>) -> Result<BulkLoader, Error> {
        Ok(BulkLoader {
            row_config,
            config,
            rows: None,
            told: Told::default(),
            tables: BTreeSet::new(),
            additions: Vec::new(),
        })
    }

    fn check(
        &mut self,
        consumer: &ConsumerConfig,
        source: &mut Connection,
        target: &mut Connection,
    ) -> Result<(), Error> {
        let rows = Rows::open(&self.row_config, consumer, source, target)?;
        self.rows = Some(rows.with_keys_in_extra2());
        Ok(())
    }

    fn prepare(
        &mut self,
        batch: &mut OpenBatch<'_>,
        target: &mut Tx<'_>,
        report: &mut Report,
    ) -> Result<bool, Error> {
        let mut made = false;
        for lacking in &self.additions {
            made |= lacking.add(batch, target, report)?;
        }
        Ok(made)
    }

    fn apply(
        &mut self,
        batch: &mut OpenBatch<'_>,
        target: &mut Tx<'_>,
        report: &mut Report,
    ) -> Result<(), Error> {
        let rows = self
            .rows
            .as_ref()
            .expect("a job is checked before it works");
        // What only the end of a batch satisfies is checked then, where the constraint allows it.
        target
            .batch_execute("set constraints all deferred")
            .during("defer constraints")?;
        self.tables.clear();
        let mut part = Part::new(&self.config, rows, &mut self.told, &mut self.tables);
        let taken = batch.stream(|event| part.take(&event, target, report));
        if let Err(Error::NewColumns {
            source_table,
            target,
            columns,
        }) = &taken
        {
            self.additions.extend(columns.iter().map(|column| Lacking {
                source: Some((source_table.clone(), column.clone())),
                tables: vec![target.clone()],
                column: column.clone(),
            }));
        }
        taken?;
        part.finish(target, report)?;
        self.additions.clear();
        Ok(())
    }

    fn needs(&self) -> Needs {
        let updates = self.config.merge_mode == MergeMode::Upsert
            || self.config.load_method == LoadMethod::Correct;
        Needs {
            tables: self.tables.iter().cloned().collect(),
            privileges: match (updates, self.config.truncate) {
                (true, Truncate::Apply) => &["select", "insert", "update", "delete", "truncate"],
                (true, _) => &["select", "insert", "update", "delete"],
                (false, Truncate::Apply) => &["select", "insert", "delete", "truncate"],
                (false, _) => &["select", "insert", "delete"],
            },
            creates: false,
            temporary: true,
        }
    }

    fn rows(&self) -> Option<&Rows> {
        self.rows.as_ref()
    }

    fn is_unprepared(error: &Error) -> bool {
        matches!(error, Error::NewColumns { .. })
    }

    fn forget(&mut self) {
        self.additions.clear();
    }

    fn as_queue_error(error: &Error) -> Option<&pgq::Error> {
        match error {
            Error::Queue(error) => Some(error),
            _ => None,
        }
    }
}
