//! The master's end of a copy that goes to another host: files by several connections, each digested there.

use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use super::Work;
use super::find::{Found, Task};
use crate::Error;
use crate::channel::{Reply, Request};
use crate::digest;
use crate::sets::manifest::{Digests, Known};
use crate::slave::{Sender, Session, Slave};

/// A connection to where the copy is.
#[derive(Debug)]
pub(super) struct Stream {
    slave: Slave,
    session: Session,
}

impl Stream {
    pub(super) fn open(slave: &Slave, lock: &str) -> Result<Stream, Error> {
        let mut stream = Stream {
            slave: slave.clone(),
            session: Session::open(slave)?,
        };
        let request = Request::Copy {
            lock: lock.to_owned(),
        };
        stream.converse(|sender| sender.send(&request, (), nothing), |_| Ok(()))?;
        Ok(stream)
    }

    /// Sends requests; those that are refused are errors.
    fn converse(
        &mut self,
        send: impl FnOnce(&mut Sender<()>) -> Result<(), Error>,
        mut taken: impl FnMut(Reply) -> Result<(), Error> + Send,
    ) -> Result<(), Error> {
        let name = self.slave.name().to_owned();
        self.session
            .converse(&self.slave, send, |(), reply| match reply.ok {
                true => taken(reply),
                false => Err(Error::Refused(format!("{name}: {}", reply.error))),
            })
    }
}

fn nothing(_: &mut dyn Write) -> Result<(), Error> {
    Ok(())
}

/// Makes directories and links.
pub(super) fn make(streams: &mut [Stream], within: &Path, found: &Found) -> Result<(), Error> {
    let Some(stream) = streams.first_mut() else {
        return Ok(());
    };
    stream.converse(
        |sender| {
            for directory in &found.directories {
                let path = text(&within.join(&directory.path))?;
                let mode = directory.mode;
                sender.send(&Request::Directory { path, mode }, (), nothing)?;
            }
            for link in &found.links {
                let (path, to) = (text(&within.join(&link.path))?, text(&link.to)?);
                sender.send(&Request::Link { path, to }, (), nothing)?;
            }
            Ok(())
        },
        |_| Ok(()),
    )
}

/// Sends files, each by the next connection that is free. Why it fails is noted in `work`.
pub(super) fn copy(
    streams: &mut [Stream],
    within: &Path,
    files: &[Task],
    work: &Work<'_>,
    digests: &mut Digests,
) {
    let next = AtomicUsize::new(0);
    let (tell, taken) = mpsc::channel();
    thread::scope(|scope| {
        for stream in streams {
            let (next, tell) = (&next, tell.clone());
            scope.spawn(move || {
                let mut files =
                    std::iter::from_fn(|| files.get(next.fetch_add(1, Ordering::Relaxed)));
                let sent = stream.converse(
                    |sender| files.try_for_each(|task| send(sender, within, task, work)),
                    |reply| {
                        // Nobody is told when all has failed.
                        let _ = tell.send(known(reply)?);
                        Ok(())
                    },
                );
                if let Err(error) = sent {
                    work.fail::<()>(error);
                }
            });
        }
        drop(tell);
        digests.extend(taken);
    });
}

fn send(sender: &mut Sender<()>, within: &Path, task: &Task, work: &Work<'_>) -> Result<(), Error> {
    let Some((mut from, attributes)) = work.open(&task.source)? else {
        return Ok(());
    };
    let path = text(&within.join(&task.path))?;
    let unread = |error| Error::io("read", &task.source, error);
    sender.send(&Request::File { path, attributes }, (), |to| {
        digest::blocks(&mut from, unread, |bytes| {
            to.write_all(bytes)?;
            work.done(bytes.len() as u64)
        })
        .map(|_| ())
    })
}

/// What the slave has of a file.
fn known(reply: Reply) -> Result<(String, Known), Error> {
    let digest = reply
        .sha256
        .parse()
        .map_err(|_| Error::Refused(format!("an answer that says nothing: {reply:?}")))?;
    Ok((reply.name, Known::new(digest, reply.size)))
}

fn text(path: &Path) -> Result<String, Error> {
    path.to_str().map(str::to_owned).ok_or_else(|| {
        Error::Refused(format!(
            "{} is no text, as it has to be to be sent: use backup_method = rsync",
            path.display()
        ))
    })
}
