//! The client against servers: batches, consumers, crashes.

mod batch;
mod consumer;
mod crash;
mod support;
