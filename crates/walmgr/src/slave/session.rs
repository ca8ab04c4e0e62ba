//! One connection to `xserve` on the slave.

use std::io::{self, BufReader, BufWriter, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use tracing::debug;

use super::Slave;
use super::push::text_of;
use crate::Error;
use crate::channel::{Hello, Pieces, Reply, Request, VERSION, read_value, write_line};
use crate::digest::BLOCK;
use crate::names::Segment;

pub(super) const ARGS: [&str; 1] = ["xserve"];

/// The program at the other end.
#[derive(Debug)]
pub(crate) struct Session {
    child: Child,
    /// `None` once it is told to end.
    input: Option<BufWriter<ChildStdin>>,
    output: BufReader<ChildStdout>,
    complaints: Option<JoinHandle<String>>,
}

impl Session {
    /// Starts it.
    ///
    /// # Errors
    /// It cannot be reached, or is another version.
    pub(crate) fn open(slave: &Slave) -> Result<Session, Error> {
        let mut child = slave
            .command(true, &ARGS)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| slave.unstarted(&ARGS, &error))?;
        let (Some(input), Some(output), Some(errors)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(Error::Refused("a program without pipes".to_owned()));
        };
        let mut session = Session {
            child,
            // More than is written at once, so that what belongs together goes together.
            input: Some(BufWriter::with_capacity(2 * BLOCK, input)),
            output: BufReader::new(output),
            complaints: Some(thread::spawn(|| text_of(errors))),
        };
        match session.greet() {
            Ok(()) => {
                debug!(slave = slave.name(), "connected");
                Ok(session)
            }
            Err(error) => Err(Error::Program {
                what: slave.what(&ARGS),
                problem: session.end(slave, &error),
            }),
        }
    }

    fn greet(&mut self) -> io::Result<()> {
        self.write(|input| write_line(input, &Hello::ours()))?;
        match read_value(&mut self.output)? {
            Some(Hello { walmgr: VERSION }) => Ok(()),
            Some(Hello { walmgr }) => Err(io::Error::other(format!(
                "it speaks version {walmgr}, and this side {VERSION}"
            ))),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn write(
        &mut self,
        text: impl FnOnce(&mut BufWriter<ChildStdin>) -> io::Result<()>,
    ) -> io::Result<()> {
        let input = self.input.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        text(input)?;
        input.flush()
    }

    pub(super) fn ask(&mut self, segment: Segment, offset: u64, bytes: &[u8]) -> io::Result<Reply> {
        let request = Request::Partial {
            name: segment.to_string(),
            offset,
            bytes: bytes.len() as u64,
        };
        self.write(|input| {
            write_line(input, &request)?;
            let mut pieces = Pieces::new(input);
            pieces.write_all(bytes)?;
            pieces.end()
        })?;
        match read_value(&mut self.output)? {
            Some(reply) => Ok(reply),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Sends requests, and reads their answers meanwhile, in their order: neither side waits for the other before all
    /// is said. What is given along with a request comes with its answer.
    ///
    /// # Errors
    /// Of `send`, of `answered`, or of the connection, which is of no use any more.
    pub(crate) fn converse<T: Send>(
        &mut self,
        slave: &Slave,
        send: impl FnOnce(&mut Sender<T>) -> Result<(), Error>,
        mut answered: impl FnMut(T, Reply) -> Result<(), Error> + Send,
    ) -> Result<(), Error> {
        let has_failed = Arc::new(AtomicBool::new(false));
        let (tell, asked) = mpsc::channel();
        let ended = || io::Error::from(io::ErrorKind::BrokenPipe);
        let mut sender = Sender {
            input: self.input.take().ok_or_else(ended)?,
            tell,
            has_failed: Arc::clone(&has_failed),
        };
        let output = &mut self.output;
        let (sent, refused, lost) = thread::scope(|scope| {
            let reader = scope.spawn(move || {
                let mut refused = None;
                // To the last one: the other side waits if nobody listens.
                for about in asked {
                    let reply = match read_value(output) {
                        Ok(Some(reply)) => reply,
                        other => {
                            has_failed.store(true, Ordering::Relaxed);
                            let _ = io::copy(output, &mut io::sink());
                            let error = other.err();
                            let end = || io::ErrorKind::UnexpectedEof.into();
                            return (refused, Some(error.unwrap_or_else(end)));
                        }
                    };
                    if refused.is_none() {
                        refused = answered(about, reply).err();
                        has_failed.fetch_or(refused.is_some(), Ordering::Relaxed);
                    }
                }
                (refused, None)
            });
            let sent = send(&mut sender).and_then(|()| Ok(sender.input.flush()?));
            // What has been begun and has no end ends here: the other side does not wait for it.
            let Sender { input, tell, .. } = sender;
            let input = sent.map(|()| input);
            drop(tell);
            let (refused, lost) = reader.join().expect("reading does not panic");
            (input, refused, lost)
        });
        match (sent, refused, lost) {
            (Ok(input), None, None) => {
                self.input = Some(input);
                Ok(())
            }
            (_, Some(error), _) => Err(error),
            // It cannot be read, and not: it cannot be sent.
            (Err(error), None, _) if !matches!(error, Error::Stream(_)) => Err(error),
            (_, None, Some(error)) => Err(Error::Program {
                what: slave.what(&ARGS),
                problem: self.ending(slave, &error),
            }),
            (Err(error), None, None) => Err(error),
        }
    }

    /// Ends it after an error, and says why it may have come to that.
    pub(super) fn end(mut self, slave: &Slave, error: &io::Error) -> String {
        self.ending(slave, error)
    }

    fn ending(&mut self, slave: &Slave, error: &io::Error) -> String {
        // Its own end says more than what we saw of it; one that goes on is ended.
        self.input = None;
        let has_ended = matches!(
            error.kind(),
            io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe
        );
        if !has_ended {
            let _ = self.child.kill();
        }
        let status = self.child.wait();
        let said = self.complaints.take().and_then(|reader| reader.join().ok());
        match status {
            Ok(status) if has_ended => slave.ending(status, &said.unwrap_or_default()),
            _ => error.to_string(),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // The end of its input is the end of the program.
        self.input = None;
        let _ = self.child.wait();
    }
}

/// Where requests are written to.
pub(crate) struct Sender<T> {
    input: BufWriter<ChildStdin>,
    /// Tells of each that it will be answered, and what it is about.
    tell: mpsc::Sender<T>,
    /// Whether an answer has made an end of it.
    has_failed: Arc<AtomicBool>,
}

impl<T> Sender<T> {
    /// Sends a request, with what `payload` writes. It may stay here until the next one, or [`Sender::flush`].
    ///
    /// # Errors
    /// Of `payload`, or of the connection.
    pub(crate) fn send(
        &mut self,
        request: &Request,
        about: T,
        payload: impl FnOnce(&mut dyn Write) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let ended = || io::Error::from(io::ErrorKind::BrokenPipe);
        if self.has_failed.load(Ordering::Relaxed) {
            return Err(ended().into());
        }
        self.tell.send(about).map_err(|_| ended())?;
        write_line(&mut self.input, request)?;
        let mut pieces = Pieces::new(&mut self.input);
        payload(&mut pieces)?;
        Ok(pieces.end()?)
    }

    /// Sends what is here.
    ///
    /// # Errors
    /// Of the connection.
    pub(crate) fn flush(&mut self) -> Result<(), Error> {
        Ok(self.input.flush()?)
    }
}
