//! What monitoring is told: facts, problems, and who is at fault.

use postgres::{Client, NoTls};
use testkit::{Cluster, TestResult};

use crate::support::{cluster, cluster_with_consumer, insert, install, refusal, row, rows, tick};

/// Problems without their ages.
fn problems(db: &mut Client) -> TestResult<Vec<String>> {
    rows(
        db,
        "select severity, problem, queue_name, consumer_name from pgq.get_problems()",
    )
}

/// A queue that is due for rotation for longer than its period, and its consumer up to date.
fn overdue() -> TestResult<(Cluster, Client)> {
    let (cluster, mut db) = cluster_with_consumer()?;
    db.batch_execute(
        "select pg_advisory_lock(1885827396, 0); \
         update pgq.queue set queue_switch_time = now() - interval '5 hours'",
    )?;
    // The consumer has passed the last switch.
    tick(&mut db)?;
    pass_all(&mut db)?;
    Ok((cluster, db))
}

fn pass_all(db: &mut Client) -> TestResult {
    while db
        .query_one("select pgq.finish_batch(pgq.next_batch('q', 'c')) = 1", &[])?
        .get::<_, Option<bool>>(0)
        == Some(true)
    {}
    Ok(())
}

#[test]
fn a_new_queue_under_a_ticker_has_no_problem() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    tick(&mut db)?;
    assert_eq!(problems(&mut db)?, [] as [&str; 0]);
    assert_eq!(
        row(
            &mut db,
            "select queue_name, ticker_paused, external_ticker, insert_disabled, ticker_lag < '1 min', \
             ticker_limit, new_events, rotation_age < '1 min', rotation_overdue, switch_pending, \
             rotation_blocker, event_tables_size > 0, retry_events, retry_overdue, failed_events \
             from pgq.get_queue_health()"
        )?,
        "q|f|f|f|t|00:00:00|0|t|NULL|f|NULL|t|0|NULL|0"
    );
    assert_eq!(
        row(
            &mut db,
            "select queue_name, consumer_name, lag < '1 min', last_seen < '1 min', pending_events, \
             batch_id, batch_age, waiting < '1 min', is_lost, blocks_rotation, retry_events, \
             failed_events, failed_oldest from pgq.get_consumer_health()"
        )?,
        "q|c|t|t|0|NULL|NULL|t|f|t|0|0|NULL"
    );
    for unknown in [
        "get_queue_health('x')",
        "get_consumer_health('q', 'x')",
        "get_problems('x')",
    ] {
        assert_eq!(
            rows(&mut db, &format!("select * from pgq.{unknown}"))?,
            [] as [&str; 0]
        );
    }
    Ok(())
}

#[test]
fn without_a_ticker_one_line_tells_of_all_queues_and_with_one_each_is_named() -> TestResult {
    let (_cluster, mut db) = cluster()?;
    db.batch_execute(
        "select pgq.create_queue(q) from unnest(array['a', 'b', 'paused', 'elsewhere']) q; \
         update pgq.tick set tick_time = now() - interval '80 seconds'; \
         delete from pgq.tick using pgq.queue where queue_id = tick_queue and queue_name = 'b'; \
         update pgq.queue set queue_ticker_paused = true where queue_name = 'paused'; \
         update pgq.queue set queue_external_ticker = true where queue_name = 'elsewhere'; \
         select pgq.insert_event('paused', 't', 'd')",
    )?;
    assert_eq!(
        rows(
            &mut db,
            "select severity, problem, queue_name, amount, message, advice from pgq.get_problems()"
        )?,
        [
            "error|no_ticker|NULL|2|no ticker runs; queues that wait for a tick: 2|\
             run the ticker: pgqadm INI -d ticker",
            "warning|paused|paused|1|paused while about 1 events wait|\
             select pgq.set_queue_config('paused', 'ticker_paused', 'false')",
        ]
    );
    db.batch_execute("select pg_advisory_lock(1885827396, 0)")?;
    assert_eq!(
        problems(&mut db)?,
        [
            "error|not_ticked|a|NULL",
            "error|not_ticked|b|NULL",
            "warning|paused|paused|NULL"
        ]
    );
    assert_eq!(
        row(
            &mut db,
            "select subject = pg_backend_pid()::text from pgq.get_problems('a')"
        )?,
        "t"
    );
    Ok(())
}

#[test]
fn a_rotation_that_nobody_hinders_is_for_want_of_maintenance() -> TestResult {
    let (_cluster, mut db) = overdue()?;
    assert_eq!(problems(&mut db)?, ["error|no_maintenance|q|NULL"]);
    db.batch_execute("update pgq.queue set queue_switch_time = now() - interval '2 hours 11 min'")?;
    assert_eq!(problems(&mut db)?, ["warning|no_maintenance|q|NULL"]);
    db.batch_execute("select pgq.maint_rotate_tables_step1('q')")?;
    assert_eq!(
        row(&mut db, "select switch_pending from pgq.get_queue_health()")?,
        "t"
    );
    db.batch_execute("select pgq.maint_rotate_tables_step2()")?;
    assert_eq!(problems(&mut db)?, [] as [&str; 0]);
    Ok(())
}

#[test]
fn a_consumer_that_is_not_read_on_blocks_rotation_and_is_named() -> TestResult {
    let (_cluster, mut db) = overdue()?;
    // A switch that it has not passed, a period ago.
    db.batch_execute("select pgq.maint_rotate_tables_step1('q')")?;
    db.batch_execute("select pgq.maint_rotate_tables_step2()")?;
    db.batch_execute("update pgq.queue set queue_switch_time = now() - interval '3 hours'")?;
    assert_eq!(
        rows(
            &mut db,
            "select problem, consumer_name, message, advice from pgq.get_problems()"
        )?,
        [
            "rotation_consumer|c|event tables cannot rotate and grow: consumer c has not read on|\
          start the consumer, or, if nobody needs it: select pgq.unregister_consumer('q', 'c')"
        ]
    );
    // Not seen for long: that is told once.
    insert(&mut db, "x")?;
    tick(&mut db)?;
    db.batch_execute(
        "update pgq.tick set tick_time = now() - interval '2 hours'; \
         update pgq.subscription set sub_active = now() - interval '2 hours'",
    )?;
    tick(&mut db)?;
    assert_eq!(problems(&mut db)?, ["error|consumer_gone|q|c"]);
    pass_all(&mut db)?;
    assert_eq!(problems(&mut db)?, ["warning|no_maintenance|q|NULL"]);
    Ok(())
}

#[test]
fn what_else_blocks_rotation_is_named_with_its_process_or_id() -> TestResult {
    let (cluster, mut db) = overdue_with_prepared()?;
    let blocker = "select rotation_blocker, rotation_blocker_name, rotation_blocker_age >= '0' \
                   from pgq.get_queue_health()";
    let problem = "select problem from pgq.get_problems() where problem <> 'no_ticker'";
    let mut other = cluster.connect("postgres")?;
    let pid = row(&mut other, "select pg_backend_pid()")?;

    // A session that uses the next table.
    other.batch_execute("begin; lock table pgq.event_1_1 in access share mode")?;
    assert_eq!(row(&mut db, blocker)?, format!("lock|{pid}|t"));
    assert_eq!(row(&mut db, problem)?, "rotation_lock");
    other.batch_execute("rollback")?;

    // A transaction from before the last switch: it holds back every tick.
    other.batch_execute("begin; select txid_current()")?;
    db.batch_execute("update pgq.queue set queue_switch_step1 = txid_current(), queue_switch_step2 = txid_current()")?;
    assert_eq!(row(&mut db, blocker)?, format!("transaction|{pid}|t"));
    assert_eq!(row(&mut db, problem)?, "rotation_transaction");
    other.batch_execute("create table left_open (); prepare transaction 'it''s left'")?;
    assert_eq!(row(&mut db, blocker)?, "prepared transaction|it's left|t");
    assert_eq!(row(&mut db, problem)?, "rotation_prepared");
    other.batch_execute("rollback prepared 'it''s left'")?;

    // A snapshot from before the last switch.
    other.batch_execute("begin isolation level repeatable read; select 1 from pgq.queue")?;
    db.batch_execute(
        "update pgq.queue set queue_switch_step1 = txid_current(), queue_switch_step2 = null",
    )?;
    assert_eq!(row(&mut db, blocker)?, format!("snapshot|{pid}|t"));
    assert_eq!(row(&mut db, problem)?, "rotation_snapshot");
    other.batch_execute("rollback")?;
    assert_eq!(row(&mut db, blocker)?, "NULL|NULL|NULL");
    Ok(())
}

/// As [`overdue`], on a server with prepared transactions.
fn overdue_with_prepared() -> TestResult<(Cluster, Client)> {
    let cluster = Cluster::builder()
        .setting("max_prepared_transactions", "2")
        .start()?;
    let mut db = install(&cluster)?;
    db.batch_execute(
        "select pgq.create_queue('q'); \
         update pgq.queue set queue_switch_time = now() - interval '5 hours'",
    )?;
    Ok((cluster, db))
}

#[test]
fn consumers_that_are_silent_gone_behind_or_lost_are_told_apart() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    db.batch_execute("select pg_advisory_lock(1885827396, 0)")?;
    for (active, ticks, batch, expected) in [
        // Nothing to do for long is no problem.
        ("3 hours", "0", false, None),
        (
            "6 minutes",
            "6 minutes",
            false,
            Some("warning|consumer_silent|q|c"),
        ),
        (
            "6 minutes",
            "6 minutes",
            true,
            Some("warning|consumer_silent|q|c"),
        ),
        (
            "2 hours",
            "2 hours",
            false,
            Some("warning|consumer_gone|q|c"),
        ),
        (
            "2 hours",
            "2 hours",
            true,
            Some("warning|consumer_gone|q|c"),
        ),
        (
            "1 second",
            "11 minutes",
            true,
            Some("warning|consumer_behind|q|c"),
        ),
        ("1 second", "1 minute", true, None),
    ] {
        pass_all(&mut db)?;
        if batch {
            tick(&mut db)?;
            db.batch_execute("select pgq.next_batch('q', 'c')")?;
        }
        if ticks != "0" {
            tick(&mut db)?;
        }
        db.batch_execute(&format!(
            "update pgq.tick set tick_time = now() - interval '{ticks}'; \
             update pgq.subscription set sub_active = now() - interval '{active}'"
        ))?;
        let lag = "update pgq.queue set queue_ticker_idle_period = '1 day'";
        db.batch_execute(lag)?;
        let found = problems(&mut db)?;
        assert_eq!(found, Vec::from_iter(expected), "{active} {ticks} {batch}");
        db.batch_execute("update pgq.queue set queue_ticker_idle_period = '0'")?;
    }
    db.batch_execute(
        "update pgq.tick set tick_time = now(); \
         update pgq.subscription set sub_last_tick = 0, sub_batch = null, sub_next_tick = null",
    )?;
    assert_eq!(problems(&mut db)?, ["error|consumer_lost|q|c"]);
    Ok(())
}

#[test]
fn retried_and_failed_events_are_counted() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    db.batch_execute("select pg_advisory_lock(1885827396, 0)")?;
    for data in ["a", "b", "c"] {
        insert(&mut db, data)?;
    }
    tick(&mut db)?;
    db.batch_execute(
        "with b as materialized (select pgq.next_batch('q', 'c') as id), \
         e as materialized (select id, ev_id, ev_data from b, pgq.get_batch_events(id)) \
         select case when ev_data = 'a' then pgq.event_failed(id, ev_id, 'bad') \
                     else pgq.event_retry(id, ev_id, 0) end from e",
    )?;
    assert_eq!(
        row(
            &mut db,
            "select retry_events, failed_events from pgq.get_queue_health()"
        )?,
        "2|1"
    );
    assert_eq!(
        row(
            &mut db,
            "select retry_events, failed_events, failed_oldest < '1 min' from pgq.get_consumer_health()"
        )?,
        "2|1|t"
    );
    db.batch_execute("update pgq.retry_queue set ev_retry_after = now() - interval '11 minutes'")?;
    assert_eq!(
        rows(
            &mut db,
            "select severity, problem, queue_name, consumer_name, amount from pgq.get_problems()"
        )?,
        [
            "warning|retry_overdue|q|NULL|2",
            "warning|failed_events|q|c|1"
        ]
    );
    Ok(())
}

#[test]
fn whoever_holds_back_vacuum_is_found() -> TestResult {
    let (cluster, mut db) = overdue_with_prepared()?;
    let holders = "select subject, age >= '0' and age < '1 min', cure from pgq._snapshot_holders()";
    assert_eq!(rows(&mut db, holders)?, [] as [&str; 0]);
    let mut other = cluster.connect("postgres")?;
    let pid = row(&mut other, "select pg_backend_pid()")?;
    other.batch_execute("begin isolation level repeatable read; select 1 from pgq.queue")?;
    let found = rows(&mut db, holders)?;
    let expected = format!("process {pid}|t|select pg_terminate_backend({pid})");
    assert!(found.contains(&expected), "{found:?}");
    other.batch_execute("create table t (); prepare transaction 'left'")?;
    let found = rows(&mut db, holders)?;
    let expected =
        "prepared transaction left|t|commit prepared 'left'; or: rollback prepared 'left'";
    assert!(found.iter().any(|line| line == expected), "{found:?}");
    // What is younger than an hour is no problem.
    assert_eq!(
        rows(
            &mut db,
            "select from pgq.get_problems() where problem = 'old_snapshot'"
        )?,
        [] as [&str; 0]
    );
    other.batch_execute("rollback prepared 'left'")?;
    Ok(())
}

#[test]
fn an_owner_who_cannot_see_others_says_so_to_everybody() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = cluster.connect("postgres")?;
    db.batch_execute(
        "create role keeper login createrole; grant create on database postgres to keeper; \
         create role anybody login",
    )?;
    let connect = |name: &str| {
        let conninfo = cluster.conninfo("postgres");
        Client::connect(
            &conninfo.replace("user=postgres", &format!("user={name}")),
            NoTls,
        )
    };
    crate::support::run_scripts(&mut connect("keeper")?)?;
    let mut anybody = connect("anybody")?;
    assert_eq!(
        rows(
            &mut anybody,
            "select severity, problem, advice from pgq.get_problems()"
        )?,
        ["note|blind|grant pg_read_all_stats to keeper"]
    );
    Ok(())
}

#[test]
fn captures_that_maintenance_cannot_mend_are_told_with_what_to_type() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    db.batch_execute(
        "select pg_advisory_lock(1885827396, 0);
         create table plain (id int primary key, a text);
         create table magic (like plain including all);
         create table \"Bulk\" (like plain including all);
         create table keyed (like plain including all);
         create table orphan (like plain including all);
         select pgq.create_capture(t, 'c', 'sql', 'row', array['q'])
           from unnest(array['plain', 'magic']::regclass[]) t;
         select pgq.create_capture('\"Bulk\"', 'c', 'sql', 'statement', array['q', 'ignore=it''s']);
         select pgq.create_capture('keyed', 'c', 'json', 'row', array['q', 'pkey=a']);
         select pgq.create_queue('gone'), pgq.create_capture('orphan', 'c', 'sql', 'row', array['gone'])",
    )?;
    assert_eq!(problems(&mut db)?, [] as [&str; 0]);
    // What maintenance mends by itself is none, before its round and after it.
    db.batch_execute(
        "alter table plain add b int;
         alter table magic add _pgq_ev_typo text;
         alter table \"Bulk\" add _pgq_ev_type text;
         alter table keyed drop a",
    )?;
    assert_eq!(problems(&mut db)?, [] as [&str; 0]);
    db.batch_execute("select pgq.refresh_captures()")?;
    let told = "select severity, queue_name, subject, since < '1 min', message, advice
                  from pgq.get_problems() where problem = 'capture'";
    let expected = [
        "warning|q|c of public.magic|t|capture c of public.magic: it cannot be generated anew, and logs in the slow way: \
         Unknown magic column: _pgq_ev_typo|mend that; then: select pgq.refresh_captures('public.magic')",
        "warning|q|c of public.\"Bulk\"|t|capture c of public.\"Bulk\": cannot capture statements on public.\"Bulk\": \
         columns named _pgq_... are special, and need a trigger for rows|capture rows instead: \
         select pgq.create_capture('public.\"Bulk\"', 'c', 'sql', 'row', '{q,ignore=it''s}')",
        "warning|q|c of public.keyed|t|capture c of public.keyed: pkey= names \"a\", which was dropped: the primary key is used\
         |create it again with the right key: \
         select pgq.create_capture('public.keyed', 'c', 'json', 'row', '{q,pkey=a}')",
    ];
    assert_eq!(rows(&mut db, told)?, expected);
    // The age counts from the first round, and a round that changes nothing writes nothing.
    let rows_of = "select xmin, cap_problem_since from pgq.capture order by cap_relid";
    let before = rows(&mut db, rows_of)?;
    db.batch_execute("select pgq.refresh_captures()")?;
    assert_eq!(rows(&mut db, rows_of)?, before);
    assert_eq!(
        rows(&mut db, "select from pgq.get_problems('gone')")?,
        [] as [&str; 0]
    );

    // What to type, as it is told.
    db.batch_execute("alter table magic drop _pgq_ev_typo")?;
    for sql in rows(
        &mut db,
        "select replace(regexp_replace(advice, '^.*: ', ''), 'pkey=a', 'pkey=id') \
         from pgq.get_problems() where problem = 'capture'",
    )? {
        db.batch_execute(&sql)?;
    }
    db.batch_execute("select pgq.refresh_captures()")?;
    assert_eq!(problems(&mut db)?, [] as [&str; 0]);

    // Without a queue writers get errors at once.
    db.batch_execute("select pgq.drop_queue('gone')")?;
    assert_eq!(
        refusal(&mut db, "insert into orphan values (1)")?,
        "No such queue"
    );
    let orphan = "error|gone|c of public.orphan|NULL|capture c of public.orphan: there is no such queue, \
                  and who writes to the table gets an error|\
                  select pgq.drop_capture('public.orphan', 'c'); or: select pgq.create_queue('gone')";
    assert_eq!(rows(&mut db, told)?, [orphan]);
    db.batch_execute("select pgq.refresh_captures()")?;
    assert_eq!(rows(&mut db, told)?, [orphan]);
    db.batch_execute("drop table orphan")?;
    assert_eq!(problems(&mut db)?, [] as [&str; 0]);
    Ok(())
}

#[test]
fn a_dump_in_a_younger_cluster_is_told_before_anything_is_written() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    db.batch_execute(
        "select pg_advisory_lock(1885827396, 0), pgq.create_queue('other');
         update pgq.tick set tick_snapshot = '12884901893:12884901893:' where tick_queue = 1",
    )?;
    let told = "select severity, problem, queue_name, amount, advice from pgq.get_problems";
    let advice = "let nobody write, stop the server, and raise them: pg_resetwal -e 4 DATA";
    assert_eq!(
        rows(&mut db, &format!("{told}()"))?,
        [format!("error|txid_behind|NULL|1|{advice}")]
    );
    assert_eq!(
        rows(&mut db, &format!("{told}('q')"))?,
        [format!("error|txid_behind|q|1|{advice}")]
    );
    assert_eq!(rows(&mut db, &format!("{told}('other')"))?, [] as [&str; 0]);
    // The next id is no less than what a tick has just seen.
    db.batch_execute("update pgq.tick set tick_snapshot = txid_current_snapshot()")?;
    assert_eq!(problems(&mut db)?, [] as [&str; 0]);
    Ok(())
}
