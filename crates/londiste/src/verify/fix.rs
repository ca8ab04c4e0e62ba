//! The file of statements that repair a table: deletes, then updates, then inserts, in one
//! transaction. Its parts gather in a private directory, so that it may be larger than memory.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use skytools::db::Session;
use skytools::table::TableName;

use super::check::Sink;
use super::difference::Difference;
use super::layout::Layout;
use super::resume::Place;
use super::session;
use super::statement::{self, Kind};
use crate::{Error, VerifyError};

/// A fix file while it grows.
pub(crate) struct FixFile {
    target: PathBuf,
    table: String,
    parts: Option<Parts>,
    dir: PathBuf,
    /// The parts outlive this run, for one that goes on.
    keep: bool,
}

struct Parts {
    /// In the order of [`Kind::ALL`].
    files: [BufWriter<File>; 3],
}

impl FixFile {
    /// The file `fix.TABLE.sql` in the working directory, its parts in `tmpdir`. An old file is
    /// removed; parts that an earlier run left go on where its state says.
    ///
    /// # Errors
    /// Files cannot be removed or made.
    pub(crate) fn begin(
        table: &TableName,
        tmpdir: Option<&Path>,
        place: Option<&Place>,
        keep: bool,
    ) -> Result<FixFile, Error> {
        let name = format!("fix.{}.sql", file_name(&table.to_string()));
        let target = PathBuf::from(&name);
        let dir = tmpdir
            .unwrap_or(Path::new("."))
            .join(format!(".{name}.parts"));
        let mut fix = FixFile {
            target,
            table: table.to_string(),
            parts: None,
            dir,
            keep,
        };
        fix.prepare(place).map_err(|source| fix.error(source))?;
        Ok(fix)
    }

    fn prepare(&mut self, place: Option<&Place>) -> io::Result<()> {
        let lengths = place
            .map(|place| place.parts.as_slice())
            .unwrap_or_default();
        if lengths.len() == Kind::ALL.len() {
            self.open(lengths)
        } else {
            gone(fs::remove_file(&self.target))?;
            gone(fs::remove_dir_all(&self.dir))
        }
    }

    fn open(&mut self, lengths: &[u64]) -> io::Result<()> {
        match DirBuilder::new().mode(0o700).create(&self.dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let part = |nr: usize| -> io::Result<BufWriter<File>> {
            let mut file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(self.dir.join(nr.to_string()))?;
            file.set_len(lengths[nr])?;
            file.seek(SeekFrom::End(0))?;
            Ok(BufWriter::new(file))
        };
        self.parts = Some(Parts {
            files: [part(0)?, part(1)?, part(2)?],
        });
        Ok(())
    }

    fn error(&self, source: io::Error) -> Error {
        Error::Verify(VerifyError::FixFile {
            path: self.target.clone(),
            source,
        })
    }

    fn add(&mut self, kind: Kind, sql: &[u8]) -> io::Result<()> {
        if self.parts.is_none() {
            self.open(&[0; 3])?;
        }
        match &mut self.parts {
            Some(parts) => parts.files[kind as usize].write_all(sql),
            None => Ok(()),
        }
    }

    /// Puts the parts together; the name of the file, if there is anything in it.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn finish(mut self) -> Result<Option<String>, Error> {
        self.keep = false;
        let Some(mut parts) = self.parts.take() else {
            return Ok(None);
        };
        let mut new = self.target.clone().into_os_string();
        new.push(".new");
        let mut assemble = || -> io::Result<()> {
            let mut file = BufWriter::new(File::create(&new)?);
            file.write_all(self.head().as_bytes())?;
            for part in &mut parts.files {
                part.flush()?;
                let part = part.get_mut();
                part.seek(SeekFrom::Start(0))?;
                io::copy(part, &mut file)?;
            }
            file.write_all(b"commit;\n")?;
            file.into_inner()
                .map_err(|error| error.into_error())?
                .sync_all()?;
            fs::rename(&new, &self.target)
        };
        let result = assemble();
        if result.is_err() {
            // It may be what fills the disk.
            let _ = fs::remove_file(&new);
        }
        result.map_err(|source| self.error(source))?;
        Ok(Some(self.target.display().to_string()))
    }

    fn head(&self) -> String {
        format!(
            "-- Makes {} on the subscriber what it was on the provider when it was compared.\n\
             -- A row that has changed since is left alone; but one that came or went since may do so\n\
             -- again here. Run it while the table rests, or use: repair --apply\n\
             begin;\n\
             -- set local session_replication_role = 'replica';\n\
             set constraints all deferred;\n\
             {}",
            self.table.replace(['\n', '\r'], " "),
            session::pins()
        )
    }
}

impl Drop for FixFile {
    fn drop(&mut self) {
        if !self.keep {
            self.parts = None;
            // What is left is in the way of nobody.
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

impl Sink for FixFile {
    fn take(
        &mut self,
        layout: &Layout,
        provider: &mut Session<'_>,
        differences: Vec<Difference>,
    ) -> Result<(), Error> {
        for difference in differences {
            for statement in statement::statements(layout, &difference) {
                statement.write(layout, provider, &mut |sql| {
                    (self.add(statement.kind, sql)).map_err(|source| self.error(source))
                })?;
            }
        }
        Ok(())
    }

    fn save(&mut self, _: &Layout) -> Result<Vec<u64>, Error> {
        let Some(parts) = &mut self.parts else {
            return Ok(Vec::new());
        };
        let lengths = parts
            .files
            .iter_mut()
            .map(|file| {
                file.flush()?;
                file.get_mut().sync_all()?;
                file.get_mut().stream_position()
            })
            .collect::<io::Result<Vec<u64>>>();
        lengths.map_err(|source| self.error(source))
    }
}

fn gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// A table's name as part of a file's.
fn file_name(table: &str) -> String {
    let safe = |letter: char| match letter {
        '/' => '_',
        letter if letter.is_control() => '_',
        letter => letter,
    };
    table.chars().map(safe).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_lies_in_the_directory_whatever_the_table_is_called() {
        assert_eq!(file_name("public.a b"), "public.a b");
        assert_eq!(file_name("public.../../etc\n"), "public..._.._etc_");
    }
}
