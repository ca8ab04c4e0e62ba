use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use skytools::failpoint;
use tracing::debug;

use super::Work;
use super::xarchive::parse_name;
use crate::Error;
use crate::archive::{Archive, Form, Identity, Listing, Stored, check_content};
use crate::config::SlaveConfig;
use crate::control::{self, Signal};
use crate::digest;
use crate::exit::ABSENT;
use crate::names::{Segment, WalName};
use crate::page::HEADER;

/// Between two looks.
const POLL: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the file, as `%f`
    #[arg(value_parser = parse_name)]
    name: WalName,
    /// Where it is wanted, as `%p`
    target: PathBuf,
    /// First segment that the server still needs, as `%r`
    #[arg(hide = true)]
    _restart: Option<String>,
}

/// Answers [`ABSENT`] for a file that is not there; every other failure means that this is not known.
pub(super) fn run(work: &mut Work<'_>, args: &Args) -> Result<ExitCode, Error> {
    let config = match &work.node {
        super::Node::Slave(config) => config,
        super::Node::Master(_) => {
            return Err(Error::Refused(
                "xrestore on the master is not there yet".to_owned(),
            ));
        }
    };
    let request = Request {
        config,
        archive: Archive::new(&config.completed_wals),
        name: args.name,
        target: &args.target,
        is_standby: Path::new("standby.signal").exists(),
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

/// What the server wants.
struct Request<'a> {
    config: &'a SlaveConfig,
    archive: Archive,
    name: WalName,
    target: &'a Path,
    is_standby: bool,
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
            if let Some(stored) = self.archive.find(self.name)? {
                self.deliver(&stored, true)?;
                return Ok(true);
            }
            let WalName::Segment(segment) = self.name else {
                return Ok(false);
            };
            if Signal::Stop.is_up(dir)
                && let Some(stored) = self.unfinished(segment)
            {
                self.deliver(&stored, false)?;
                return Ok(true);
            }
            if !self.is_standby && Listing::read(dir)?.is_gap(segment) {
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

    /// The unfinished segment that has most valid WAL.
    fn unfinished(&self, segment: Segment) -> Option<Stored> {
        let candidates = [
            self.config.partial_wals.join(segment.to_string()),
            self.archive.path(WalName::Partial(segment)),
        ];
        candidates
            .into_iter()
            .filter_map(|path| Some((crate::page::valid_length(&path, segment)?, path)))
            .max_by_key(|(length, _)| *length)
            .map(|(_, path)| Stored {
                path,
                form: Form::Plain,
            })
    }

    /// Copies a file to where it is wanted, whole and verified, or leaves nothing there.
    fn deliver(&self, from: &Stored, is_finished: bool) -> Result<(), Error> {
        let delivered = self.copy(from, is_finished);
        if delivered.is_err() {
            // What is left is not the file.
            let _ = fs::remove_file(self.target);
        }
        failpoint::step("xrestore.delivered");
        delivered
    }

    fn copy(&self, stored: &Stored, is_finished: bool) -> Result<(), Error> {
        let from = &stored.path;
        let uncopied = |error| Error::io("copy", from, error);
        let mut source = stored
            .open()
            .map_err(|error| Error::io("read", from, error))?;
        let mut target =
            File::create(self.target).map_err(|error| Error::io("write", self.target, error))?;
        let mut head = Vec::new();
        let copied = digest::pump(&mut source, uncopied, |bytes| {
            if head.len() < HEADER {
                head.extend(bytes.iter().take(HEADER - head.len()));
            }
            let written = target.write_all(bytes);
            written.map_err(|error| Error::io("write", self.target, error))
        })?;
        let header = check_content(self.name, copied.1, &head)?;
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
        let sum = match is_finished {
            true => self.archive.sum(self.name)?,
            false => None,
        };
        match sum {
            Some(sum) if sum != copied => Err(Error::Refused(format!(
                "{} is damaged: it has {} bytes, SHA-256 {}, and was archived with {} bytes, {}; the master's \
                 pg_wal may still have it",
                from.display(),
                copied.1,
                copied.0,
                sum.1,
                sum.0
            ))),
            _ => Ok(()),
        }
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
