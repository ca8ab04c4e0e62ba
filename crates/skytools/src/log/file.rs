//! A log file that several processes append to and any of them rotates.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The open file; `FILE.1` is the youngest of the old ones.
#[derive(Debug)]
pub(crate) struct RotatingFile {
    path: PathBuf,
    file: File,
    max_bytes: u64,
    keep: u32,
}

impl RotatingFile {
    /// Opens for appending. A `max_bytes` of 0 never rotates; `keep` old files are kept.
    pub(crate) fn open(path: &Path, max_bytes: u64, keep: u32) -> io::Result<RotatingFile> {
        Ok(RotatingFile {
            path: path.to_owned(),
            file: append(path)?,
            max_bytes,
            keep,
        })
    }

    /// Opens the path again, which may be another file by now.
    pub(crate) fn reopen(&mut self) -> io::Result<()> {
        self.file = append(&self.path)?;
        Ok(())
    }

    /// Appends a record with a single write, so that records of two processes do not mix.
    pub(crate) fn write(&mut self, record: &[u8]) -> io::Result<()> {
        if self.is_full(record)? {
            // A failed rotation must not lose the record.
            let rotated = self.rotate(record);
            self.file.write_all(record)?;
            return rotated;
        }
        self.file.write_all(record)
    }

    fn is_full(&self, record: &[u8]) -> io::Result<bool> {
        if self.max_bytes == 0 {
            return Ok(false);
        }
        let length = self.file.metadata()?.len();
        Ok(length > 0 && length + record.len() as u64 >= self.max_bytes)
    }

    /// The open file itself is the lock: whoever rotates holds it, and whoever waited for it then
    /// finds another file at the path.
    fn rotate(&mut self, record: &[u8]) -> io::Result<()> {
        loop {
            self.file.lock()?;
            if !self.is_current()? {
                self.reopen()?;
                if self.is_full(record)? {
                    continue;
                }
                return Ok(());
            }
            if self.keep == 0 {
                std::fs::remove_file(&self.path)?;
            }
            for number in (1..=self.keep).rev() {
                let from = if number == 1 {
                    self.path.clone()
                } else {
                    self.numbered(number - 1)
                };
                match std::fs::rename(from, self.numbered(number)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            // Closing the old file frees the lock.
            return self.reopen();
        }
    }

    /// Whether the open file is still the one at the path.
    fn is_current(&self) -> io::Result<bool> {
        let open = self.file.metadata()?;
        match std::fs::metadata(&self.path) {
            Ok(there) => Ok((open.dev(), open.ino()) == (there.dev(), there.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn numbered(&self, number: u32) -> PathBuf {
        let mut name = OsString::from(&self.path);
        name.push(format!(".{number}"));
        name.into()
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}
