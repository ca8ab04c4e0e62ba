//! The program as users run it.

mod commands;
mod many;
mod operate;
mod outage;
mod page;
mod relay;
mod schema;
mod site;
mod status;
mod ticker;
