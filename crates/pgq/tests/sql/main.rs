//! The SQL of PgQ against servers, called as any client calls it.

mod administration;
mod backlog;
mod bulk;
mod catalogue;
mod consumption;
mod cooperative;
mod dead_letters;
mod epoch;
mod ext;
mod extension;
mod generations;
mod grants;
mod health;
mod held_snapshot;
mod lifecycle;
mod privileges;
mod receive;
mod retry;
mod rotation;
mod support;
mod swap;
mod ticker;
mod triggers;
mod txid;
mod upgrade;
mod visibility;
