//! Sequences, and the parameters that identity columns have of them.

use postgres::types::Type;
use tracing::{debug, info};

use super::StructError;
use crate::db::{DbError, During, GenericClient, Tx};
use crate::table::{self, RelationKind, TableName};

/// The parameters of a sequence.
#[derive(Debug, Clone)]
pub(super) struct Parameters {
    /// `bigint`, `integer` or `smallint`.
    data_type: String,
    start: i64,
    increment: i64,
    min: i64,
    max: i64,
    cache: i64,
    cycle: bool,
}

/// Columns of `pg_sequence s` that [`Parameters::from_row`] reads.
pub(super) const COLUMNS: &str = "pg_catalog.format_type(s.seqtypid, null), s.seqstart, \
                                  s.seqincrement, s.seqmin, s.seqmax, s.seqcache, s.seqcycle";

impl Parameters {
    /// Reads [`COLUMNS`], the first of which is number `at`; `None` if there is no sequence.
    pub(super) fn from_row(
        row: &postgres::Row,
        at: usize,
    ) -> Result<Option<Parameters>, postgres::Error> {
        let Some(data_type) = row.try_get(at)? else {
            return Ok(None);
        };
        Ok(Some(Parameters {
            data_type,
            start: row.try_get(at + 1)?,
            increment: row.try_get(at + 2)?,
            min: row.try_get(at + 3)?,
            max: row.try_get(at + 4)?,
            cache: row.try_get(at + 5)?,
            cycle: row.try_get(at + 6)?,
        }))
    }

    /// What is not the default, with a blank before each part; the sequence begins at `start`.
    fn options(&self, start: i64) -> String {
        let (lowest, highest) = match self.data_type.as_str() {
            "smallint" => (i64::from(i16::MIN), i64::from(i16::MAX)),
            "integer" => (i64::from(i32::MIN), i64::from(i32::MAX)),
            _ => (i64::MIN, i64::MAX),
        };
        let (min, max) = if self.increment > 0 {
            (1, highest)
        } else {
            (lowest, -1)
        };
        let first = if self.increment > 0 {
            self.min
        } else {
            self.max
        };
        let mut options = String::new();
        let mut add = |differs: bool, text: String| {
            if differs {
                options.push(' ');
                options.push_str(&text);
            }
        };
        add(
            self.increment != 1,
            format!("INCREMENT BY {}", self.increment),
        );
        add(self.min != min, format!("MINVALUE {}", self.min));
        add(self.max != max, format!("MAXVALUE {}", self.max));
        add(start != first, format!("START {start}"));
        add(self.cache != 1, format!("CACHE {}", self.cache));
        add(self.cycle, "CYCLE".to_owned());
        options
    }

    /// ` (INCREMENT BY 2)` for an identity column, or nothing.
    pub(super) fn of_identity(&self) -> String {
        let options = self.options(self.start);
        match options.trim_start() {
            "" => String::new(),
            options => format!(" ({options})"),
        }
    }
}

/// The definition of a sequence, with the value that it gives out next.
#[derive(Debug)]
pub struct SeqStruct {
    sequence: TableName,
    parameters: Parameters,
    next: i64,
}

impl SeqStruct {
    /// Reads the definition of a sequence.
    ///
    /// # Errors
    /// There is none of that name, it has given out its last value, or the server did not answer.
    pub fn read(tx: &mut Tx<'_>, sequence: &TableName) -> Result<SeqStruct, StructError> {
        let relation = table::relation(&mut **tx, sequence)?;
        if relation.kind != RelationKind::Sequence {
            return Err(StructError::NotASequence(sequence.clone()));
        }
        let step = || format!("read the sequence {sequence}");
        let row = tx
            .query_typed_one(
                &format!(
                    "select {COLUMNS}, v.last_value, v.is_called
                       from pg_catalog.pg_sequence s, {} v
                      where s.seqrelid = $1",
                    sequence.quoted()
                ),
                &[(&relation.oid, Type::OID)],
            )
            .during(step())?;
        let parameters = Parameters::from_row(&row, 0)
            .during(step())?
            .ok_or_else(|| StructError::NotASequence(sequence.clone()))?;
        let last: i64 = row.try_get(7).during(step())?;
        let is_called: bool = row.try_get(8).during(step())?;
        let range = parameters.min..=parameters.max;
        let next = match is_called {
            false => Some(last),
            true => last.checked_add(parameters.increment),
        };
        let next = match next.filter(|next| range.contains(next)) {
            Some(next) => next,
            None if parameters.cycle && parameters.increment > 0 => parameters.min,
            None if parameters.cycle => parameters.max,
            None => return Err(StructError::SequenceEnd(sequence.clone())),
        };
        Ok(SeqStruct {
            sequence: sequence.clone(),
            parameters,
            next,
        })
    }

    /// Creates the sequence, perhaps under another name; it goes on where the one that was read is.
    ///
    /// # Errors
    /// The statement failed.
    pub fn create(
        &self,
        db: &mut impl GenericClient,
        new_name: Option<&TableName>,
    ) -> Result<(), DbError> {
        let name = new_name.unwrap_or(&self.sequence);
        info!("Creating {name}");
        let sql = self.sql(name);
        debug!("{sql}");
        db.batch_execute(&sql).during(format!("create {name}"))
    }

    /// Drops the sequence.
    ///
    /// # Errors
    /// The statement failed: a default needs the sequence, say.
    pub fn drop(&self, db: &mut impl GenericClient) -> Result<(), DbError> {
        info!("Dropping {}", self.sequence);
        let sql = format!("DROP SEQUENCE {};", self.sequence.quoted());
        debug!("{sql}");
        db.batch_execute(&sql)
            .during(format!("drop {}", self.sequence))
    }

    /// The statement that [`SeqStruct::create`] would run.
    pub fn create_sql(&self) -> String {
        self.sql(&self.sequence)
    }

    fn sql(&self, name: &TableName) -> String {
        let data_type = match self.parameters.data_type.as_str() {
            "bigint" => String::new(),
            other => format!(" AS {other}"),
        };
        let options = self.parameters.options(self.next);
        format!("CREATE SEQUENCE {}{data_type}{options};", name.quoted())
    }
}
