//! The client against servers: batches, consumers, crashes.

mod batch;
mod config;
mod consumer;
mod coop;
mod crash;
mod failed;
mod generations;
mod local;
mod order;
mod pair;
mod producer;
mod serial;
mod support;
mod wake;
