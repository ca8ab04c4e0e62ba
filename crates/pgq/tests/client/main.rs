//! The client against servers: batches, consumers, crashes.

mod batch;
mod config;
mod consumer;
mod coop;
mod crash;
mod failed;
mod generations;
mod local;
mod producer;
mod support;
mod wake;
