//! Transaction ids beyond 32 bits.

use testkit::{Cluster, Shutdown, TestResult};

use crate::support::{
    arrived, cluster_with_consumer, cluster_without_pgq, copy_database, has_program, insert,
    refusal, row, succeed, tick,
};

/// Makes the cluster's next transaction ids start at `epoch` times 2^32.
fn set_epoch(cluster: &mut Cluster, epoch: u32) -> TestResult {
    cluster.stop(Shutdown::Fast)?;
    succeed(
        cluster
            .command("pg_resetwal")
            .args(["-e", &epoch.to_string(), "-D"])
            .arg(cluster.data_dir()),
    )?;
    cluster.start_again()
}

#[test]
fn a_queue_works_beyond_32_bits_and_across_the_jump() -> TestResult {
    let (mut cluster, mut db) = cluster_with_consumer()?;
    if !has_program(&cluster, "pg_resetwal") {
        return Ok(());
    }
    db.batch_execute("select pgq.set_queue_config('q', 'rotation_period', '0')")?;
    insert(&mut db, "before")?;
    drop(db);
    set_epoch(&mut cluster, 2)?;
    let mut db = cluster.connect("postgres")?;
    assert_eq!(row(&mut db, "select txid_current() > 2 * 4294967296")?, "t");
    insert(&mut db, "after")?;
    assert_eq!(arrived(&mut db)?, ["before", "after"]);

    let mut long = cluster.connect("postgres")?;
    long.batch_execute("begin isolation level repeatable read; select 1")?;
    tick(&mut db)?;
    crate::support::consume(&mut db)?;
    for (complete, table) in [("f", "1"), ("t", "1")] {
        db.batch_execute("select pgq.maint_rotate_tables_step1('q'); ")?;
        db.batch_execute("select pgq.maint_rotate_tables_step2()")?;
        assert_eq!(
            row(
                &mut db,
                "select queue_cur_table, queue_switch_step2 is not null from pgq.queue"
            )?,
            format!("{table}|{complete}"),
            "old snapshots are recognised by 32 bits"
        );
        if complete == "f" {
            insert(&mut long, "long")?;
            long.batch_execute("commit")?;
        }
    }
    insert(&mut db, "new table")?;
    assert_eq!(arrived(&mut db)?, ["long", "new table"]);
    let batch = row(
        &mut db,
        "select pgq.ticker('q'); select pgq.next_batch('q', 'c')",
    )?;
    assert_eq!(
        row(&mut db, &format!("select pgq.finish_batch({batch})"))?,
        "1"
    );
    Ok(())
}

#[test]
fn a_dump_restored_into_a_younger_cluster_waits_for_its_epoch() -> TestResult {
    let (mut cluster, mut db) = cluster_with_consumer()?;
    for program in ["pg_resetwal", "pg_dump", "psql"] {
        if !has_program(&cluster, program) {
            return Ok(());
        }
    }
    insert(&mut db, "dumped")?;
    drop(db);
    set_epoch(&mut cluster, 2)?;
    let mut db = cluster.connect("postgres")?;
    db.batch_execute("select pgq.set_queue_config('q', 'rotation_period', '0')")?;
    arrived(&mut db)?;
    db.batch_execute("select pgq.maint_rotate_tables_step1('q')")?;
    db.batch_execute("select pgq.maint_rotate_tables_step2()")?;
    insert(&mut db, "moved")?;
    tick(&mut db)?;
    let batches: i64 = row(&mut db, "select last_value from pgq.batch_id_seq")?.parse()?;
    let mut young = cluster_without_pgq()?;
    copy_database(&cluster, &young)?;
    let mut db = young.connect("postgres")?;
    assert!(refusal(&mut db, "select pgq.ticker('q')")?.starts_with("Invalid PgQ state"));
    assert!(
        refusal(&mut db, "select pgq.maint_rotate_tables_step1('q')")?
            .starts_with("queue q maint failure")
    );
    drop(db);
    set_epoch(&mut young, 3)?;
    let mut db = young.connect("postgres")?;
    assert_eq!(arrived(&mut db)?, ["moved"]);
    tick(&mut db)?;
    assert!(row(&mut db, "select pgq.next_batch('q', 'c')")?.parse::<i64>()? > batches);
    // Nothing is numbered twice.
    assert_eq!(row(&mut db, "select pgq.create_queue('new')")?, "1");
    assert_eq!(
        row(&mut db, "select pgq.register_consumer('new', 'another')")?,
        "1"
    );
    assert_eq!(
        row(
            &mut db,
            "select count(distinct sub_id) from pgq.subscription"
        )?,
        "2"
    );
    Ok(())
}
