//! The program on real servers, on one machine: a slave directory beside the master, or behind ssh.

mod archive;
mod aside;
mod backup;
mod basebackup;
mod batch;
mod cipher;
mod cleanup;
mod compression;
mod config;
mod crash;
mod createslave;
mod damage;
mod disk;
mod edges;
mod failover;
mod health;
mod init;
mod layout;
mod lock;
mod masters;
mod network;
mod rejoin;
mod restore;
mod restore_command;
mod resume;
mod retention;
mod safety;
mod site;
mod slave_backup;
mod streaming;
mod switchover;
mod sync;

use std::time::Duration;

pub(crate) use site::Site;

/// Longest wait for anything that has to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
