//! The archive on the slave: `completed_wals`, with the digest of each file beside it.
//!
//! A file is under its name once it is complete, verified and on disk, and is never replaced: the same
//! bytes again are welcome, others are refused and kept aside.

mod error;
mod identity;
mod listing;

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use skytools::failpoint;
use tracing::info;

pub(crate) use error::ArchiveError;
use error::{At, Conflict};
pub(crate) use identity::Identity;
pub(crate) use listing::Listing;

use crate::digest::{Digest, Hasher};
use crate::durable::{self, Scratch};
use crate::names::WalName;
use crate::page::{HEADER, Header};

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
    pub(crate) digest: Digest,
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

    pub(crate) fn path(&self, name: WalName) -> PathBuf {
        self.dir.join(name.to_string())
    }

    /// Directory of what is known about the files.
    fn notes(&self) -> PathBuf {
        self.dir.join(".walmgr")
    }

    fn sum_path(&self, name: WalName) -> PathBuf {
        self.notes().join(format!("{name}.sum"))
    }

    /// Makes the directories, for `setup`. True if something was missing.
    pub(crate) fn create(&self) -> Result<bool, ArchiveError> {
        let notes = self.notes();
        let is_there = notes.is_dir();
        crate::files::create_private_dir(&notes).at("create", &notes)?;
        Ok(!is_there)
    }

    /// Takes a file: when this returns, it is in the archive for good, or was already.
    ///
    /// `has_sets`: whether base backups are there, which have a marker of their cluster beside them.
    ///
    /// # Errors
    /// It is not there then, or was there before.
    pub(crate) fn receive(
        &self,
        file: &Announced,
        from: &mut impl Read,
        has_sets: impl FnOnce() -> bool,
    ) -> Result<(), ArchiveError> {
        let Announced { name, size, digest } = *file;
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
        let Some(mut scratch) = Scratch::create(&path).at("create", &path)? else {
            return Err(ArchiveError::Busy(name));
        };
        failpoint::step("xreceive.created");
        let head = self.fill(&mut scratch, file, from)?;
        failpoint::step("xreceive.written");
        let header = check_content(name, size, &head)?;
        let identity = header.map(Identity::of);
        if let Some(identity) = identity {
            identity.check(&self.dir, has_sets)?;
        }
        scratch.file.sync_all().at("write", &path)?;
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
        let final_path = self.path(name);
        match final_path.try_exists() {
            Ok(false) => {}
            Ok(true) => return self.compare(file, &scratch),
            Err(error) => return Err(error).at("look for", &final_path),
        }
        let sum_path = self.sum_path(name);
        let sum = format!("{digest} {size}\n");
        durable::write(&sum_path, sum.as_bytes()).at("write", &sum_path)?;
        failpoint::step("xreceive.summed");
        durable::publish(scratch.path(), &final_path).at("name", &final_path)?;
        failpoint::step("xreceive.published");
        durable::sync_dir(&self.dir).at("sync", &self.dir)?;
        failpoint::step("xreceive.done");
        Ok(())
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

    /// Writes what comes in, and answers with its first bytes. More than was announced is never read.
    fn fill(
        &self,
        scratch: &mut Scratch,
        file: &Announced,
        from: &mut impl Read,
    ) -> Result<Vec<u8>, ArchiveError> {
        let mut hasher = Hasher::default();
        let mut head = Vec::new();
        let mut block = vec![0; 256 * 1024];
        let mut left = file.size;
        while left > 0 {
            let most = usize::try_from(left).map_or(block.len(), |left| left.min(block.len()));
            let read = match from.read(&mut block[..most]) {
                Ok(0) => {
                    let got = file.size - left;
                    return Err(ArchiveError::Short {
                        name: file.name,
                        got,
                        size: file.size,
                    });
                }
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(source) => {
                    return Err(ArchiveError::Input {
                        name: file.name,
                        source,
                    });
                }
            };
            let bytes = &block[..read];
            hasher.update(bytes);
            if head.len() < HEADER {
                head.extend(bytes.iter().take(HEADER - head.len()));
            }
            match scratch.file.write_all(bytes) {
                Err(error) if error.kind() == ErrorKind::StorageFull => {
                    return Err(ArchiveError::DiskFull {
                        dir: self.dir.clone(),
                        needed: file.size,
                        free: 0,
                    });
                }
                written => written.at("write", scratch.path())?,
            }
            left -= read as u64;
            failpoint::step("xreceive.block");
        }
        let digest = hasher.finish();
        match digest == file.digest {
            true => Ok(head),
            false => Err(ArchiveError::wrong(
                file.name,
                format!(
                    "it was damaged on the way: SHA-256 {digest}, and not {}",
                    file.digest
                ),
            )),
        }
    }

    /// What becomes of a file whose name is taken.
    fn compare(&self, file: &Announced, scratch: &Scratch) -> Result<(), ArchiveError> {
        let path = self.path(file.name);
        let there = Digest::of_file(&path).at("read", &path)?;
        if there == (file.digest, file.size) {
            // It may have been put there by a process that died before it synced.
            File::open(&path)
                .and_then(|file| file.sync_all())
                .at("sync", &path)?;
            durable::sync_dir(&self.dir).at("sync", &self.dir)?;
            info!(name = %file.name, "already archived");
            return Ok(());
        }
        let new_system = head_of(scratch.path());
        let aside = self.put_aside(file, scratch).at("keep aside", &path)?;
        let is_as_it_came = match self.sum(file.name)? {
            Some(sum) => sum == there,
            None => true,
        };
        Err(ArchiveError::Conflict(Box::new(Conflict {
            there_system: head_of(&path),
            path,
            there,
            new: (file.digest, file.size),
            new_system,
            aside,
            is_damaged: !is_as_it_came,
        })))
    }

    /// Keeps a file that is refused, for a person to look at; `None` if there are enough of them.
    fn put_aside(&self, file: &Announced, scratch: &Scratch) -> io::Result<Option<PathBuf>> {
        let dir = self.notes().join("conflict");
        crate::files::create_private_dir(&dir)?;
        let short: String = file.digest.to_string().chars().take(8).collect();
        let path = dir.join(format!("{}.{short}", file.name));
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

    /// Removes a file and then its digest. None is fine; true if there was one.
    pub(crate) fn remove(&self, name: WalName) -> Result<bool, ArchiveError> {
        let path = self.path(name);
        let was_there = durable::remove(&path).at("remove", &path)?;
        let sum = self.sum_path(name);
        durable::remove(&sum).at("remove", &sum)?;
        Ok(was_there)
    }
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

/// System identifier and timeline on the first page of a file, for a message.
fn head_of(path: &Path) -> Option<(u64, u32)> {
    let mut head = [0; HEADER];
    File::open(path).ok()?.read_exact(&mut head).ok()?;
    let header = Header::read(&head)?;
    Some((header.system_identifier, header.timeline))
}
