//! What a refusal of a server means.

use skytools::db::denied_on;

use super::Replay;
use crate::schema::Side;
use crate::{Error, grants, registry};

impl Replay {
    /// Adds to an error what the role or the server lacks, if that is why it came.
    pub(super) fn explain(&mut self, error: Error) -> Error {
        let Some(connection) = denied_on(&error) else {
            return error.or_out_of_locks();
        };
        let side = match connection {
            "provider_db" => Side::Provider,
            _ => Side::Subscriber,
        };
        let tables = match self.subscriber.open() {
            Ok(db) => registry::subscriber_tables(db, &self.settings.queue).unwrap_or_default(),
            Err(_) => Vec::new(),
        };
        let names: Vec<String> = tables.into_iter().map(|table| table.name).collect();
        let db = match side {
            Side::Provider => self.provider.open(),
            Side::Subscriber => self.subscriber.open(),
        };
        match db {
            Ok(db) => grants::explain_on(error, db, side, grants::Work::Replay, &names),
            Err(_) => error,
        }
    }
}
