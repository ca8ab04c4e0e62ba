//! Transaction ids and snapshots, which queues stand on: the server's own, found and checked.

use testkit::{Cluster, TestResult};

use crate::support::{refusal, row, rows, run};

#[test]
fn snapshots_are_read_and_written_as_they_are() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = cluster.connect("postgres")?;
    run(&mut db, &["txid/install.sql"])?;
    for text in [
        "12:13:",
        "12:20:13,15,18",
        "1000100010001000:1000100010001100:1000100010001012,1000100010001013",
    ] {
        assert_eq!(
            row(&mut db, &format!("select '{text}'::txid_snapshot"))?,
            text
        );
    }
    for text in ["31:12:", "0:1:", "12:13:0", "12:16:14,13"] {
        assert!(
            refusal(&mut db, &format!("select '{text}'::txid_snapshot"))?
                .starts_with("invalid input syntax for type"),
            "{text}"
        );
    }
    assert_eq!(
        row(
            &mut db,
            "select txid_snapshot_xmin(s), txid_snapshot_xmax(s), \
             (select string_agg(x::text, ' ') from txid_snapshot_xip(s) x) from (select '12:20:13,15,18'::txid_snapshot) t (s)"
        )?,
        "12|20|13 15 18"
    );
    assert_eq!(
        rows(
            &mut db,
            "select txid_visible_in_snapshot(id, '12:20:13,15,18') from generate_series(11, 21) id"
        )?,
        ["t", "t", "f", "t", "f", "t", "t", "f", "t", "f", "f"]
    );
    // Nothing of this project's is made: a schema of that name would mean something to old tickers.
    assert_eq!(row(&mut db, "select to_regnamespace('txid')")?, "NULL");
    Ok(())
}

#[test]
fn a_transaction_does_not_see_itself_in_its_snapshot() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = cluster.connect("postgres")?;
    db.batch_execute("begin")?;
    assert_eq!(
        row(
            &mut db,
            "select txid_current() >= txid_snapshot_xmin(txid_current_snapshot()), \
             txid_visible_in_snapshot(txid_current(), txid_current_snapshot()), \
             pg_current_xact_id()::text::bigint = txid_current()"
        )?,
        "t|f|t"
    );
    Ok(())
}
