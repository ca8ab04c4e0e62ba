use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use super::Info;
use crate::Error;
use crate::names::Segment;

/// What `backup_label` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Label {
    pub(crate) start_lsn: String,
    pub(crate) start_segment: Segment,
    /// As the server wrote it: `2026-11-22 05:50:32 UTC`.
    pub(crate) start_time: String,
    pub(crate) label: String,
}

impl Label {
    /// Reads the lines that are known; others are for later servers.
    pub(crate) fn parse(text: &str) -> Option<Label> {
        let value = |key: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(key)?.strip_prefix(": "))
        };
        let (lsn, rest) = value("START WAL LOCATION")?.split_once(" (file ")?;
        Some(Label {
            start_lsn: lsn.to_owned(),
            start_segment: rest.strip_suffix(')')?.parse().ok()?,
            start_time: value("START TIME").unwrap_or_default().to_owned(),
            label: value("LABEL").unwrap_or_default().to_owned(),
        })
    }

    /// What a label would say of the copy of a standby that was stopped, which has none.
    pub(crate) fn of_cold_copy(info: &Info) -> Option<Label> {
        if info.method != Info::COLD {
            return None;
        }
        Some(Label {
            start_lsn: info.start_lsn.clone(),
            start_segment: info.start_wal.parse().ok()?,
            start_time: info.start_time.replace('T', " ").replace('Z', " UTC"),
            label: info.label.clone(),
        })
    }

    /// The label in a data directory; that of one that has been started already, too.
    ///
    /// # Errors
    /// There is none, or it says nothing of WAL.
    pub(crate) fn read(dir: &Path) -> Result<Label, Error> {
        let path = dir.join("backup_label");
        let text = match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let old = dir.join("backup_label.old");
                fs::read(&old).map_err(|_| Error::io("read", &path, error))
            }
            read => read.map_err(|error| Error::io("read", &path, error)),
        }?;
        Label::parse(&String::from_utf8_lossy(&text))
            .ok_or_else(|| Error::Refused(format!("{} names no first WAL", path.display())))
    }
}

#[cfg(test)]
mod tests {
    use super::Label;

    #[test]
    fn a_label_tells_the_first_segment() {
        let label = Label::parse(
            "START WAL LOCATION: 0/5000028 (file 000000010000000000000005)\n\
             CHECKPOINT LOCATION: 0/5000060\nBACKUP METHOD: streamed\nBACKUP FROM: primary\n\
             START TIME: 2026-11-22 05:50:32 UTC\nLABEL: FullBackup: odd\nSTART TIMELINE: 1\n",
        )
        .expect("a label");
        assert_eq!(label.start_lsn, "0/5000028");
        assert_eq!(label.start_segment.to_string(), "000000010000000000000005");
        assert_eq!(label.start_time, "2026-11-22 05:50:32 UTC");
        assert_eq!(label.label, "FullBackup: odd");
        for text in ["", "START WAL LOCATION: 0/5000028", "LABEL: x\n"] {
            assert_eq!(Label::parse(text), None);
        }
    }
}
