//! The program as users run it.

mod commands;
mod site;
mod ticker;
