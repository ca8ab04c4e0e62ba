//! Many queues and captures: what looks at all of them does not look at everything for each.

use testkit::{Cluster, TestResult};

use crate::captures::queue_and_table;
use crate::support::row;

/// Rows that a statement reads of the catalogues of triggers and functions: in plans of a new session that use indexes
/// where there are any. In catalogues as small as these others are as good, and differ from moment to moment.
fn catalogue_reads(cluster: &Cluster, statement: &str) -> TestResult<i64> {
    let mut db = cluster.connect("postgres")?;
    let mut tx = db.transaction()?;
    tx.batch_execute(&format!("set local enable_seqscan = off; {statement}"))?;
    // What is found through an index counts as read of it.
    let read = "select sum(pg_stat_get_xact_tuples_returned(c) + pg_stat_get_xact_tuples_fetched(c))::int8
                  from unnest(array['pg_proc', 'pg_trigger']::regclass[]) t (oid),
                       lateral (select t.oid union all select indexrelid from pg_index where indrelid = t.oid) r (c)";
    let read = tx.query_one(read, &[])?.get(0);
    tx.commit()?;
    Ok(read)
}

#[test]
fn the_table_of_a_capture_is_found_without_reading_the_catalogues() -> TestResult {
    let (cluster, mut db) = queue_and_table()?;
    let create = |from: i32, to: i32| {
        format!(
            "do $$ begin for i in {from}..{to} loop
                 execute format('create table t%s (id int primary key)', i);
                 perform pgq.create_capture(('t' || i)::regclass, 'c', 'sql',
                     case i % 2 when 0 then 'row' else 'generic' end, array['q']);
             end loop; end $$"
        )
    };
    let statements = [
        "select pgq.refresh_captures()",
        "update pgq.capture set cap_problem = 'x'; select pgq.get_problems();
         update pgq.capture set cap_problem = null",
    ];
    let mut before = Vec::new();
    for (from, to) in [(1, 10), (11, 30)] {
        db.batch_execute(&create(from, to))?;
        db.batch_execute("select pgq.refresh_captures()")?;
        for (i, statement) in statements.into_iter().enumerate() {
            let reads = catalogue_reads(&cluster, statement)?;
            match before.get(i) {
                None => before.push(reads),
                // Twenty for each; the generators of each, or all triggers, would be some hundreds.
                Some(&before) => assert!(
                    reads < before + 20 * 60,
                    "{statement}: {before} rows with 10 captures, {reads} with 30"
                ),
            }
        }
    }
    assert_eq!(
        row(
            &mut db,
            "select count(*) from pgq.capture where pgq_gen._relation_of(capture) = cap_relid"
        )?,
        "30"
    );
    Ok(())
}

#[test]
fn sizes_are_looked_at_where_a_rotation_is_due() -> TestResult {
    let (_cluster, mut db) = queue_and_table()?;
    db.batch_execute("select pgq.create_queue('late')")?;
    let due = "update pgq.queue set queue_switch_time = now() - interval '1 day' where queue_name = 'late'";
    db.batch_execute(due)?;
    let sizes = "select string_agg(queue_name || ' ' || (event_tables_size is not null), ', ' order by queue_name)";
    for (from, expected) in [
        ("pgq._queue_health(null, false)", "late true, q false"),
        ("pgq.get_queue_health()", "late true, q true"),
    ] {
        assert_eq!(row(&mut db, &format!("{sizes} from {from}"))?, expected);
    }
    let told = "select problem, amount > 0 from pgq.get_problems() where queue_name = 'late' and problem like 'no_m%'";
    assert_eq!(row(&mut db, told)?, "no_maintenance|t");
    Ok(())
}
