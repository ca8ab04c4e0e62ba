use skytools::db::Connection;

use crate::Error;

/// Installs `pgq`, `pgq_ext`, `pgq_coop` and `txid` in one transaction; what is there already stays.
pub(crate) fn run(db: &mut Connection) -> Result<(), Error> {
    let mut tx = db.begin()?;
    pgq::schema::install(&mut tx)?;
    Ok(tx.commit()?)
}
