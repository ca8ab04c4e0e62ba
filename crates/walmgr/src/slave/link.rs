//! One connection for all that is sent of unfinished segments, for as long as a daemon runs.

use std::io::{self, BufReader, BufWriter, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::thread::{self, JoinHandle};

use tracing::debug;

use super::Slave;
use super::push::text_of;
use crate::Error;
use crate::channel::{Hello, Pieces, Reply, Request, VERSION, read_value, write_line};
use crate::names::Segment;
use crate::partial::Taken;

const ARGS: [&str; 1] = ["xserve"];

/// The slave, and a connection to it from the first piece on.
#[derive(Debug)]
pub(crate) struct Link {
    slave: Slave,
    session: Option<Session>,
}

impl Link {
    pub(crate) fn new(slave: Slave) -> Link {
        Link {
            slave,
            session: None,
        }
    }

    pub(crate) fn slave(&self) -> &Slave {
        &self.slave
    }

    /// Sends bytes of a segment, from an offset on.
    ///
    /// # Errors
    /// They are not there for good, as far as is known. After an error of the connection the next call makes a
    /// new one.
    pub(crate) fn send(
        &mut self,
        segment: Segment,
        offset: u64,
        bytes: &[u8],
    ) -> Result<Taken, Error> {
        let failed = |problem: String| Error::Program {
            what: format!("{} of {segment}", self.slave.what(&ARGS)),
            problem,
        };
        let mut session = match self.session.take() {
            Some(session) => session,
            None => Session::open(&self.slave)?,
        };
        let reply = match session.ask(segment, offset, bytes) {
            Ok(reply) => reply,
            Err(error) => return Err(failed(session.end(&self.slave, &error))),
        };
        if reply.name != segment.to_string() && !reply.name.is_empty() {
            let error = io::Error::other(format!("an answer to something else: {reply:?}"));
            return Err(failed(session.end(&self.slave, &error)));
        }
        self.session = Some(session);
        match (reply.ok, reply.complete) {
            (true, true) => Ok(Taken::Complete),
            (true, false) => Ok(Taken::Stored),
            (false, _) => Err(failed(reply.error)),
        }
    }
}

/// The program at the other end.
#[derive(Debug)]
struct Session {
    child: Child,
    /// `None` once it is told to end.
    input: Option<BufWriter<ChildStdin>>,
    output: BufReader<ChildStdout>,
    complaints: Option<JoinHandle<String>>,
}

impl Session {
    fn open(slave: &Slave) -> Result<Session, Error> {
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
            input: Some(BufWriter::new(input)),
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

    fn ask(&mut self, segment: Segment, offset: u64, bytes: &[u8]) -> io::Result<Reply> {
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

    /// Ends it after an error, and says why it may have come to that.
    fn end(mut self, slave: &Slave, error: &io::Error) -> String {
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
