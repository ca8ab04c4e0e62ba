//! The frame of all programs, from the outside: real processes of the example program `job`.

mod cli;
mod crash;
mod daemon;
mod log;
mod skylog;
mod support;
mod wait;
