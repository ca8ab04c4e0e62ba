//! The set-up commands, `compare`, and the SQL they stand on.

mod capture;
mod compare;
mod create;
mod grants;
mod provider;
mod repair;
mod replicating;
mod sql;
mod status;
mod subscriber;
mod support;
mod upgrade;
mod upkeep;
mod usage;
