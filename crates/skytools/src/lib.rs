//! What every SkyTools program shares: process glue and PostgreSQL helpers. Knows nothing of queues.
//!
//! * a program: [`app`], [`config`] over [`ini`] and TOML, [`daemon`], [`pidfile`], [`process`], [`shell`],
//!   [`log`], [`stats`]; [`failpoint`]: places where tests stop one
//! * a connection: [`conninfo`], [`tls`], [`db`]
//! * text the server understands: [`quote`], [`copy`], [`copy_binary`], [`mod@array`], [`urlencode`], [`sql`], [`partial`];
//!   a row of any of these is a [`record`], and becomes a [`statement`]
//! * the catalog: [`table`], [`shape`], [`dbstruct`], [`snapshot`], [`install`]; rows: [`copy_in`]; between
//!   servers: [`full_copy`]
#![warn(missing_docs)]

pub mod app;
pub mod array;
pub mod config;
pub mod conninfo;
pub mod copy;
pub mod copy_binary;
pub mod copy_in;
pub mod daemon;
pub mod db;
pub mod dbstruct;
pub mod failpoint;
pub mod full_copy;
pub mod ini;
pub mod install;
pub mod log;
pub mod partial;
pub mod pidfile;
pub mod process;
pub mod quote;
pub mod record;
pub mod shape;
pub mod shell;
mod skylog;
pub mod snapshot;
pub mod sql;
pub mod statement;
pub mod stats;
pub mod table;
pub mod tls;
pub mod urlencode;
