//! The client against servers: batches, consumers, crashes.

mod batch;
mod config;
mod consumer;
mod crash;
mod generations;
mod local;
mod support;
mod wake;
