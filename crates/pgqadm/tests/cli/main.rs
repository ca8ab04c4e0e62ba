//! The program as users run it.

mod commands;
mod many;
mod outage;
mod relay;
mod schema;
mod site;
mod ticker;
