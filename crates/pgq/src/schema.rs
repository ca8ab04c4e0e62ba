//! The SQL of PgQ, embedded: installing `pgq`, `pgq_ext` and `txid`.

use skytools::db::Tx;

use crate::Error;

/// Installs what is missing of `pgq`, `pgq_ext` and `txid`, logging each piece, in the caller's
/// transaction. An existing schema is left alone.
///
/// # Errors
/// The role may not create schemas, or a file fails.
pub fn install(tx: &mut Tx<'_>) -> Result<(), Error> {
    let _ = tx;
    unimplemented!("owner: pgq helper")
}
