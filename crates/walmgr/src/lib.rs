//! WAL archiving, base backups, and a warm standby: one master, one slave, one file for each side.
//!
//! * [`Args`], [`Config`], [`Error`]: what the user says, and what goes wrong; `exit`: what the server is told
//! * `names`, `page`, `wal_end`: segments, their names and their first pages, and where WAL ends
//! * `place`, `slave`: where the slave is, running commands there, sending files
//! * `channel`, `spool`: many files over one connection, and which of them have arrived
//! * `archive`: finished WAL; `partial`, `sync`: unfinished, on the slave, and on its way there; `receiver`: streamed
//! * `sets`: base backups, their rotation and manifests, and which WAL they need
//! * `control`, `lock`: files that say something by being there
//! * `backup`, `restore`: making a set, and putting one into service; `rejoin`: a master that comes back as a slave
//! * `basebackup`: a copy by the server's own program
//! * `init`: a configuration for a host that has none
//! * `server`: a data directory, its control file, its settings and its programs
//! * `commands`: one file per command
//! * `ready`, `report`, `progress`: what waits to be archived, how findings are told, and how far work is
//! * `durable`, `files`, `digest`, `parallel`: files that last, trees of them, what is in them, and many at once

mod archive;
mod args;
mod backup;
mod basebackup;
mod channel;
mod commands;
mod config;
mod control;
mod digest;
mod durable;
mod error;
mod exit;
mod files;
mod init;
mod lock;
mod names;
mod page;
mod parallel;
mod partial;
mod place;
mod progress;
mod ready;
mod receiver;
mod rejoin;
mod report;
mod restore;
mod server;
mod sets;
mod slave;
mod spool;
mod sync;
mod wal_end;

pub use args::Args;
pub use config::Config;
pub use error::Error;
pub use exit::main;
