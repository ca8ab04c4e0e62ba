//! What the slave has already although the server has not asked for it yet: one file each in `archive_spool`.
//!
//! An acknowledgement only saves sending the file again, which the slave would take for what it is. So whatever
//! is doubtful about one, it does not count.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tracing::{debug, warn};

use crate::digest::Digest;
use crate::names::WalName;
use crate::{durable, files};

/// An acknowledgement that is older does not count: the slave may have another archive by now.
const GOOD_FOR: Duration = Duration::from_secs(600);

/// What shows that a file is the same as before: any change of content or name changes the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) size: u64,
    /// Nanoseconds.
    modified: i128,
    changed: i128,
    inode: u64,
}

impl Stamp {
    pub(crate) fn of(file: &File) -> io::Result<Stamp> {
        let metadata = file.metadata()?;
        let nanos =
            |seconds: i64, nanos: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
        Ok(Stamp {
            size: metadata.size(),
            modified: nanos(metadata.mtime(), metadata.mtime_nsec()),
            changed: nanos(metadata.ctime(), metadata.ctime_nsec()),
            inode: metadata.ino(),
        })
    }

    /// With the digest, as it is written: `SHA256 SIZE MTIME CTIME INODE`.
    fn line(&self, digest: &str) -> String {
        let Stamp {
            size,
            modified,
            changed,
            inode,
        } = self;
        format!("{digest} {size} {modified} {changed} {inode}")
    }
}

/// Acknowledgements of one slave.
#[derive(Debug)]
pub(crate) struct Spool {
    dir: PathBuf,
    /// Where the files have gone.
    to: String,
}

impl Spool {
    /// `to`: what tells one slave from another.
    pub(crate) fn open(dir: &Path, to: String) -> io::Result<Spool> {
        files::create_private_dir(dir)?;
        Ok(Spool {
            dir: dir.to_owned(),
            to,
        })
    }

    fn path(&self, name: WalName) -> PathBuf {
        self.dir.join(format!("{name}.ok"))
    }

    /// Notes that the slave has a file.
    pub(crate) fn put(&self, name: WalName, stamp: Stamp, digest: Digest) {
        let path = self.path(name);
        // Half of it counts for nothing, so it need not last.
        let text = format!("{}\n{}\n", stamp.line(&digest.to_string()), self.to);
        if let Err(error) = fs::write(&path, text) {
            warn!(%error, path = %path.display(), "cannot note that a file is archived");
        }
    }

    /// Whether the slave is known to have this very file; asked once, it is not known any more.
    pub(crate) fn take(&self, name: WalName, source: &Path) -> bool {
        let path = self.path(name);
        let is_known = self.is_known(&path, source);
        if let Err(error) = durable::remove(&path) {
            warn!(%error, path = %path.display(), "cannot remove an acknowledgement");
        }
        is_known.unwrap_or_else(|error| {
            if error.kind() != ErrorKind::NotFound {
                debug!(%error, path = %path.display(), "an acknowledgement that does not count");
            }
            false
        })
    }

    fn is_known(&self, path: &Path, source: &Path) -> io::Result<bool> {
        let text = fs::read_to_string(path)?;
        let age = SystemTime::now().duration_since(fs::metadata(path)?.modified()?);
        let stamp = Stamp::of(&File::open(source)?)?;
        let digest = text.split(' ').next().unwrap_or_default();
        let is_digest = digest.parse::<Digest>().is_ok();
        let expected = format!("{}\n{}\n", stamp.line(digest), self.to);
        Ok(is_digest && text == expected && age.is_ok_and(|age| age <= GOOD_FOR))
    }

    /// Whether there is one, good or not.
    pub(crate) fn has(&self, name: WalName) -> bool {
        self.path(name).exists()
    }

    /// Removes acknowledgements of files that do not wait any more.
    pub(crate) fn clean(&self, waits: impl Fn(WalName) -> bool) {
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_str().and_then(|name| name.strip_suffix(".ok"));
            if let Some(Ok(name)) = name.map(str::parse)
                && !waits(name)
            {
                // The next time will do as well.
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::time::{Duration, SystemTime};

    use super::{GOOD_FOR, Spool, Stamp};
    use crate::digest::Digest;
    use crate::names::WalName;

    #[test]
    fn an_acknowledgement_counts_once_and_only_for_the_very_file_and_slave() -> std::io::Result<()>
    {
        let dir = tempfile::tempdir()?;
        let name: WalName = "00000001000000000000000A".parse().expect("a name");
        let source = dir.path().join("wal");
        fs::write(&source, "content")?;
        let spool = |to: &str| Spool::open(&dir.path().join("spool"), to.to_owned());
        let here = spool("db2 /slave.ini")?;
        let put = || -> std::io::Result<()> {
            let mut file = File::open(&source)?;
            let stamp = Stamp::of(&file)?;
            here.put(name, stamp, Digest::of(&mut file)?.0);
            Ok(())
        };
        assert!(!here.take(name, &source), "nothing is known");
        put()?;
        assert!(here.take(name, &source));
        assert!(!here.take(name, &source), "it counts once");
        put()?;
        assert!(!spool("db3 /slave.ini")?.take(name, &source));
        // The same time and size, and another content.
        put()?;
        let modified = fs::metadata(&source)?.modified()?;
        fs::write(&source, "CONTENT")?;
        File::options()
            .write(true)
            .open(&source)?
            .set_modified(modified)?;
        assert!(!here.take(name, &source));
        // Old, of the future, cut off.
        for time in [
            SystemTime::now() - 2 * GOOD_FOR,
            SystemTime::now() + Duration::from_secs(60),
        ] {
            put()?;
            let file = File::options().write(true).open(here.path(name))?;
            file.set_modified(time)?;
            assert!(!here.take(name, &source));
        }
        put()?;
        let text = fs::read_to_string(here.path(name))?;
        for length in 0..text.len() {
            fs::write(here.path(name), &text[..length])?;
            assert!(!here.take(name, &source), "{length}");
        }
        put()?;
        here.clean(|_| true);
        assert!(here.has(name));
        here.clean(|_| false);
        assert!(!here.has(name));
        Ok(())
    }
}
