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
    // The module of SkyTools 2 refused these.
    assert_eq!(
        row(
            &mut db,
            "select '12:12:'::txid_snapshot, '12:16:14,14'::txid_snapshot"
        )?,
        "12:12:|12:16:14"
    );
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

#[test]
fn a_server_without_what_queues_stand_on_is_refused() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = cluster.connect("postgres")?;
    for (function, arguments) in [
        ("txid_current", ""),
        ("txid_current_snapshot", ""),
        ("txid_snapshot_xmin", "txid_snapshot"),
        ("txid_snapshot_xmax", "txid_snapshot"),
        ("txid_snapshot_xip", "txid_snapshot"),
        ("txid_visible_in_snapshot", "bigint,txid_snapshot"),
    ] {
        db.batch_execute(&format!(
            "alter function pg_catalog.{function}({arguments}) rename to gone"
        ))?;
        let error = format!(
            "{:?}",
            run(&mut db, &["txid/install.sql"]).expect_err("it is gone")
        );
        let message = format!("this server has no function {function}({arguments})");
        assert!(error.contains(&message), "{error}");
        db.batch_execute(&format!(
            "alter function pg_catalog.gone({arguments}) rename to {function}"
        ))?;
    }
    run(&mut db, &["txid/install.sql"])
}
