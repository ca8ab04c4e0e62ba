//! The driver's client for callers that wait.
//!
//! As in the crate `postgres`, whoever waits for an answer moves the connection along; but the rows of a COPY or
//! of a query are taken many at a time, for what it costs to enter the runtime exceeds what a row costs.

use std::collections::VecDeque;
use std::future::{self, Future};
use std::io::{self, BufRead, Read, Write};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{SinkExt, Stream, StreamExt};
use postgres::types::{ToSql, Type};
use postgres::{Error, Notification, Row, SimpleQueryMessage, Statement, ToStatement};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::{self, Runtime};
use tokio::time;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{AsyncMessage, CancelToken, Config, CopyInSink, CopyOutStream, Socket};

/// A COPY from the server is read so many bytes at a time, if they are there.
const READ_BYTES: usize = 64 * 1024;

/// A COPY to the server is sent so many bytes at a time.
const WRITE_BYTES: usize = 64 * 1024;

/// A connection to a server.
///
/// Dropping it waits until the server has given all answers that it owes.
pub(super) struct Client {
    // Dropped first: the connection ends when nobody asks anything more.
    client: tokio_postgres::Client,
    line: Line,
}

/// The connection, and what it takes to wait for it.
struct Line {
    runtime: Runtime,
    traffic: Traffic,
}

/// What travels between this side and the server.
struct Traffic {
    messages: Box<dyn Messages + Send>,
    notifications: VecDeque<Notification>,
}

/// A connection of whatever kind.
trait Messages {
    /// Moves messages along; returns one that nobody asked for, and `None` at the end of the connection.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<AsyncMessage, Error>>>;
}

impl<S, T> Messages for tokio_postgres::Connection<S, T>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<AsyncMessage, Error>>> {
        self.poll_message(context)
    }
}

/// What waits for a server.
///
/// # Errors
/// The process is out of file descriptors.
pub(super) fn runtime() -> io::Result<Runtime> {
    runtime::Builder::new_current_thread().enable_all().build()
}

impl Traffic {
    /// Moves messages along as far as it goes without waiting; true if the connection has ended.
    fn advance(&mut self, context: &mut Context<'_>) -> Result<bool, Error> {
        loop {
            match self.messages.poll(context) {
                Poll::Ready(Some(Ok(AsyncMessage::Notification(notification)))) => {
                    self.notifications.push_back(notification);
                }
                Poll::Ready(Some(Ok(AsyncMessage::Notice(notice)))) => {
                    tracing::debug!(severity = notice.severity(), "{}", notice.message());
                }
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(Some(Err(error))) => return Err(error),
                Poll::Ready(None) => return Ok(true),
                Poll::Pending => return Ok(false),
            }
        }
    }
}

impl Line {
    /// Waits until `poll` is ready, which is asked whenever messages were moved along.
    fn wait<T>(
        &mut self,
        mut poll: impl FnMut(&mut Traffic, &mut Context<'_>, bool) -> Poll<Result<T, Error>>,
    ) -> Result<T, Error> {
        let Line { runtime, traffic } = self;
        runtime.block_on(future::poll_fn(|context| match traffic.advance(context) {
            Ok(ended) => poll(traffic, context, ended),
            Err(error) => Poll::Ready(Err(error)),
        }))
    }

    /// Waits for an answer.
    fn wait_for<T>(&mut self, answer: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let mut answer = pin!(answer);
        self.wait(|_, context, _| answer.as_mut().poll(context))
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // What fails now has failed before, or nobody cares.
        let _ = self.wait(|_, _, ended| match ended {
            true => Poll::Ready(Ok(())),
            false => Poll::Pending,
        });
    }
}

macro_rules! methods {
    ($($name:ident $(<$generic:ident>)? ($sql:ty $(, $argument:ident: $type:ty)*) -> $result:ty;)*) => {
        $(
            pub(super) fn $name $(<$generic: ToStatement + ?Sized>)? (
                &mut self, sql: $sql $(, $argument: $type)*
            ) -> Result<$result, Error> {
                self.line.wait_for(self.client.$name(sql $(, $argument)*))
            }
        )*
    };
}

/// What the driver has under the same names.
impl Client {
    methods! {
        execute<S>(&S, parameters: &[&(dyn ToSql + Sync)]) -> u64;
        query<S>(&S, parameters: &[&(dyn ToSql + Sync)]) -> Vec<Row>;
        query_one<S>(&S, parameters: &[&(dyn ToSql + Sync)]) -> Row;
        query_opt<S>(&S, parameters: &[&(dyn ToSql + Sync)]) -> Option<Row>;
        execute_typed(&str, parameters: &[(&(dyn ToSql + Sync), Type)]) -> u64;
        query_typed(&str, parameters: &[(&(dyn ToSql + Sync), Type)]) -> Vec<Row>;
        query_typed_one(&str, parameters: &[(&(dyn ToSql + Sync), Type)]) -> Row;
        query_typed_opt(&str, parameters: &[(&(dyn ToSql + Sync), Type)]) -> Option<Row>;
        prepare(&str) -> Statement;
        prepare_typed(&str, types: &[Type]) -> Statement;
        simple_query(&str) -> Vec<SimpleQueryMessage>;
        batch_execute(&str) -> ();
    }
}

impl Client {
    /// Connects by the runtime that will wait for the server.
    pub(super) fn connect<T>(runtime: Runtime, config: &Config, tls: T) -> Result<Client, Error>
    where
        T: MakeTlsConnect<Socket> + 'static + Send,
        T::TlsConnect: Send,
        T::Stream: Send,
        <T::TlsConnect as tokio_postgres::tls::TlsConnect<Socket>>::Future: Send,
    {
        let (client, connection) = runtime.block_on(config.connect(tls))?;
        let traffic = Traffic {
            messages: Box::new(connection),
            notifications: VecDeque::new(),
        };
        Ok(Client {
            client,
            line: Line { runtime, traffic },
        })
    }

    /// Runs a statement without preparing it, and hands over its rows as they come.
    pub(super) fn query_typed_each(
        &mut self,
        sql: &str,
        parameters: &[(&(dyn ToSql + Sync), Type)],
        mut take: impl FnMut(&Row) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let parameters = parameters.iter().map(|(value, of)| (*value, of.clone()));
        let client = &self.client;
        self.line.wait_for(async {
            let mut rows = pin!(client.query_typed_raw(sql, parameters).await?);
            while let Some(row) = rows.next().await {
                take(&row?)?;
            }
            Ok(())
        })
    }

    /// Begins a COPY from the server.
    pub(super) fn copy_out<S: ToStatement + ?Sized>(
        &mut self,
        sql: &S,
    ) -> Result<CopyOutReader<'_>, Error> {
        let stream = self.line.wait_for(self.client.copy_out(sql))?;
        Ok(CopyOutReader {
            line: &mut self.line,
            stream: Box::pin(stream),
            rows: Bytes::new(),
            end: None,
        })
    }

    /// Begins a COPY to the server.
    pub(super) fn copy_in<S: ToStatement + ?Sized>(
        &mut self,
        sql: &S,
    ) -> Result<CopyInWriter<'_>, Error> {
        let sink = self.line.wait_for(self.client.copy_in(sql))?;
        Ok(CopyInWriter {
            line: &mut self.line,
            sink: Box::pin(sink),
            rows: BytesMut::new(),
        })
    }

    /// Waits for a notification, so long at most; `None` if none came, or the connection has ended.
    pub(super) fn notification(
        &mut self,
        patience: Duration,
    ) -> Result<Option<Notification>, Error> {
        if let Some(notification) = self.line.traffic.notifications.pop_front() {
            return Ok(Some(notification));
        }
        let entered = self.line.runtime.enter();
        let mut over = Box::pin(time::sleep(patience));
        drop(entered);
        self.line.wait(|traffic, context, ended| {
            let notification = traffic.notifications.pop_front();
            if notification.is_some() || ended || over.as_mut().poll(context).is_ready() {
                return Poll::Ready(Ok(notification));
            }
            Poll::Pending
        })
    }

    /// Whether the server answers in time. A cancel request that comes late has it answer with an error, in the place of
    /// what it was sent for.
    pub(super) fn answers_within(&mut self, patience: Duration) -> bool {
        let client = &self.client;
        let answer = self.line.wait_for(async {
            match time::timeout(patience, client.simple_query("")).await {
                Ok(Err(error)) if error.as_db_error().is_none() => Err(error),
                Ok(_) => Ok(true),
                Err(_) => Ok(false),
            }
        });
        answer.unwrap_or(false)
    }

    /// Whether the connection is known to have ended.
    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// What cancels a statement.
    pub(super) fn cancel_token(&self) -> CancelToken {
        self.client.cancel_token()
    }
}

/// The rows of a COPY from the server: whole messages, so whole rows on all known servers, and many of them at
/// a time if they are there.
///
/// It fails with the driver's errors, wrapped.
pub struct CopyOutReader<'c> {
    line: &'c mut Line,
    stream: Pin<Box<CopyOutStream>>,
    rows: Bytes,
    /// How it has ended, behind the rows.
    end: Option<Result<(), Error>>,
}

impl CopyOutReader<'_> {
    /// Waits for rows, and takes those that are there.
    fn receive(&mut self) -> Result<(), Error> {
        let CopyOutReader {
            line, stream, end, ..
        } = self;
        let mut first = Bytes::new();
        let mut more = BytesMut::new();
        line.wait(|traffic, context, _| {
            let mut moved = true;
            loop {
                match stream.as_mut().poll_next(context) {
                    // One alone is not copied.
                    Poll::Ready(Some(Ok(row))) if first.is_empty() => first = row,
                    Poll::Ready(Some(Ok(row))) => {
                        if more.is_empty() {
                            more.reserve(READ_BYTES);
                            more.extend_from_slice(&first);
                        }
                        more.extend_from_slice(&row);
                    }
                    Poll::Ready(Some(Err(error))) => *end = Some(Err(error)),
                    Poll::Ready(None) => *end = Some(Ok(())),
                    Poll::Pending if first.is_empty() => return Poll::Pending,
                    Poll::Pending if moved => {
                        // There may be more by now.
                        if let Err(error) = traffic.advance(context) {
                            *end = Some(Err(error));
                        }
                        moved = false;
                        if end.is_none() {
                            continue;
                        }
                    }
                    Poll::Pending => return Poll::Ready(Ok(())),
                }
                if end.is_some() || first.len().max(more.len()) >= READ_BYTES {
                    return Poll::Ready(Ok(()));
                }
                moved = true;
            }
        })?;
        self.rows = match more.is_empty() {
            true => first,
            false => more.freeze(),
        };
        Ok(())
    }

    /// Takes the rows that are there, and waits if there are none; empty at the end.
    ///
    /// # Errors
    /// The driver's, wrapped.
    pub fn take_rows(&mut self) -> io::Result<Bytes> {
        self.fill_buf()?;
        Ok(std::mem::take(&mut self.rows))
    }
}

impl BufRead for CopyOutReader<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.rows.is_empty() {
            match self.end.take() {
                None => self.receive().map_err(io::Error::other)?,
                Some(Err(error)) => {
                    self.end = Some(Ok(()));
                    return Err(io::Error::other(error));
                }
                ended => {
                    self.end = ended;
                    break;
                }
            }
        }
        Ok(&self.rows)
    }

    fn consume(&mut self, length: usize) {
        self.rows.advance(length);
    }
}

impl Read for CopyOutReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let rows = self.fill_buf()?;
        let length = rows.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rows[..length]);
        self.consume(length);
        Ok(length)
    }
}

/// A COPY to the server. Dropped before [`CopyInWriter::finish`], it is broken off.
///
/// It fails with the driver's errors, wrapped.
pub struct CopyInWriter<'c> {
    line: &'c mut Line,
    sink: Pin<Box<CopyInSink<Bytes>>>,
    rows: BytesMut,
}

impl CopyInWriter<'_> {
    /// Ends it; returns how many rows there were.
    ///
    /// # Errors
    /// The server refuses a row, or the connection is gone.
    pub fn finish(mut self) -> Result<u64, Error> {
        self.send()?;
        self.line.wait_for(self.sink.as_mut().finish())
    }

    fn send(&mut self) -> Result<(), Error> {
        match self.rows.is_empty() {
            true => Ok(()),
            false => (self.line).wait_for(self.sink.send(self.rows.split().freeze())),
        }
    }
}

impl Write for CopyInWriter<'_> {
    fn write(&mut self, rows: &[u8]) -> io::Result<usize> {
        self.rows.extend_from_slice(rows);
        if self.rows.len() >= WRITE_BYTES {
            self.flush()?;
        }
        Ok(rows.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send().map_err(io::Error::other)
    }
}
