//! Records for a database of logs: `log.add(LEVEL, JOB, MESSAGE)`.
//!
//! A thread of its own does the talking, so that a slow or missing database never holds a job up.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use postgres::types::Type;
use tracing::Level;
use tracing::subscriber::{NoSubscriber, with_default};

use super::is_grave;
use crate::conninfo::ConnInfo;
use crate::db::{Connection, DbError, During};
use crate::log::format::Record;
use crate::stats::Stats;

/// Records that wait for the thread; what comes when it is full is lost.
const MOST_WAITING: usize = 1000;

/// Statistics are sent no more often than this, summed.
const STATS_PERIOD: Duration = Duration::from_secs(60);

/// The first pause after a failure; each further one is twice as long.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// The longest pause after a failure.
const LAST_RETRY: Duration = Duration::from_secs(30);

/// How long the end of the program waits for the last records to be sent.
const FAREWELL: Duration = Duration::from_secs(3);

/// The job's end of the handler.
pub(super) struct LogDb {
    conninfo: ConnInfo,
    /// Before threads are allowed.
    early: Vec<Message>,
    sender: Option<(SyncSender<Message>, JoinHandle<()>)>,
    done: Option<Receiver<()>>,
}

/// A record on its way.
struct Message {
    level: Level,
    job: String,
    /// First line of the message.
    text: String,
}

impl LogDb {
    pub(super) fn new(conninfo: ConnInfo) -> LogDb {
        LogDb {
            conninfo,
            early: Vec::new(),
            sender: None,
            done: None,
        }
    }

    /// Starts the thread and hands over what waited for it.
    pub(super) fn start(&mut self) {
        if self.sender.is_some() {
            return;
        }
        let (sender, receiver) = mpsc::sync_channel(MOST_WAITING);
        let (finished, done) = mpsc::sync_channel(1);
        let mut writer = Writer::new(self.conninfo.clone());
        let thread = std::thread::Builder::new()
            .name("logdb".to_owned())
            .spawn(move || {
                // What a connection has to say about itself would come back here.
                with_default(NoSubscriber::default(), || writer.run(&receiver));
                let _ = finished.send(());
            });
        // Without a thread the records are lost, as with any failure of a log.
        let Ok(thread) = thread else { return };
        for message in self.early.drain(..) {
            let _ = sender.try_send(message);
        }
        self.sender = Some((sender, thread));
        self.done = Some(done);
    }

    pub(super) fn write(&mut self, record: &Record<'_>) {
        if record.level > Level::INFO {
            return;
        }
        let message = Message {
            level: record.level,
            job: record.job.to_owned(),
            text: record.message.lines().next().unwrap_or_default().to_owned(),
        };
        match &self.sender {
            Some((sender, _)) => {
                let _ = sender.try_send(message);
            }
            None if self.early.len() < MOST_WAITING => self.early.push(message),
            None => {}
        }
    }
}

impl Drop for LogDb {
    /// Sends what is left, in bounded time.
    fn drop(&mut self) {
        if !self.early.is_empty() {
            self.start();
        }
        if let (Some((sender, thread)), Some(done)) = (self.sender.take(), self.done.take()) {
            drop(sender);
            if done.recv_timeout(FAREWELL).is_ok() {
                let _ = thread.join();
            }
        }
    }
}

/// The thread's end of the handler.
struct Writer {
    conninfo: ConnInfo,
    connection: Option<Connection>,
    /// After a failure: when to try again, and how long the next pause is.
    retry: Option<(Instant, Duration)>,
    /// Sums not sent yet, and the job they are of.
    pending: Option<(String, Stats)>,
    /// When sums were last sent.
    sent: Option<Instant>,
}

impl Writer {
    fn new(conninfo: ConnInfo) -> Writer {
        Writer {
            conninfo,
            connection: None,
            retry: None,
            pending: None,
            sent: None,
        }
    }

    fn run(&mut self, messages: &Receiver<Message>) {
        loop {
            let message = match (&self.pending, self.sent) {
                (Some(_), Some(sent)) => {
                    messages.recv_timeout(STATS_PERIOD.saturating_sub(sent.elapsed()))
                }
                _ => messages.recv().map_err(RecvTimeoutError::from),
            };
            match message {
                Ok(message) => self.take(&message),
                Err(RecvTimeoutError::Timeout) => self.flush(),
                Err(RecvTimeoutError::Disconnected) => {
                    self.flush();
                    return;
                }
            }
        }
    }

    fn take(&mut self, message: &Message) {
        let stats = match message.level {
            Level::INFO => Stats::parse(&message.text),
            _ => None,
        };
        if let Some(stats) = stats {
            let (_, sum) = self
                .pending
                .get_or_insert_with(|| (message.job.clone(), Stats::default()));
            sum.add(&stats);
            if self.sent.is_none_or(|sent| sent.elapsed() >= STATS_PERIOD) {
                self.flush();
            }
            return;
        }
        if is_grave(message.level) {
            // What led to it comes first.
            self.flush();
        }
        let level = match message.level {
            Level::ERROR => "ERROR",
            Level::WARN => "WARNING",
            _ => "INFO",
        };
        self.send(level, &message.job, &message.text);
    }

    /// Sends the sums; they stay if that fails.
    fn flush(&mut self) {
        let Some((job, stats)) = self.pending.take() else {
            return;
        };
        self.sent = Some(Instant::now());
        if !self.send("INFO", &job, &stats.to_string()) {
            self.pending = Some((job, stats));
        }
    }

    /// Sends a record, unless the last failure is too recent. Whether it was sent.
    fn send(&mut self, level: &str, job: &str, text: &str) -> bool {
        if self.retry.is_some_and(|(at, _)| Instant::now() < at) {
            return false;
        }
        match self.try_send(level, job, text) {
            Ok(()) => {
                self.retry = None;
                true
            }
            Err(_) => {
                self.connection = None;
                let pause = match self.retry {
                    Some((_, pause)) => (pause * 2).min(LAST_RETRY),
                    None => FIRST_RETRY,
                };
                self.retry = Some((Instant::now() + pause, pause));
                false
            }
        }
    }

    fn try_send(&mut self, level: &str, job: &str, text: &str) -> Result<(), DbError> {
        let connection = match self.connection.take() {
            Some(open) if open.is_open() => open,
            _ => Connection::open("skylog", &self.conninfo)?,
        };
        self.connection
            .insert(connection)
            .query_typed(
                "select * from log.add($1, $2, $3)",
                &[
                    (&level, Type::TEXT),
                    (&job, Type::TEXT),
                    (&text, Type::TEXT),
                ],
            )
            .during("log a record")?;
        Ok(())
    }
}
