//! Whether two connections lead to the same database.

use skytools::db::{During, GenericClient};

use crate::Error;

/// What tells one running database from all others.
///
/// A clone of a server has the identifier of the original, and the same database numbers, but not the
/// start time.
#[derive(Debug, PartialEq, Eq)]
pub struct Place {
    system: i64,
    started_micros: i64,
    database: u32,
}

impl Place {
    /// Where a connection leads.
    ///
    /// # Errors
    /// The server did not answer.
    pub fn of(db: &mut impl GenericClient) -> Result<Place, Error> {
        let row = db
            .query_typed_one(
                "select s.system_identifier, \
                 (extract(epoch from pg_catalog.pg_postmaster_start_time()) * 1000000)::int8, d.oid \
                 from pg_catalog.pg_control_system() s, pg_catalog.pg_database d \
                 where d.datname = pg_catalog.current_database()",
                &[],
            )
            .during("ask which database this is")?;
        Ok(Place {
            system: row.get(0),
            started_micros: row.get(1),
            database: row.get(2),
        })
    }
}
