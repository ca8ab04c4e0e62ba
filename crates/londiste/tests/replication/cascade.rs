//! Nodes behind nodes: what becomes of the others when one dies.

mod copy_from;
mod failover;
mod relay;
mod stage;
mod switch;
