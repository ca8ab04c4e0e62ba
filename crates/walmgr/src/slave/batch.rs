//! Sending many files into the slave's archive over one connection.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use skytools::failpoint;
use tracing::debug;

use super::Slave;
use super::session::{ARGS, Sender, Session};
use crate::Error;
use crate::archive::Form;
use crate::channel::{Reply, Request};
use crate::digest::Digest;
use crate::names::WalName;
use crate::spool::Stamp;

/// How long files are sent that nobody has asked for yet: the one that was asked for is reported after that.
const PATIENCE: Duration = Duration::from_secs(5);

/// Files that are open and digested before they are sent, at most: what can be done while a connection is made.
const PREPARED: usize = 8;

/// A file of the master.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) name: WalName,
    pub(crate) path: PathBuf,
}

/// A file whose digest is known.
struct Ready {
    known: Known,
    file: File,
}

/// What is to arrive.
#[derive(Clone, Copy)]
struct Known {
    name: WalName,
    stamp: Stamp,
    digest: Digest,
}

impl Ready {
    fn read(source: &Source) -> io::Result<Ready> {
        let mut file = File::open(&source.path)?;
        // Before it is read: whatever changes it from then on shows.
        let stamp = Stamp::of(&file)?;
        let (digest, _) = Digest::of(&mut file)?;
        file.seek(SeekFrom::Start(0))?;
        let name = source.name;
        Ok(Ready {
            known: Known {
                name,
                stamp,
                digest,
            },
            file,
        })
    }
}

impl Known {
    fn request(&self, form: Form) -> Request {
        Request::Receive {
            name: self.name.to_string(),
            size: self.stamp.size,
            sha256: self.digest.to_string(),
            form,
        }
    }

    /// What an answer says of it.
    ///
    /// # Errors
    /// It is an answer to something else.
    fn fares(&self, reply: Reply) -> Result<Result<(), String>, Error> {
        let is_it = reply.name == self.name.to_string();
        match reply.ok {
            true if is_it && reply.sha256 == self.digest.to_string() => Ok(Ok(())),
            false if is_it || reply.name.is_empty() => Ok(Err(reply.error)),
            _ => Err(Error::Refused(format!(
                "an answer to another file than {}: {reply:?}",
                self.name
            ))),
        }
    }
}

/// Puts the first file into the archive, and as many of the others as there is time for; `there` is told of
/// each of the others once it is there for good.
///
/// # Errors
/// The first file is not there, as far as is known. Nothing is said of the others: whoever wants them hears it.
pub(crate) fn push_all(
    slave: &Slave,
    first: Source,
    others: Vec<Source>,
    mut there: impl FnMut(WalName, Stamp, Digest) + Send,
) -> Result<(), Error> {
    let wanted = first.name;
    let path = first.path.clone();
    let mut answer = None;
    let ended = thread::scope(|scope| {
        let (prepared, ready) = mpsc::sync_channel(PREPARED);
        scope.spawn(move || prepare(&first, &others, &prepared));
        let mut session = Session::open(slave)?;
        session.converse(
            slave,
            |sender| send_all(sender, ready, slave.form),
            |known, reply| {
                let name = known.name;
                match (name == wanted, known.fares(reply)?) {
                    (true, fared) => answer = Some(fared),
                    (false, Ok(())) => there(name, known.stamp, known.digest),
                    (false, Err(problem)) => debug!(%name, problem, "not archived ahead"),
                }
                failpoint::step("xarchive.answered");
                Ok(())
            },
        )
    });
    let failed = |problem: String| Error::Program {
        what: format!("{} of {wanted}", slave.what(&ARGS)),
        problem,
    };
    match (answer, ended) {
        (Some(Ok(())), ended) => {
            if let Err(error) = ended {
                debug!(%error, "not all went along");
            }
            Ok(())
        }
        (Some(Err(problem)), _) => Err(failed(problem)),
        (None, Err(Error::Stream(error))) => Err(Error::io("send", &path, error)),
        (None, Err(error)) => Err(error),
        (None, Ok(())) => Err(failed("it was not asked".to_owned())),
    }
}

/// Reads files and puts their digests together, until nobody wants them any more. The first one has to be there.
fn prepare(first: &Source, others: &[Source], to: &SyncSender<Result<Ready, Error>>) {
    let read = Ready::read(first).map_err(|error| Error::io("read", &first.path, error));
    if to.send(read).is_err() {
        return;
    }
    for source in others {
        match Ready::read(source) {
            Ok(ready) => {
                if to.send(Ok(ready)).is_err() {
                    return;
                }
            }
            Err(error) => debug!(name = %source.name, %error, "not archived ahead"),
        }
    }
}

/// Sends what is ready, until there is no more, or no more time.
fn send_all(
    sender: &mut Sender<Known>,
    files: Receiver<Result<Ready, Error>>,
    form: Form,
) -> Result<(), Error> {
    let begun = Instant::now();
    for ready in files {
        let Ready { known, file } = ready?;
        let form = form.for_name(known.name);
        sender.send(&known.request(form), known, |to| {
            Ok(form.encode(&mut file.take(known.stamp.size), to)?)
        })?;
        // The next one may not be ready yet.
        sender.flush()?;
        failpoint::step("xarchive.written");
        if begun.elapsed() > PATIENCE {
            break;
        }
    }
    Ok(())
}
