use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::{Error, TickId};

/// The file in which a local consumer keeps its position: a tick as decimal text.
#[derive(Debug)]
pub(super) struct TrackingFile {
    path: PathBuf,
}

impl TrackingFile {
    pub(super) fn new(path: PathBuf) -> TrackingFile {
        TrackingFile { path }
    }

    /// The tick; `None` without a file, of an empty one, and of -1, as older programs write for it.
    pub(super) fn load(&self) -> Result<Option<TickId>, Error> {
        let text = match fs::read_to_string(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            other => other.map_err(|error| self.error(error))?,
        };
        let tick = match text.trim() {
            "" => -1,
            digits => digits.parse().map_err(|_| {
                self.error(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("not a tick: {digits:?}"),
                ))
            })?,
        };
        Ok((tick >= 0).then(|| TickId::from(tick)))
    }

    /// Replaces the tick. When it returns, the new one is on the disk; before, the old one was.
    pub(super) fn store(&self, tick: TickId) -> Result<(), Error> {
        self.replace(tick).map_err(|error| self.error(error))
    }

    fn replace(&self, tick: TickId) -> io::Result<()> {
        let mut name = self.path.clone().into_os_string();
        name.push(".new");
        let new = PathBuf::from(name);
        let mut file = File::create(&new)?;
        writeln!(file, "{tick}")?;
        file.sync_all()?;
        fs::rename(&new, &self.path)?;
        self.sync_directory()
    }

    /// Forgets the tick.
    pub(super) fn remove(&self) -> Result<(), Error> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other
                .and_then(|()| self.sync_directory())
                .map_err(|error| self.error(error)),
        }
    }

    /// Makes a changed name last.
    fn sync_directory(&self) -> io::Result<()> {
        let parent = self.path.parent().unwrap_or(Path::new(""));
        let parent = if parent.as_os_str().is_empty() {
            Path::new(".")
        } else {
            parent
        };
        File::open(parent)?.sync_all()
    }

    fn error(&self, source: io::Error) -> Error {
        Error::Tracking {
            path: self.path.clone(),
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_back_and_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let file = TrackingFile::new(dir.path().join("tick"));
        assert_eq!(file.load().unwrap(), None);
        for number in [7, 12] {
            let tick = TickId::from(number);
            file.store(tick).unwrap();
            assert_eq!(file.load().unwrap(), Some(tick));
        }
        let left: Vec<_> = fs::read_dir(dir.path()).unwrap().collect();
        assert_eq!(left.len(), 1);
        file.remove().unwrap();
        file.remove().unwrap();
        assert_eq!(file.load().unwrap(), None);
    }

    #[test]
    fn no_position_is_an_empty_file_or_a_negative_number() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tick");
        let file = TrackingFile::new(path.clone());
        for (text, tick) in [("", None), ("\n", None), ("-1", None), (" 8 \n", Some(8))] {
            fs::write(&path, text).unwrap();
            assert_eq!(file.load().unwrap(), tick.map(TickId::from), "{text:?}");
        }
    }

    #[test]
    fn a_damaged_file_and_a_missing_directory_are_errors() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tick");
        fs::write(&path, "12x").unwrap();
        let error = TrackingFile::new(path).load().unwrap_err();
        assert!(skytools::app::chain(&error).ends_with("tick: not a tick: \"12x\""));
        let file = TrackingFile::new(dir.path().join("missing/tick"));
        assert!(file.store(TickId::from(1)).is_err());
    }
}
