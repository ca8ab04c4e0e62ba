//! Transactions that read one state, and the parameters that the text of values depends on.

use skytools::db::{Connection, DbError, During};
use skytools::quote;

/// Parameters that the text of values depends on.
pub(crate) const PINNED: [(&str, &str); 7] = [
    ("datestyle", "ISO, MDY"),
    ("intervalstyle", "postgres"),
    ("timezone", "UTC"),
    ("extra_float_digits", "1"),
    ("bytea_output", "hex"),
    ("lc_monetary", "C"),
    ("xmlbinary", "base64"),
];

/// Statements that pin the text of values until the transaction ends.
pub(crate) fn pins() -> String {
    PINNED
        .iter()
        .map(|(name, value)| format!("set local {name} = {};\n", quote::literal(value)))
        .collect()
}

/// Begins a transaction whose snapshot is an exported one, or that of now. A policy that would hide
/// rows is an error in it. Ranges of keys are read through the index, whatever the statistics say.
pub(crate) fn begin_snapshot(db: &mut Connection, import: Option<&str>) -> Result<(), DbError> {
    let import = match import {
        Some(id) => format!("set transaction snapshot {};", quote::literal(id)),
        None => String::new(),
    };
    db.batch_execute(&format!(
        "begin isolation level repeatable read read only;
         {import}
         set local row_security = off;
         set local statement_timeout = 0;
         set local idle_in_transaction_session_timeout = 0;
         set local enable_seqscan = off;
         set local jit = off;
         {}
         select 1",
        pins()
    ))
    .during("take a snapshot")
}
