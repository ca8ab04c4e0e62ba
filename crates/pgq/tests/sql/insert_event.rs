//! The generated INSERT of `insert_event`: whatever it does not know, and whatever changes under it, events
//! arrive in the current table.

use testkit::TestResult;

use crate::support::{cluster, row, rows, run};

const CODE: &str =
    "select prosrc from pg_proc where oid::regproc = 'pgq_gen.insert_event'::regproc";
const MAINTENANCE: &str = "select pgq.refresh_captures()";

/// Inserts one event and returns the table where it is.
fn table_of_event(db: &mut postgres::Client, queue: &str) -> TestResult<String> {
    let id = row(
        db,
        &format!("select pgq.insert_event('{queue}', 't', 'd', '1', null, '3', '')"),
    )?;
    row(
        db,
        &format!(
            "select e.tableoid::regclass from pgq.event_template e, pgq.queue q \
             where q.queue_name = '{queue}' and e.ev_id = {id} and e.ev_extra1 = '1' and e.ev_extra4 = '' \
             and starts_with(e.tableoid::regclass::text, q.queue_data_pfx || '_')"
        ),
    )
}

#[test]
fn events_go_to_the_current_table_while_queues_come_and_go_and_rotate() -> TestResult {
    let (_cluster, mut db) = cluster()?;
    for queue in ["a", "b", "c"] {
        row(&mut db, &format!("select pgq.create_queue('{queue}')"))?;
    }
    for place in [0, 1, 2, 0] {
        for (id, queue) in [(1, "a"), (2, "b"), (3, "c")] {
            assert_eq!(
                table_of_event(&mut db, queue)?,
                format!("pgq.event_{id}_{place}")
            );
        }
        db.batch_execute(&format!(
            "update pgq.queue set queue_cur_table = ({place} + 1) % 3"
        ))?;
    }
    row(&mut db, "select pgq.drop_queue('b')")?;
    row(&mut db, "select pgq.create_queue('b')")?;
    assert_eq!(table_of_event(&mut db, "b")?, "pgq.event_4_0");
    assert_eq!(table_of_event(&mut db, "c")?, "pgq.event_3_1");
    let code = row(&mut db, CODE)?;
    assert!(
        code.contains("pgq.event_4_2 ") && !code.contains("pgq.event_2_"),
        "{code}"
    );
    Ok(())
}

#[test]
fn rotation_and_restrictions_do_not_make_the_code_anew() -> TestResult {
    let (_cluster, mut db) = cluster()?;
    row(&mut db, "select pgq.create_queue('q')")?;
    let version =
        "select xmin, ctid from pg_proc where oid::regproc = 'pgq_gen.insert_event'::regproc";
    let before = row(&mut db, version)?;
    db.batch_execute(
        "update pgq.queue set queue_cur_table = 1, queue_per_tx_limit = 1, queue_disable_insert = true;
         select pgq.ticker()",
    )?;
    row(&mut db, MAINTENANCE)?;
    assert_eq!(row(&mut db, version)?, before);
    Ok(())
}

#[test]
fn other_names_of_tables_and_sequences_are_followed() -> TestResult {
    let (_cluster, mut db) = cluster()?;
    row(&mut db, "select pgq.create_queue('q')")?;
    assert_eq!(table_of_event(&mut db, "q")?, "pgq.event_1_0");
    db.batch_execute(
        r#"alter table pgq.event_1_0 rename to "E'v%_0";
           alter table pgq.event_1_1 rename to "E'v%_1";
           alter table pgq.event_1_2 rename to "E'v%_2";
           alter sequence pgq.event_1_id_seq rename to "S""q'";
           update pgq.queue set queue_data_pfx = $$pgq.E'v%$$, queue_event_seq = $$pgq.S"q'$$"#,
    )?;
    assert_eq!(
        row(&mut db, "select pgq.insert_event('q', 't', 'd')")?,
        "2",
        "the sequence goes on"
    );
    assert_eq!(row(&mut db, r#"select count(*) from pgq."E'v%_0""#)?, "2");
    Ok(())
}

#[test]
fn a_queue_that_the_code_does_not_know_takes_events() -> TestResult {
    let (cluster, mut db) = cluster()?;
    // Nobody waits for another session that changes the code.
    let mut other = cluster.connect("postgres")?;
    other.batch_execute("begin; update pgq.queue set queue_ntables = 5 where false")?;
    db.batch_execute("set statement_timeout = '20s'")?;
    row(&mut db, "select pgq.create_queue('q')")?;
    assert!(!row(&mut db, CODE)?.contains("pgq.event_1_"));
    assert_eq!(table_of_event(&mut db, "q")?, "pgq.event_1_0");
    other.batch_execute("commit")?;

    row(&mut db, MAINTENANCE)?;
    let code = row(&mut db, CODE)?;
    assert!(code.contains("pgq.event_1_0 "), "{code}");
    assert_eq!(table_of_event(&mut db, "q")?, "pgq.event_1_0");
    Ok(())
}

#[test]
fn many_queues_do_not_make_the_code_grow_without_end() -> TestResult {
    let (_cluster, mut db) = cluster()?;
    db.batch_execute("select pgq.create_queue('q' || i) from generate_series(1, 40) i")?;
    let known = row(&mut db, &format!("select ({CODE}) ~ 'event_32_0 '"))?;
    let unknown = row(&mut db, &format!("select ({CODE}) ~ 'event_33_0 '"))?;
    assert_eq!((known.as_str(), unknown.as_str()), ("t", "f"));
    for queue in [1, 2, 16, 17, 31, 32, 33, 40] {
        assert_eq!(
            table_of_event(&mut db, &format!("q{queue}"))?,
            format!("pgq.event_{queue}_0")
        );
    }
    Ok(())
}

#[test]
fn a_second_installation_keeps_what_queues_need() -> TestResult {
    let (_cluster, mut db) = cluster()?;
    row(&mut db, "select pgq.create_queue('q')")?;
    db.batch_execute("drop function pgq_gen.insert_event")?;
    run(&mut db, &["pgq/install.sql"])?;
    assert_eq!(table_of_event(&mut db, "q")?, "pgq.event_1_0");
    assert!(row(&mut db, CODE)?.contains("pgq.event_1_2 "));
    assert_eq!(
        rows(
            &mut db,
            "select tgname from pg_trigger where tgrelid = 'pgq.queue'::regclass and not tgisinternal \
             order by 1"
        )?,
        ["queue_changed", "queue_tables_changed"]
    );
    Ok(())
}
