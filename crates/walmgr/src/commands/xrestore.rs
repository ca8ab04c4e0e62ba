use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::{Duration, Instant};

use skytools::failpoint;
use tracing::debug;

use super::Work;
use super::xarchive::parse_name;
use crate::archive::{Archive, Form, Identity, Quick, Quickly, ReadBack, Stored, check_content};
use crate::config::{MasterConfig, SlaveConfig};
use crate::control::{self, Signal};
use crate::digest::{self, Digest};
use crate::exit::ABSENT;
use crate::names::WalName;
use crate::page::HEADER;
use crate::slave::Slave;
use crate::{Error, page, partial, receiver};

/// Bytes that are copied before they are read back.
const PIECE: u64 = 1 << 20;

/// Between two looks.
const POLL: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the file, as `%f`
    #[arg(value_parser = parse_name)]
    name: WalName,
    /// Where it is wanted, as `%p`
    target: PathBuf,
    /// Also hand out the unfinished segment, although boot was not called
    #[arg(long)]
    use_partial: bool,
    /// First segment that the server still needs, as `%r`
    #[arg(hide = true)]
    _restart: Option<String>,
}

/// Answers [`ABSENT`] for a file that is not there; every other failure means that this is not known.
pub(super) fn run(work: &mut Work<'_>, args: &Args) -> Result<ExitCode, Error> {
    let config = match &work.node {
        super::Node::Slave(config) => config,
        super::Node::Master(config) => return from_slave(config, args),
    };
    let request = Request {
        config,
        archive: Archive::new(&config.completed_wals),
        name: args.name,
        target: &args.target,
        is_standby: Path::new("standby.signal").exists(),
        use_partial: args.use_partial,
    };
    control::begin_request(&config.completed_wals);
    Signal::Progress.lower_lightly(&config.completed_wals);
    let is_there = request.serve(work)?;
    match is_there {
        true => {
            Signal::Progress.raise_lightly(&config.completed_wals);
            work.context.stats.put("count", 1);
            Ok(ExitCode::SUCCESS)
        }
        false => Ok(ExitCode::from(ABSENT)),
    }
}

/// On the master: the slave hands it out.
fn from_slave(config: &MasterConfig, args: &Args) -> Result<ExitCode, Error> {
    let slave = Slave::new(config)?;
    let name = args.name.to_string();
    let mut words = vec!["xrestore", &name, "/dev/stdout"];
    // What this server has of an unfinished segment is more than the slave got, and would be replaced.
    let is_here = args.name.segment().is_some_and(|segment| {
        page::valid_length(&Path::new("pg_wal").join(&name), segment).is_some()
    });
    if !is_here {
        words.push("--use-partial");
    }
    let failed = |error| Error::io("write", &args.target, error);
    let target = File::create(&args.target).map_err(failed)?;
    let status = slave
        .command(false, &words)
        .stdin(Stdio::null())
        .stdout(target.try_clone().map_err(failed)?)
        // Of a slave on this host: it must not take this for a standby of its own.
        .current_dir("/")
        .status()
        .map_err(|error| Error::Program {
            what: slave.what(&words),
            problem: error.to_string(),
        });
    let checked = status.and_then(|status| match status.code() {
        Some(0) => check_file(args.name, &args.target).map(|()| ExitCode::SUCCESS),
        Some(1) => Ok(ExitCode::from(ABSENT)),
        _ => Err(Error::Program {
            what: slave.what(&words),
            problem: slave.ending(status, ""),
        }),
    });
    if !matches!(checked, Ok(code) if code == ExitCode::SUCCESS) {
        // What is left is not the file.
        let _ = fs::remove_file(&args.target);
    }
    checked
}

fn check_file(name: WalName, path: &Path) -> Result<(), Error> {
    let unread = |error| Error::io("read", path, error);
    let file = File::open(path).map_err(unread)?;
    let size = file.metadata().map_err(unread)?.len();
    let mut head = Vec::new();
    file.take(HEADER as u64)
        .read_to_end(&mut head)
        .map_err(unread)?;
    check_content(name, size, &head).map(|_| ())?;
    Ok(())
}

/// What has been copied.
struct Copied {
    size: u64,
    /// Its first bytes.
    head: Vec<u8>,
    /// Of what is stored.
    quick: Quick,
    /// If it was wanted.
    digest: Option<Digest>,
}

/// Copies a file, and tells how much there is after each piece.
fn copy_in_pieces(source: &File, mut target: &File, written: &Sender<usize>) -> io::Result<()> {
    loop {
        let copied = io::copy(&mut source.take(PIECE), &mut target)?;
        if copied == 0 {
            return Ok(());
        }
        // Who does not read any more has failed, and says so.
        let _ = written.send(usize::try_from(copied).unwrap_or(usize::MAX));
    }
}

/// Reads all that is written.
fn look(written: ReadBack<'_>) -> io::Result<Copied> {
    let mut written = Quickly::new(written);
    let mut head = Vec::new();
    let size = digest::blocks(
        &mut written,
        |error| error,
        |bytes| {
            head.extend(bytes.iter().take(HEADER - head.len()));
            Ok(())
        },
    )?;
    Ok(Copied {
        size,
        head,
        quick: written.finish(),
        digest: None,
    })
}

/// What the server wants.
struct Request<'a> {
    config: &'a SlaveConfig,
    archive: Archive,
    name: WalName,
    target: &'a Path,
    is_standby: bool,
    use_partial: bool,
}

impl Request<'_> {
    /// Hands the file out; false if it is not there.
    fn serve(&self, work: &Work<'_>) -> Result<bool, Error> {
        let dir = self.archive.dir();
        // An empty mount point has no files either.
        if !dir.join(".walmgr").is_dir() {
            return Err(crate::archive::ArchiveError::NoArchive(dir.to_owned()).into());
        }
        let mut gap_since: Option<Instant> = None;
        loop {
            if Signal::Pause.is_up(dir) {
                if self.is_standby {
                    debug!(name = %self.name, "paused");
                    return Ok(false);
                }
                if self.has_lost_its_server() || work.context.stop.sleep(POLL) {
                    return Err(Error::Refused("the server is gone".to_owned()));
                }
                continue;
            }
            if let Some((stored, is_archived)) = self.finished()? {
                match self.deliver(&stored, is_archived) {
                    // It has been archived, and is not needed among what is streamed any more.
                    Err(_) if !is_archived && !stored.path.exists() => continue,
                    delivered => return delivered.map(|()| true),
                }
            }
            let WalName::Segment(segment) = self.name else {
                return Ok(false);
            };
            if (self.use_partial || Signal::Stop.is_up(dir))
                && let Some((_, path)) = partial::most(self.config, segment)
            {
                let form = Form::Plain;
                self.deliver(&Stored { path, form }, false)?;
                return Ok(true);
            }
            if !self.is_standby && receiver::all_wal(self.config)?.is_gap(segment) {
                // Sent at the same time as others, it may just be late.
                let since = *gap_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= self.config.gap_grace {
                    return Err(Error::Refused(format!(
                        "{segment} is missing in {}, and later WAL is there",
                        dir.display()
                    )));
                }
                work.context.stop.sleep(Duration::from_millis(200));
                continue;
            }
            let waits = !self.is_standby && self.config.restore_wait && !Signal::Stop.is_up(dir);
            if !waits {
                failpoint::step("xrestore.absent");
                return Ok(false);
            }
            if self.has_lost_its_server() || work.context.stop.sleep(POLL) {
                return Err(Error::Refused("the server is gone".to_owned()));
            }
        }
    }

    /// The finished file, and whether it was archived; if not, it was streamed.
    fn finished(&self) -> Result<Option<(Stored, bool)>, Error> {
        let archived = || -> Result<_, Error> {
            Ok(self.archive.find(self.name)?.map(|stored| (stored, true)))
        };
        let found = archived()?;
        let Some(receiver) = self.config.receiver.as_ref().filter(|_| found.is_none()) else {
            return Ok(found);
        };
        // An empty mount point has no files either.
        if !receiver.dir.is_dir() {
            return Err(crate::archive::ArchiveError::NoArchive(receiver.dir.clone()).into());
        }
        let path = receiver.dir.join(self.name.to_string());
        match path.exists() {
            true => Ok(Some((
                Stored {
                    path,
                    form: Form::Plain,
                },
                false,
            ))),
            // Gone from there, it has been archived since.
            false => archived(),
        }
    }

    /// Copies a file to where it is wanted, whole and verified, or leaves nothing there.
    fn deliver(&self, from: &Stored, is_archived: bool) -> Result<(), Error> {
        let delivered = self.copy(from, is_archived);
        if delivered.is_err() {
            // What is left is not the file. What is no file, but a pipe to the master, stays.
            if fs::symlink_metadata(self.target).is_ok_and(|metadata| metadata.is_file()) {
                let _ = fs::remove_file(self.target);
            }
        }
        failpoint::step("xrestore.delivered");
        delivered
    }

    fn copy(&self, stored: &Stored, is_archived: bool) -> Result<(), Error> {
        let from = &stored.path;
        // As it is in the archive, it is what was verified then; if it is not, the digest tells more. A pipe is written
        // to once.
        let is_pipe = fs::symlink_metadata(self.target).is_ok_and(|metadata| !metadata.is_file());
        let noted = match is_archived && !is_pipe {
            true => self.archive.quick(self.name),
            false => None,
        };
        let mut copied = match stored.form {
            Form::Plain if noted.is_some() => self.write_plain(stored)?,
            _ => self.write(stored, noted.is_none())?,
        };
        if noted.is_some_and(|noted| noted != copied.quick) {
            copied = self.write(stored, true)?;
        }
        let header = check_content(self.name, copied.size, &copied.head)?;
        let identity = Identity::read(self.archive.dir())?;
        if let (Some(header), Some(identity)) = (header, identity)
            && header.system_identifier != identity.system_identifier
        {
            return Err(Error::Refused(format!(
                "{} is WAL of system {}, and the archive of {}",
                from.display(),
                header.system_identifier,
                identity.system_identifier
            )));
        }
        let Some(digest) = copied.digest.filter(|_| is_archived) else {
            return Ok(());
        };
        match self.archive.sum(self.name)? {
            Some(sum) if sum != (digest, copied.size) => Err(Error::Refused(format!(
                "{} is damaged: it has {} bytes, SHA-256 {}, and was archived with {} bytes, {}; the master's \
                 pg_wal may still have it",
                from.display(),
                copied.size,
                digest,
                sum.1,
                sum.0
            ))),
            _ => Ok(()),
        }
    }

    /// Has the kernel copy what is stored as it is, and reads back meanwhile what has been written.
    fn write_plain(&self, stored: &Stored) -> Result<Copied, Error> {
        let from = &stored.path;
        let unwritten = |error| Error::io("write", self.target, error);
        let source = File::open(from).map_err(|error| Error::io("read", from, error))?;
        let target = File::options()
            .create(true)
            .truncate(true)
            .read(true)
            .write(true)
            .open(self.target)
            .map_err(unwritten)?;
        let (written, told) = mpsc::channel();
        let (copied, seen) = thread::scope(|scope| {
            let seen = scope.spawn(|| look(ReadBack::new(&target, told)));
            let copied = copy_in_pieces(&source, &target, &written);
            drop(written);
            (copied, seen.join().expect("reading does not panic"))
        });
        copied.map_err(|error| Error::io("copy", from, error))?;
        seen.map_err(|error| Error::io("read", self.target, error))
    }

    /// Writes what is stored where it is wanted, as the server wrote it.
    fn write(&self, stored: &Stored, wants_digest: bool) -> Result<Copied, Error> {
        let from = &stored.path;
        let unread = |error| Error::io("read", from, error);
        let uncopied = |error| Error::io("copy", from, error);
        let unwritten = |error| Error::io("write", self.target, error);
        let mut stored_bytes = Quickly::new(File::open(from).map_err(unread)?);
        let mut content = stored.form.decode(&mut stored_bytes).map_err(unread)?;
        let mut target = File::create(self.target).map_err(unwritten)?;
        let mut head = Vec::new();
        let take = |bytes: &[u8]| {
            if head.len() < HEADER {
                head.extend(bytes.iter().take(HEADER - head.len()));
            }
            target.write_all(bytes).map_err(unwritten)
        };
        let (digest, size) = match wants_digest {
            true => {
                let (digest, size) = digest::pump(&mut content, uncopied, take)?;
                (Some(digest), size)
            }
            false => (None, digest::blocks(&mut content, uncopied, take)?),
        };
        drop(content);
        Ok(Copied {
            size,
            head,
            quick: stored_bytes.finish(),
            digest,
        })
    }

    /// Whether the server that asked has died: its shell would let us wait for ever.
    fn has_lost_its_server(&self) -> bool {
        let pidfile = Path::new("postmaster.pid");
        !matches!(
            skytools::pidfile::status(pidfile),
            Ok(skytools::pidfile::Status::Running(_))
        )
    }
}
