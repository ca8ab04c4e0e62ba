//! The SQL of PgQ against servers, called as any client calls it.

mod administration;
mod consumption;
mod epoch;
mod ext;
mod lifecycle;
mod privileges;
mod retry;
mod rotation;
mod support;
mod ticker;
mod triggers;
mod visibility;
