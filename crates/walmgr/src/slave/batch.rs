//! Sending many files into the slave's archive over one connection.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::process::{ChildStdin, ChildStdout, Stdio};
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use skytools::failpoint;
use tracing::debug;

use super::Slave;
use super::push::text_of;
use crate::Error;
use crate::archive::Form;
use crate::channel::{Hello, Pieces, Reply, Request, VERSION, read_value, write_line};
use crate::digest::Digest;
use crate::names::WalName;
use crate::spool::Stamp;

/// How long files are sent that nobody has asked for yet: the one that was asked for is reported after that.
const PATIENCE: Duration = Duration::from_secs(5);

/// A file of the master.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) name: WalName,
    pub(crate) path: PathBuf,
}

/// A file whose digest is known.
struct Ready {
    source: Source,
    file: File,
    stamp: Stamp,
    digest: Digest,
}

impl Ready {
    fn read(source: Source) -> io::Result<Ready> {
        let mut file = File::open(&source.path)?;
        // Before it is read: whatever changes it from then on shows.
        let stamp = Stamp::of(&file)?;
        let (digest, _) = Digest::of(&mut file)?;
        file.seek(SeekFrom::Start(0))?;
        Ok(Ready {
            source,
            file,
            stamp,
            digest,
        })
    }
}

/// What has been sent and is not answered yet.
type Underway = Mutex<VecDeque<(WalName, Stamp, Digest)>>;

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
    let begun = Instant::now();
    let wanted = first.name;
    let path = first.path.clone();
    let args = ["xserve"];
    let mut child = slave
        .command(true, &args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| slave.unstarted(&args, &error))?;
    // While the connection is made.
    let first = match Ready::read(first) {
        Ok(first) => first,
        Err(error) => {
            // It may just have ended; either way it is gone after this.
            let _ = child.kill();
            child.wait()?;
            return Err(Error::io("read", &path, error));
        }
    };
    failpoint::step("xarchive.read");
    let (Some(input), Some(output), Some(errors)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(Error::Refused("a program without pipes".to_owned()));
    };
    let underway = Underway::default();
    let (answered, sent, complained) = thread::scope(|scope| {
        let complaints = scope.spawn(|| text_of(errors));
        let answers = scope.spawn(|| {
            let mut answer = None;
            let ended = read_answers(output, &underway, |name, stamp, result| {
                match (name == wanted, result) {
                    (true, result) => answer = Some(result),
                    (false, Ok(digest)) => there(name, stamp, digest),
                    (false, Err(problem)) => debug!(%name, problem, "not archived ahead"),
                }
            });
            (answer, ended)
        });
        let (prepared, next) = mpsc::sync_channel(1);
        scope.spawn(move || {
            for source in others {
                if begun.elapsed() > PATIENCE {
                    break;
                }
                let name = source.name;
                match Ready::read(source).map(|ready| prepared.send(ready).is_ok()) {
                    Ok(true) => {}
                    // The other side has ended.
                    Ok(false) => break,
                    Err(error) => debug!(%name, %error, "not archived ahead"),
                }
            }
        });
        let sent = send_all(input, first, next, slave.form, &underway);
        (
            answers.join().unwrap_or((None, Ok(()))),
            sent,
            complaints.join().unwrap_or_default(),
        )
    });
    let status = child
        .wait()
        .map_err(|error| slave.unstarted(&args, &error))?;
    let failed = |problem: String| Error::Program {
        what: format!("{} of {wanted}", slave.what(&args)),
        problem,
    };
    let (answer, ended) = answered;
    match answer {
        Some(Ok(_)) => {
            if !status.success() {
                debug!("{}", slave.ending(status, &complained));
            }
            Ok(())
        }
        Some(Err(problem)) => Err(failed(problem)),
        None if !status.success() => Err(failed(slave.ending(status, &complained))),
        None => Err(match (ended, sent) {
            (Err(error), _) => failed(format!("its answer makes no sense: {error}")),
            (_, Err(error)) => Error::io("send", &path, error),
            _ => failed("it did not say that it has the file".to_owned()),
        }),
    }
}

/// Writes requests until there are no more; the end of the input then tells the other side.
fn send_all(
    input: ChildStdin,
    first: Ready,
    next: mpsc::Receiver<Ready>,
    form: Form,
    underway: &Underway,
) -> io::Result<()> {
    let mut input = BufWriter::with_capacity(256 * 1024, input);
    write_line(&mut input, &Hello::ours())?;
    for mut ready in std::iter::once(first).chain(next) {
        let Ready {
            source,
            file,
            stamp,
            digest,
        } = &mut ready;
        let name = source.name;
        // It may be answered before all of it is written.
        if let Ok(mut underway) = underway.lock() {
            underway.push_back((name, *stamp, *digest));
        }
        let form = form.for_name(name);
        let request = Request::Receive {
            name: name.to_string(),
            size: stamp.size,
            sha256: digest.to_string(),
            form,
        };
        write_line(&mut input, &request)?;
        let mut pieces = Pieces::new(&mut input);
        form.encode(&mut file.take(stamp.size), &mut pieces)?;
        pieces.end()?;
        input.flush()?;
        failpoint::step("xarchive.written");
    }
    Ok(())
}

/// Reads answers until there are no more.
fn read_answers(
    output: ChildStdout,
    underway: &Underway,
    mut each: impl FnMut(WalName, Stamp, Result<Digest, String>),
) -> io::Result<()> {
    let mut output = BufReader::new(output);
    let unexpected = |what: String| io::Error::other(what);
    match read_value(&mut output)? {
        Some(Hello { walmgr: VERSION }) => {}
        Some(Hello { walmgr }) => {
            return Err(unexpected(format!(
                "it speaks version {walmgr}, and this side {VERSION}"
            )));
        }
        None => return Ok(()),
    }
    while let Some(reply) = read_value::<Reply>(&mut output)? {
        let expected = underway.lock().ok().and_then(|mut names| names.pop_front());
        let Some((name, stamp, digest)) = expected else {
            return Err(unexpected(format!("an answer to nothing: {reply:?}")));
        };
        let is_it = reply.name == name.to_string();
        let result = match reply.ok {
            true if is_it && reply.sha256 == digest.to_string() => Ok(digest),
            false if is_it || reply.name.is_empty() => Err(reply.error),
            _ => return Err(unexpected(format!("an answer to another file: {reply:?}"))),
        };
        each(name, stamp, result);
        failpoint::step("xarchive.answered");
    }
    Ok(())
}
