//! Replication end to end: real servers, the real programs, and whatever can happen to them.

mod copy;
mod replay;
mod support;
