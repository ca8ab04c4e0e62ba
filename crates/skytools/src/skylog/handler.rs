//! Handler classes and what they are given.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::args::{Arg, facility_number};
use super::logdb::LogDb;
use super::syslog::{Address, Syslog};
use super::udp;
use crate::app::expand_home;
use crate::conninfo::ConnInfo;
use crate::log::file::RotatingFile;
use crate::log::format::{Layout, Record};

/// A file is rotated at this size unless its handler says otherwise.
const MAX_BYTES: i64 = 10 * 1024 * 1024;

/// This many old files are kept unless the handler says otherwise.
const KEEP: i64 = 3;

/// An open handler.
pub(super) enum Handler {
    Stderr,
    Stdout,
    File(RotatingFile),
    Udp { host: String, port: u16 },
    Syslog(Syslog),
    LogDb(Box<LogDb>),
}

/// The key that is wrong, and what was expected.
type Problem = (&'static str, String);

impl Handler {
    pub(super) fn open(class: &str, args: &[Arg]) -> Result<Handler, Problem> {
        let wrong = |expected: &str| ("args", format!("expected {expected}"));
        let class = class.strip_prefix("logging.").unwrap_or(class);
        Ok(match class {
            "StreamHandler" => match args {
                [] | [Arg::Stderr] => Handler::Stderr,
                [Arg::Stdout] => Handler::Stdout,
                _ => return Err(wrong("(sys.stderr,) or (sys.stdout,)")),
            },
            "FileHandler" => match args {
                [Arg::Text(path)] => file(path.into(), 0, 0)?,
                [Arg::Text(path), Arg::Text(mode)] => {
                    if mode.starts_with('w') {
                        truncate(path.as_ref())?;
                    }
                    file(path.into(), 0, 0)?
                }
                _ => return Err(wrong("(filename, mode)")),
            },
            "handlers.RotatingFileHandler" => rotating(args, |path| path.into())?,
            "skylog.EasyRotatingFileHandler" => rotating(args, expand_home)?,
            "skylog.UdpLogServerHandler" => match args {
                [Arg::Text(host), Arg::Number(port)] => Handler::Udp {
                    host: host.clone(),
                    port: u16::try_from(*port).map_err(|_| wrong("a port up to 65535"))?,
                },
                _ => return Err(wrong("(host, port)")),
            },
            "skylog.LogDBHandler" => match args {
                [Arg::Text(text)] => {
                    // What is wrong may be shown, the string may not.
                    let conninfo = ConnInfo::parse(text)
                        .map_err(|error| ("args", crate::app::chain(&error)))?;
                    Handler::LogDb(Box::new(LogDb::new(conninfo)))
                }
                _ => return Err(wrong("(connect_string,)")),
            },
            "skylog.SysLogHandler" | "handlers.SysLogHandler" => {
                Handler::Syslog(syslog(args, false)?)
            }
            "skylog.SysLogHostnameHandler" => Handler::Syslog(syslog(args, true)?),
            _ => return Err(("class", format!("expected a known class, found {class}"))),
        })
    }

    pub(super) fn start(&mut self) {
        if let Handler::LogDb(logdb) = self {
            logdb.start();
        }
    }

    pub(super) fn reopen(&mut self) {
        if let Handler::File(file) = self {
            let _ = file.reopen();
        }
    }

    /// Passes a record on. Nobody is left to tell if that fails.
    pub(super) fn write(&mut self, record: &Record<'_>, layout: &Layout) {
        let _ = match self {
            Handler::Stderr => std::io::stderr().write_all(layout.line(record).as_bytes()),
            Handler::Stdout => std::io::stdout().write_all(layout.line(record).as_bytes()),
            Handler::File(file) => file.write(layout.line(record).as_bytes()),
            Handler::Udp { host, port } => udp::send(host, *port, record, &layout.text(record)),
            Handler::Syslog(syslog) => syslog.send(record, &layout.text(record)),
            Handler::LogDb(logdb) => {
                logdb.write(record);
                Ok(())
            }
        };
    }
}

fn file(path: PathBuf, max_bytes: u64, keep: u32) -> Result<Handler, Problem> {
    match RotatingFile::open(&path, max_bytes, keep) {
        Ok(file) => Ok(Handler::File(file)),
        Err(error) => Err(("args", format!("cannot open {}: {error}", path.display()))),
    }
}

fn truncate(path: &Path) -> Result<(), Problem> {
    match File::create(path) {
        Ok(_) => Ok(()),
        Err(error) => Err(("args", format!("cannot open {}: {error}", path.display()))),
    }
}

/// `(filename [, max_bytes [, count]])`; Python has a mode before the last two.
fn rotating(args: &[Arg], path: impl Fn(&str) -> PathBuf) -> Result<Handler, Problem> {
    let expected = || ("args", "expected (filename, max_bytes, count)".to_owned());
    let (name, rest) = match args {
        [Arg::Text(name), Arg::Text(_), rest @ ..] | [Arg::Text(name), rest @ ..] => (name, rest),
        _ => return Err(expected()),
    };
    let (max_bytes, keep) = match rest {
        [] => (MAX_BYTES, KEEP),
        [Arg::Number(max_bytes)] => (*max_bytes, KEEP),
        [Arg::Number(max_bytes), Arg::Number(keep)] => (*max_bytes, *keep),
        _ => return Err(expected()),
    };
    file(
        path(name),
        u64::try_from(max_bytes).map_err(|_| expected())?,
        u32::try_from(keep).map_err(|_| expected())?,
    )
}

/// `(address [, facility])`; the address is `(host, port)` or the path of a socket.
fn syslog(args: &[Arg], with_host: bool) -> Result<Syslog, Problem> {
    let expected = || {
        (
            "args",
            "expected ((host, port) or path, facility)".to_owned(),
        )
    };
    let (address, facility) = match args {
        [address] => (address, 1),
        [address, Arg::Number(facility)] => (address, *facility),
        [address, Arg::Text(name)] => (address, facility_number(name).ok_or_else(expected)?),
        _ => return Err(expected()),
    };
    let address = match address {
        Arg::Text(path) => Address::Unix(path.into()),
        Arg::Tuple(parts) => match parts.as_slice() {
            [Arg::Text(host), Arg::Number(port)] => {
                Address::Udp(host.clone(), u16::try_from(*port).map_err(|_| expected())?)
            }
            _ => return Err(expected()),
        },
        _ => return Err(expected()),
    };
    if !(0..=23).contains(&facility) {
        return Err(expected());
    }
    Ok(Syslog::new(address, facility, with_host))
}
