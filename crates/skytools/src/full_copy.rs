//! Streaming a table from one server into another.
//!
//! Rows flow through `COPY … TO STDOUT` and `COPY … FROM STDIN` in text form, a chunk at a time: the
//! source is read only as fast as the target takes, and memory does not grow with the table.

use std::io::{self, BufRead, Write};
use std::ops::ControlFlow;
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::thread;

use crate::db::{CopyInWriter, CopyOutReader, DbError, Failed, Tx};
use crate::quote;
use crate::table::TableName;

/// Bytes after which progress is told.
const CHUNK_BYTES: u64 = 512 * 1024;

/// Bytes gathered before they go to the target: less than fits between the two processes, so that the
/// target has something to do while the next ones come.
const PIECE_BYTES: usize = 64 * 1024;

/// Pieces read before the target has taken the last one. Each may be a row of any size.
const AHEAD: usize = 1;

/// Bytes sent to the target in its first COPY.
///
/// The driver reports a refused row only when a COPY ends, and the server swallows the rest until
/// then. So one COPY carries a part of the table, each twice as long as the one before: a row that
/// the target refuses is known before much more has been sent.
const FIRST_PART_BYTES: u64 = 1024 * 1024;

/// Bytes of the longest part.
const LONGEST_PART_BYTES: u64 = 256 * 1024 * 1024;

/// What to copy, and into what.
///
/// ```no_run
/// # use std::ops::ControlFlow;
/// # use skytools::{db::Connection, full_copy::FullCopy, table::TableName};
/// # fn copy(source: &mut Connection, target: &mut Connection) -> Result<(), Box<dyn std::error::Error>> {
/// let table = TableName::parse("public.orders");
/// let (mut from, mut to) = (source.begin()?, target.begin()?);
/// let copied = FullCopy::new(&table)
///     .columns(&["id", "data"])
///     .run(&mut from, &mut to, |_| ControlFlow::Continue(()))?;
/// to.commit()?;
/// # let _ = copied; Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct FullCopy {
    source: TableName,
    target: TableName,
    source_columns: Vec<String>,
    target_columns: Option<Vec<String>>,
    condition: Option<String>,
    children: bool,
    query: Option<String>,
    frozen: bool,
}

/// How much has been copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Copied {
    /// Bytes of the rows in text form, line ends included.
    pub bytes: u64,
    /// Rows.
    pub rows: u64,
}

/// Why a table was not copied.
///
/// Whatever the cause, nothing can be committed in either transaction.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The source did not deliver.
    #[error(transparent)]
    Source(DbError),
    /// The target refused.
    #[error(transparent)]
    Target(DbError),
    /// A source column has no counterpart.
    #[error("src and dst column lists must match in length")] // text fixed by the reference
    ColumnCount,
    /// The progress callback asked for the end.
    #[error("copy stopped on request")]
    Stopped,
    /// The closure that rewrites rows refused one.
    #[error("cannot rewrite a row")]
    Rewrite(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl FullCopy {
    /// All columns and rows of a table, into a table of the same name. Rows of child tables and
    /// values of generated columns are left out.
    pub fn new(table: &TableName) -> FullCopy {
        FullCopy {
            source: table.clone(),
            target: table.clone(),
            source_columns: Vec::new(),
            target_columns: None,
            condition: None,
            children: false,
            query: None,
            frozen: false,
        }
    }

    /// The rows of a query instead of those of the source table. It is inserted as it is, and its
    /// columns are those of [`FullCopy::columns`].
    #[must_use]
    pub fn of_query(mut self, query: &str) -> FullCopy {
        self.query = Some(query.to_owned());
        self
    }

    /// These columns only; none means all.
    #[must_use]
    pub fn columns<S: AsRef<str>>(mut self, columns: &[S]) -> FullCopy {
        self.source_columns = columns
            .iter()
            .map(|name| name.as_ref().to_owned())
            .collect();
        self
    }

    /// Only rows for which an SQL expression holds. It is inserted into the query as it is.
    #[must_use]
    pub fn condition(mut self, expression: &str) -> FullCopy {
        self.condition = Some(expression.to_owned());
        self
    }

    /// Rows of child tables too: a partitioned table has no others.
    #[must_use]
    pub fn with_children(mut self) -> FullCopy {
        self.children = true;
        self
    }

    /// As rows that are visible to everybody once they are committed, and that VACUUM has nothing to do for. The
    /// target has to be an ordinary table that was emptied by TRUNCATE in its transaction, and not in a savepoint.
    #[must_use]
    pub fn frozen(mut self) -> FullCopy {
        self.frozen = true;
        self
    }

    /// Into a table of another name.
    #[must_use]
    pub fn into_table(mut self, table: &TableName) -> FullCopy {
        self.target = table.clone();
        self
    }

    /// Into columns of other names, in the order of the source's columns.
    #[must_use]
    pub fn into_columns<S: AsRef<str>>(mut self, columns: &[S]) -> FullCopy {
        self.target_columns = Some(
            columns
                .iter()
                .map(|name| name.as_ref().to_owned())
                .collect(),
        );
        self
    }

    /// Copies. Both sides run in the caller's transactions, and nothing is committed.
    ///
    /// `progress` hears how much has been sent after each chunk of 512 KiB, and at the end; it may
    /// break off.
    ///
    /// # Errors
    /// One side failed, or `progress` broke off. Then both transactions have failed, and both
    /// connections can be used again after a rollback; but a target that refused before the first
    /// row, for want of the table for example, needs a new connection
    /// ([`crate::db::Connection::is_open`]).
    pub fn run(
        &self,
        source: &mut Tx<'_>,
        target: &mut Tx<'_>,
        mut progress: impl FnMut(Copied) -> ControlFlow<()>,
    ) -> Result<Copied, CopyError> {
        self.start(source, target, None, &mut progress)
    }

    /// Copies as [`FullCopy::run`] does, with each row as `rewrite` makes it.
    ///
    /// `rewrite` gets a row in the text form of COPY, with its line end, and appends what is to take its place to the
    /// buffer: a row, several of them, or nothing. [`copy::fields`](crate::copy::fields) and
    /// [`copy::row_of`](crate::copy::row_of) read and write rows. What it appends is what is counted.
    ///
    /// ```no_run
    /// # use std::ops::ControlFlow;
    /// # use skytools::{copy, db::Tx, full_copy::{CopyError, FullCopy}, quote, table::TableName};
    /// # fn mask(from: &mut Tx<'_>, to: &mut Tx<'_>) -> Result<(), CopyError> {
    /// // Ids as they are, nobody's address.
    /// FullCopy::new(&TableName::parse("users")).columns(&["id", "email"]).run_rewriting(
    ///     from,
    ///     to,
    ///     |row, out| {
    ///         let id = copy::fields(row).next().transpose()?.flatten();
    ///         copy::row_of([id.as_deref(), None], out);
    ///         Ok::<(), quote::Error>(())
    ///     },
    ///     |_| ControlFlow::Continue(()),
    /// )?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As of [`FullCopy::run`]; [`CopyError::Rewrite`] with the error of `rewrite`.
    pub fn run_rewriting<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
        &self,
        source: &mut Tx<'_>,
        target: &mut Tx<'_>,
        mut rewrite: impl FnMut(&[u8], &mut Vec<u8>) -> Result<(), E>,
        mut progress: impl FnMut(Copied) -> ControlFlow<()>,
    ) -> Result<Copied, CopyError> {
        let rewriter = Rewriter {
            rewrite: &mut |row, out| {
                rewrite(row, out).map_err(|error| CopyError::Rewrite(error.into()))
            },
            rest: Vec::new(),
            out: Vec::new(),
        };
        self.start(source, target, Some(rewriter), &mut progress)
    }

    fn start(
        &self,
        source: &mut Tx<'_>,
        target: &mut Tx<'_>,
        rewriter: Option<Rewriter<'_>>,
        progress: &mut dyn FnMut(Copied) -> ControlFlow<()>,
    ) -> Result<Copied, CopyError> {
        let (copy_out, copy_in) = (self.copy_out_sql(), self.copy_in_sql()?);
        let mut copied = Copied::default();
        let canceller = source.canceller();
        let result = match source.copy_out(&copy_out) {
            Ok(reader) => thread::scope(|scope| {
                let (send, pieces) = mpsc::sync_channel(AHEAD);
                let (give_back, spent) = mpsc::channel();
                let reading = scope.spawn(move || read_ahead(reader, &send, &spent));
                let mut source = Source { pieces, give_back };
                let result = self.transfer(
                    &mut source,
                    target,
                    &copy_in,
                    rewriter,
                    &mut copied,
                    progress,
                );
                // Then nobody listens to the thread, and it ends; unless it waits for the source.
                drop(source);
                let broken_off = matches!(
                    result,
                    Err(CopyError::Target(_) | CopyError::Stopped | CopyError::Rewrite(_))
                );
                if broken_off {
                    // Unreachable for a cancel request, the server is likely gone; reading fails too.
                    let _ = canceller.cancel();
                }
                let reader = reading.join().expect("reading does not panic");
                if broken_off {
                    drain(reader);
                }
                result
            }),
            Err(error) => Err(self.source_error(error)),
        };
        if result.is_err() {
            source.give_up();
            target.give_up();
        }
        result.map(|()| copied)
    }

    fn transfer(
        &self,
        source: &mut Source,
        target: &mut Tx<'_>,
        copy_in: &str,
        mut rewriter: Option<Rewriter<'_>>,
        copied: &mut Copied,
        progress: &mut dyn FnMut(Copied) -> ControlFlow<()>,
    ) -> Result<(), CopyError> {
        let mut told = 0;
        let mut part_limit = FIRST_PART_BYTES;
        loop {
            let mut writer = match target.copy_in(copy_in) {
                Ok(writer) => writer,
                Err(error) => return Err(self.target_error(error)),
            };
            let mut part_bytes = 0;
            let more = loop {
                let Piece { rows: chunk, more } = source.next();
                let more = match more {
                    Ok(more) => more,
                    Err(error) => return Err(self.source_error(error)),
                };
                let rows = match &mut rewriter {
                    Some(rewriter) => rewriter.rows(&chunk, more)?,
                    None => &chunk,
                };
                if let Err(error) = send(&mut writer, rows) {
                    return Err(self.target_error(error));
                }
                copied.bytes += rows.len() as u64;
                copied.rows += rows_in(rows);
                part_bytes += rows.len() as u64;
                let at_row_end = rows.is_empty() || rows.ends_with(b"\n");
                // A reader that has ended needs it no more.
                let _ = source.give_back.send(chunk);
                if !more || copied.bytes - told >= CHUNK_BYTES {
                    told = copied.bytes;
                    if progress(*copied).is_break() {
                        return Err(CopyError::Stopped);
                    }
                }
                if !more || (part_bytes >= part_limit && at_row_end) {
                    break more;
                }
            };
            if let Err(error) = writer.finish() {
                return Err(self.target_error(error));
            }
            if !more {
                return Ok(());
            }
            part_limit = (part_limit * 2).min(LONGEST_PART_BYTES);
        }
    }

    fn source_error(&self, error: impl Into<Failed>) -> CopyError {
        CopyError::Source(DbError::failed(
            match self.query {
                Some(_) => format!("copy rows for table {}", self.target),
                None => format!("copy from table {}", self.source),
            },
            error.into(),
        ))
    }

    fn target_error(&self, error: impl Into<Failed>) -> CopyError {
        CopyError::Target(DbError::failed(
            format!("copy into table {}", self.target),
            error.into(),
        ))
    }

    fn copy_out_sql(&self) -> String {
        if let Some(query) = &self.query {
            return format!("copy ({query}) to stdout");
        }
        let columns = column_list(&self.source_columns);
        let table = self.source.quoted();
        if self.condition.is_none() && !self.children {
            return format!("copy {table}{} to stdout", in_brackets(&columns));
        }
        let columns = if columns.is_empty() { "*" } else { &columns };
        let only = if self.children { "" } else { "only " };
        let condition = match &self.condition {
            Some(condition) => format!(" where {condition}"),
            None => String::new(),
        };
        format!("copy (select {columns} from {only}{table}{condition}) to stdout")
    }

    fn copy_in_sql(&self) -> Result<String, CopyError> {
        let columns = match &self.target_columns {
            Some(columns) if columns.len() != self.source_columns.len() => {
                return Err(CopyError::ColumnCount);
            }
            Some(columns) => columns,
            None => &self.source_columns,
        };
        let columns = in_brackets(&column_list(columns));
        let options = if self.frozen { " with (freeze)" } else { "" };
        Ok(format!(
            "copy {}{columns} from stdin{options}",
            self.target.quoted()
        ))
    }
}

/// Writes what becomes of a line of `COPY`.
type Rewrite<'a> = &'a mut dyn FnMut(&[u8], &mut Vec<u8>) -> Result<(), CopyError>;

/// Rows on their way through a closure.
struct Rewriter<'a> {
    rewrite: Rewrite<'a>,
    /// The beginning of a row whose end is still to come.
    rest: Vec<u8>,
    out: Vec<u8>,
}

impl Rewriter<'_> {
    /// What becomes of the rows that end in a chunk; of all that are left if there is no more.
    fn rows(&mut self, chunk: &[u8], more: bool) -> Result<&[u8], CopyError> {
        self.out.clear();
        for line in chunk.split_inclusive(|&byte| byte == b'\n') {
            if self.rest.is_empty() && line.ends_with(b"\n") {
                (self.rewrite)(line, &mut self.out)?;
                continue;
            }
            self.rest.extend_from_slice(line);
            if line.ends_with(b"\n") {
                (self.rewrite)(&self.rest, &mut self.out)?;
                self.rest.clear();
            }
        }
        if !more && !self.rest.is_empty() {
            (self.rewrite)(&self.rest, &mut self.out)?;
            self.rest.clear();
        }
        Ok(&self.out)
    }
}

/// Some rows of the source, and whether it has more.
struct Piece {
    rows: Vec<u8>,
    more: Result<bool, postgres::Error>,
}

/// Where the rows come from: a thread that reads while others are being sent.
struct Source {
    pieces: Receiver<Piece>,
    /// Buffers to be filled again.
    give_back: Sender<Vec<u8>>,
}

impl Source {
    fn next(&mut self) -> Piece {
        self.pieces
            .recv()
            .expect("who reads says that there is no more before it ends")
    }
}

/// Reads until the source ends or nobody wants more.
fn read_ahead<'r>(
    mut reader: CopyOutReader<'r>,
    pieces: &SyncSender<Piece>,
    spent: &Receiver<Vec<u8>>,
) -> CopyOutReader<'r> {
    loop {
        let mut rows = spent.try_recv().unwrap_or_default();
        rows.clear();
        // A buffer that a giant row has stretched is not worth keeping.
        rows.shrink_to(4 * PIECE_BYTES);
        let more = fill(&mut reader, &mut rows);
        let ended = !matches!(more, Ok(true));
        if pieces.send(Piece { rows, more }).is_err() || ended {
            return reader;
        }
    }
}

/// Reads what a source that was asked to stop has sent already: the connection can do nothing else before.
/// Without a cancel request that would be the rest of the table.
fn drain(mut reader: CopyOutReader<'_>) {
    while let Ok(row) = reader.fill_buf() {
        let length = row.len();
        if length == 0 {
            break;
        }
        reader.consume(length);
    }
}

fn column_list(columns: &[String]) -> String {
    let quoted: Vec<String> = columns.iter().map(|name| quote::ident(name)).collect();
    quoted.join(", ")
}

fn in_brackets(columns: &str) -> String {
    if columns.is_empty() {
        String::new()
    } else {
        format!(" ({columns})")
    }
}

/// Gathers messages, which are rows on all known servers, until the chunk is full; says whether the
/// source has more.
fn fill(reader: &mut CopyOutReader<'_>, chunk: &mut Vec<u8>) -> Result<bool, postgres::Error> {
    while chunk.len() < PIECE_BYTES {
        let row = reader.fill_buf().map_err(driver_error)?;
        let length = row.len();
        if length == 0 {
            return Ok(false);
        }
        chunk.extend_from_slice(row);
        reader.consume(length);
    }
    Ok(true)
}

fn send(writer: &mut CopyInWriter<'_>, chunk: &[u8]) -> Result<(), postgres::Error> {
    writer
        .write_all(chunk)
        .and_then(|()| writer.flush())
        .map_err(driver_error)
}

fn rows_in(chunk: &[u8]) -> u64 {
    // A newline within a value is escaped, so each one ends a row.
    chunk.iter().filter(|&&byte| byte == b'\n').count() as u64
}

/// The driver's error inside an I/O error: its COPY streams wrap every failure in one.
pub(crate) fn driver_error(error: io::Error) -> postgres::Error {
    error
        .into_inner()
        .and_then(|inner| inner.downcast().ok())
        .map(|boxed| *boxed)
        .expect("the driver's COPY streams fail with its own errors")
}
