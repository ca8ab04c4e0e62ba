//! Replication end to end: real servers, the real programs, and whatever can happen to them.

mod ahead;
mod apply;
mod captures;
mod cascade;
mod copy;
mod deferrable;
mod disk;
#[cfg(feature = "failpoints")]
mod failpoints;
mod jobs;
mod large;
mod locks;
mod moments;
mod order;
mod position;
mod process;
mod replay;
mod restored;
mod scripts;
mod structure;
mod support;
mod tables;
