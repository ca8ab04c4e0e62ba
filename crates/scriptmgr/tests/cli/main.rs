//! The program as an administrator uses it, with jobs of all kinds.

mod config;
mod processes;
mod site;
mod starting;
mod status;
mod stopping;
mod users;
