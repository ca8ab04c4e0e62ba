//! The archive on the slave: `completed_wals`, with the digest of each file beside it.
//!
//! A file is under its name once it is complete, verified and on disk, and is never replaced: the same
//! bytes again are welcome, others are refused and kept aside.

mod error;
mod form;
mod identity;
mod incoming;
pub(crate) mod leftovers;
mod listing;
mod quick;
pub(crate) mod stopped;

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use skytools::failpoint;
use tracing::{info, warn};

pub(crate) use error::ArchiveError;
use error::{At, Conflict};
pub(crate) use form::Form;
pub(crate) use identity::Identity;
pub(crate) use incoming::ReadBack;
pub(crate) use listing::Listing;
pub(crate) use quick::{Quick, Quickly};

use crate::digest::Digest;
use crate::durable::{self, Scratch};
use crate::names::WalName;
use crate::page::{HEADER, Header};
use crate::progress::Progress;

/// Free space that is left alone, so that the host can still write its logs.
const RESERVE: u64 = 16 << 20;

/// Largest file that is taken: a segment of the largest size.
const LARGEST: u64 = 1 << 30;

/// Files kept aside at most.
const MOST_CONFLICTS: usize = 16;

/// Where finished WAL is.
#[derive(Debug, Clone)]
pub(crate) struct Archive {
    dir: PathBuf,
}

/// What a master announces.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Announced {
    pub(crate) name: WalName,
    pub(crate) size: u64,
    /// `None` where what is read is the file itself, and has come no way on which it could be damaged.
    pub(crate) digest: Option<Digest>,
    /// How it comes, and is kept.
    pub(crate) form: Form,
}

/// A file of the archive.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) path: PathBuf,
    pub(crate) form: Form,
}

impl Stored {
    /// Opens it, to read what the server wrote.
    pub(crate) fn open(&self) -> io::Result<Box<dyn Read>> {
        self.form.decode(File::open(&self.path)?)
    }

    /// Digest and size of what the server wrote.
    fn digest(&self) -> Result<(Digest, u64), ArchiveError> {
        self.open()
            .and_then(|mut content| Digest::of(&mut content))
            .at("read", &self.path)
    }

    /// System identifier and timeline on its first page, for a message.
    fn system(&self) -> Option<(u64, u32)> {
        let mut head = [0; HEADER];
        self.open().ok()?.read_exact(&mut head).ok()?;
        let header = Header::read(&head)?;
        Some((header.system_identifier, header.timeline))
    }
}

impl Archive {
    pub(crate) fn new(dir: &Path) -> Archive {
        Archive {
            dir: dir.to_owned(),
        }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where a file is that is not compressed.
    pub(crate) fn path(&self, name: WalName) -> PathBuf {
        self.dir.join(name.to_string())
    }

    /// A file, in whichever form it is there.
    pub(crate) fn find(&self, name: WalName) -> Result<Option<Stored>, ArchiveError> {
        for form in forms(name) {
            let path = self.dir.join(form.file_name(name));
            if path.try_exists().at("look for", &path)? {
                return Ok(Some(Stored { path, form }));
            }
        }
        Ok(None)
    }

    /// Directory of what is known about the files.
    fn notes(&self) -> PathBuf {
        self.dir.join(".walmgr")
    }

    fn sum_path(&self, name: WalName) -> PathBuf {
        self.notes().join(format!("{name}.sum"))
    }

    fn quick_path(&self, name: WalName) -> PathBuf {
        self.notes().join(format!("{name}.xxh3"))
    }

    /// Makes the directories, for `setup`. True if something was missing.
    pub(crate) fn create(&self) -> Result<bool, ArchiveError> {
        let notes = self.notes();
        let is_there = notes.is_dir();
        crate::files::create_private_dir(&notes).at("create", &notes)?;
        Ok(!is_there)
    }

    /// Takes a file: when this returns, it is in the archive for good, or was already. Answers with its digest.
    ///
    /// `has_sets`: whether base backups are there, which have a marker of their cluster beside them.
    ///
    /// # Errors
    /// It is not there then, or was there before.
    pub(crate) fn receive(
        &self,
        file: &Announced,
        from: &mut impl Read,
        has_sets: impl FnOnce() -> bool + Send,
    ) -> Result<Digest, ArchiveError> {
        let Announced { name, size, .. } = *file;
        if size > LARGEST {
            return Err(ArchiveError::wrong(
                name,
                format!("{size} bytes are too many"),
            ));
        }
        let notes = self.notes();
        if !notes.is_dir() {
            return Err(ArchiveError::NoArchive(self.dir.clone()));
        }
        self.need_space(size)?;
        let path = self.dir.join(format!(".{name}.tmp"));
        let Some(scratch) = Scratch::create(&path).at("create", &path)? else {
            return Err(ArchiveError::Busy(name));
        };
        failpoint::step("xreceive.created");
        let new_sum = notes.join(format!(".{name}.sum.new"));
        let ((digest, identity), quick) = incoming::take(
            &self.dir,
            &scratch,
            file,
            from,
            |incoming::Content { digest, header }| {
                let identity = header.map(Identity::of);
                if let Some(identity) = identity {
                    identity.check(&self.dir, has_sets)?;
                }
                failpoint::step("xreceive.written");
                // While the file itself gets there.
                write_sum(&new_sum, digest, size).at("write", &new_sum)?;
                Ok((digest, identity))
            },
        )?;
        failpoint::step("xreceive.synced");

        // Digest and file go together; of two that come at once, one is the second.
        let lock_path = notes.join("lock");
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .at("open", &lock_path)?;
        lock.lock().at("lock", &lock_path)?;
        if let Some(identity) = identity {
            identity.claim(&self.dir)?;
        }
        if let Some(there) = self.find(name)? {
            return self.compare(file, there, (digest, size), &scratch, &new_sum);
        }
        let final_path = self.dir.join(file.form.file_name(name));
        let sum_path = self.sum_path(name);
        fs::rename(&new_sum, &sum_path).at("name", &sum_path)?;
        // Only saves time.
        let quick_path = self.quick_path(name);
        if let Err(error) = quick.write(&quick_path) {
            warn!(%error, path = %quick_path.display(), "cannot note a quick digest");
        }
        failpoint::step("xreceive.summed");
        durable::publish(scratch.path(), &final_path).at("name", &final_path)?;
        failpoint::step("xreceive.published");
        self.sync_dirs()?;
        failpoint::step("xreceive.done");
        Ok(digest)
    }

    /// Makes the names of a file and of its digest last.
    fn sync_dirs(&self) -> Result<(), ArchiveError> {
        let notes = self.notes();
        durable::both(
            || durable::sync_dir(&self.dir).at("sync", &self.dir),
            || durable::sync_dir(&notes).at("sync", &notes),
        )
    }

    fn need_space(&self, size: u64) -> Result<(), ArchiveError> {
        let free = crate::files::free_bytes(&self.dir).at("look at", &self.dir)?;
        match free < size + RESERVE {
            true => Err(ArchiveError::DiskFull {
                dir: self.dir.clone(),
                needed: size + RESERVE,
                free,
            }),
            false => Ok(()),
        }
    }

    /// What becomes of a file whose name is taken.
    fn compare(
        &self,
        file: &Announced,
        stored: Stored,
        new: (Digest, u64),
        scratch: &Scratch,
        new_sum: &Path,
    ) -> Result<Digest, ArchiveError> {
        let name = file.name;
        let sum = self.sum(name)?;
        let there = stored.digest();
        if there.as_ref().is_ok_and(|there| *there == new) {
            // It may have been put there by a process that died before it synced, or without a digest.
            match sum {
                Some(_) => durable::remove(new_sum).map(|_| ()),
                None => fs::rename(new_sum, self.sum_path(name)),
            }
            .at("name", new_sum)?;
            File::open(&stored.path)
                .and_then(|file| file.sync_all())
                .at("sync", &stored.path)?;
            self.sync_dirs()?;
            info!(%name, "already archived");
            return Ok(new.0);
        }
        durable::remove(new_sum).at("remove", new_sum)?;
        // One that is compressed and damaged cannot even be read.
        let there = match there {
            Ok(there) => there,
            Err(error) if sum.is_none() => return Err(error),
            Err(_) => {
                Digest::of_file(&stored.path, &Progress::silent()).at("read", &stored.path)?
            }
        };
        let newcomer = Stored {
            path: scratch.path().to_owned(),
            form: file.form,
        };
        let new_system = newcomer.system();
        let aside = self
            .put_aside(file, new.0, scratch)
            .at("keep aside", &stored.path)?;
        Err(ArchiveError::Conflict(Box::new(Conflict {
            there_system: stored.system(),
            path: stored.path,
            there,
            new,
            new_system,
            aside,
            is_damaged: sum.is_some_and(|sum| sum != there),
        })))
    }

    /// Keeps a file that is refused, for a person to look at; `None` if there are enough of them.
    fn put_aside(
        &self,
        file: &Announced,
        digest: Digest,
        scratch: &Scratch,
    ) -> io::Result<Option<PathBuf>> {
        let dir = self.notes().join("conflict");
        crate::files::create_private_dir(&dir)?;
        let short: String = digest.to_string().chars().take(8).collect();
        let path = dir.join(format!("{}.{short}{}", file.name, file.form.suffix()));
        if path.exists() {
            return Ok(Some(path));
        }
        if fs::read_dir(&dir)?.count() >= MOST_CONFLICTS {
            return Ok(None);
        }
        match durable::publish(scratch.path(), &path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
            _ => Ok(Some(path)),
        }
    }

    /// Digest and size that a file had when it was archived; `None` for one of an older installation.
    ///
    /// # Errors
    /// They cannot be read.
    pub(crate) fn sum(&self, name: WalName) -> Result<Option<(Digest, u64)>, ArchiveError> {
        let path = self.sum_path(name);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).at("read", &path),
        };
        let sum = text.trim_end().split_once(' ').and_then(|(digest, size)| {
            Some((digest.parse::<Digest>().ok()?, size.parse::<u64>().ok()?))
        });
        match sum {
            Some(sum) => Ok(Some(sum)),
            None => Err(ArchiveError::wrong(
                name,
                format!("{} holds no digest and size", path.display()),
            )),
        }
    }

    /// What a file came to as it is stored, when it was archived, if that is known.
    pub(crate) fn quick(&self, name: WalName) -> Option<Quick> {
        Quick::read(&self.quick_path(name))
    }

    /// Removes a file and then its digest. None is fine; true if there was one.
    pub(crate) fn remove(&self, name: WalName) -> Result<bool, ArchiveError> {
        let mut was_there = false;
        for form in forms(name) {
            let path = self.dir.join(form.file_name(name));
            was_there |= durable::remove(&path).at("remove", &path)?;
        }
        for note in [self.quick_path(name), self.sum_path(name)] {
            durable::remove(&note).at("remove", &note)?;
        }
        Ok(was_there)
    }
}

/// The forms that a file may have, the likeliest first.
fn forms(name: WalName) -> impl Iterator<Item = Form> {
    let is_possible = move |form: &Form| form.for_name(name) == *form;
    Form::ALL.into_iter().filter(is_possible)
}

/// Writes a digest under a name that it does not keep.
fn write_sum(path: &Path, digest: Digest, size: u64) -> io::Result<()> {
    let mut file = File::options()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(format!("{digest} {size}\n").as_bytes())?;
    file.sync_all()
}

/// What the first bytes of a file have to say for its name; the header of a segment.
pub(crate) fn check_content(
    name: WalName,
    size: u64,
    head: &[u8],
) -> Result<Option<Header>, ArchiveError> {
    let Some(segment) = name.segment().filter(|_| name.holds_wal()) else {
        return Ok(None);
    };
    let Some(header) = Header::read(head) else {
        return Err(ArchiveError::wrong(
            name,
            "its first page is not that of a segment".to_owned(),
        ));
    };
    if header.segment_size.bytes() != size {
        return Err(ArchiveError::wrong(
            name,
            format!(
                "it has {size} bytes, and segments of its cluster {}",
                header.segment_size.bytes()
            ),
        ));
    }
    if !header.is_of(segment) {
        return Err(ArchiveError::wrong(
            name,
            format!(
                "its first page is of timeline {} at {}",
                header.timeline,
                postgres::types::PgLsn::from(header.address)
            ),
        ));
    }
    if !header.is_known_version() {
        info!(%name, magic = header.magic, "WAL of an unknown version of PostgreSQL");
    }
    Ok(Some(header))
}
