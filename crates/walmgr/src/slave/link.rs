//! One connection for all that is sent of unfinished segments, for as long as a daemon runs.

use std::io;

use super::Slave;
use super::session::{ARGS, Session};
use crate::Error;
use crate::names::Segment;
use crate::partial::Taken;

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
