//! Schemas of older versions, in use while they are brought up to date.

use postgres::Client;
use testkit::{Cluster, TestResult};

use crate::catalogue;
use crate::support::{
    arrived, cluster, connect_as, consume, has_c_library, insert, refusal, row, rows, run,
    run_scripts, tick,
};

const VERSION_2: &str = include_str!("fixtures/version_2.sql");

/// A queue `q` with the consumer `c` in a batch of one event, one event in the next, one to retry and one
/// that failed, made with the functions of the version at hand.
const IN_USE: [&str; 7] = [
    "select pgq.create_queue('q'); select pgq.create_queue('other')",
    "select pgq.register_consumer('q', 'c'); select pgq.register_consumer('other', 'c')",
    "select pgq.insert_event('q', 'type', 'before')",
    "select pgq.ticker('q')",
    "select pgq.next_batch('q', 'c')",
    "select pgq.insert_event('q', 'type', 'after')",
    "update pgq.queue set queue_ticker_max_lag = '0', queue_ticker_idle_period = '0'",
];

/// What must not change.
const DATA: &str = "
    select 'queue', to_jsonb(q) - '{queue_disable_insert,queue_ticker_paused,queue_per_tx_limit,queue_extra_maint,queue_notify,queue_max_retries}'::text[]
      from pgq.queue q
    union all
    select 'consumer', to_jsonb(c) from pgq.consumer c
    union all
    select 'subscription', to_jsonb(s) - 'sub_version' from pgq.subscription s
    union all
    select 'tick', to_jsonb(t) - 'tick_event_seq' from pgq.tick t
    union all
    select tableoid::regclass::text, to_jsonb(e) from pgq.event_template e
    union all
    select 'retry', to_jsonb(r) - 'ev_queue' from pgq.retry_queue r
    union all
    select 'batch', to_jsonb(b.last_value) from pgq.batch_id_seq b
    order by 1, 2";

/// How databases of version 2 and of early version 3 differ from the fixture, and what failed events they have.
/// The reference tells: before 2.1.5 a pair of queue and consumer was not unique, functions had no argument names,
/// and captures were others.
const VARIANTS: &[(&str, &str, &[&str])] = &[
    (
        "the pair is not unique, and nobody is twice",
        "alter table pgq.subscription drop constraint subscription_ukey",
        &["failed"],
    ),
    (
        "references to subscriptions, their index and the default are missing",
        "alter table pgq.retry_queue drop constraint rq_owner_fkey;
         alter table pgq.failed_queue drop constraint fq_owner_fkey;
         drop index pgq.rq_retry_owner_idx;
         alter table pgq.consumer alter co_name drop default;
         insert into pgq.retry_queue (ev_retry_after, ev_id, ev_time, ev_owner, ev_data)
         values (now(), 79, now(), 99, 'of nobody')",
        &["failed"],
    ),
    (
        "functions are missing, or have no names of arguments",
        "drop function pgq.batch_event_sql(bigint), pgq.current_event_table(text), pgq.get_batch_info(bigint),
             pgq.get_consumer_info(text, text), pgq.insert_event(text, text, text),
             pgq.maint_rotate_tables_step2(), pgq.next_batch(text, text), pgq.get_queue_info(text);
         create function pgq.next_batch(text, text) returns bigint language sql as 'select 1::bigint';
         create function pgq.get_queue_info(text) returns pgq.ret_queue_info language sql
             as 'select i from pgq.get_queue_info() i where queue_name = $1';
         create function pgq.insert_event(text, text, text) returns bigint language sql
             as 'select pgq.insert_event($1, $2, $3, null, null, null, null)'",
        &["failed"],
    ),
    (
        "there are neither composite types nor what answers with them",
        "drop type pgq.ret_queue_info, pgq.ret_consumer_info, pgq.ret_batch_info, pgq.ret_batch_event cascade",
        &["failed"],
    ),
    (
        "there is no table of failed events",
        "drop table pgq.failed_queue",
        &[],
    ),
    (
        "a switch of tables is not complete",
        "update pgq.queue set queue_switch_step2 = null where queue_name = 'other'",
        &["failed"],
    ),
    (
        "an upgrade was broken off after its first tables",
        "alter table pgq.tick add tick_event_seq bigint;
         alter table pgq.retry_queue add ev_queue integer;
         update pgq.retry_queue set ev_queue = 1;
         alter table pgq.retry_queue alter ev_queue set not null,
             add constraint rq_queue_id_fkey foreign key (ev_queue) references pgq.queue;
         alter table pgq.subscription add constraint subscription_batch_idx unique (sub_batch)",
        &["failed"],
    ),
];

fn in_use(db: &mut Client) -> TestResult {
    for statement in IN_USE {
        db.batch_execute(statement)?;
    }
    Ok(())
}

/// A database of version 2, in use, beside a fresh one.
fn version_2() -> TestResult<(Cluster, Client, Client)> {
    let (cluster, fresh) = cluster()?;
    let mut db = cluster.create_database("old")?;
    use_version_2(&mut db)?;
    Ok((cluster, fresh, db))
}

/// Installs version 2 and uses it.
fn use_version_2(db: &mut Client) -> TestResult {
    db.batch_execute(VERSION_2)?;
    in_use(db)?;
    db.batch_execute(
        "insert into pgq.retry_queue (ev_retry_after, ev_id, ev_time, ev_owner, ev_data)
         values (now(), 77, now(), 1, 'retried');
         insert into pgq.failed_queue (ev_failed_time, ev_id, ev_time, ev_owner, ev_data)
         values (now(), 78, now(), 1, 'failed');
         select pgq_ext.set_last_tick('c', 7)",
    )?;
    Ok(())
}

/// Batches, retries and failed events of [`IN_USE`] go on where they were.
fn goes_on(db: &mut Client) -> TestResult {
    assert_eq!(consume(db)?, Some(vec!["before".to_owned()]));
    assert_eq!(row(db, "select pgq.maint_retry_events()")?, "1");
    assert_eq!(arrived(db)?, ["after", "retried"]);
    insert(db, "new")?;
    assert_eq!(arrived(db)?, ["new"]);
    db.batch_execute("select pgq.set_queue_config('q', 'rotation_period', '0')")?;
    db.batch_execute("select pgq.maint_rotate_tables_step1('q')")?;
    db.batch_execute("select pgq.maint_rotate_tables_step2()")?;
    assert_eq!(
        row(
            db,
            "select queue_cur_table from pgq.queue where queue_name = 'q'"
        )?,
        "1"
    );
    assert_eq!(row(db, "select pgq.create_queue('third')")?, "1");
    assert_eq!(row(db, "select pgq.unregister_consumer('q', 'c')")?, "1");
    assert_eq!(row(db, "select pgq.drop_queue('q')")?, "1");
    Ok(())
}

#[test]
fn version_2_is_upgraded_in_place_with_its_batches_retries_and_failed_events() -> TestResult {
    let (_cluster, mut fresh, mut db) = version_2()?;
    let before = rows(&mut db, DATA)?;
    assert_eq!(before.len(), 2 + 1 + 2 + 3 + 2 + 1 + 1, "{before:#?}");
    run_scripts(&mut db)?;
    assert_eq!(rows(&mut db, DATA)?, before);
    assert_eq!(
        row(
            &mut db,
            "select pgq.upgrade_schema(), pgq_ext.upgrade_schema(), pgq.version(), pgq_ext.get_last_tick('c')"
        )?,
        "0|0|3.6.0|7"
    );
    assert_eq!(
        row(
            &mut db,
            "select ev_data from pgq.failed_event_list('q', 'c')"
        )?,
        "failed"
    );

    // As a fresh installation, in the model of version 2 and, when asked for, in that of version 3.
    run(&mut fresh, &["pgq/oldgrants.sql", "pgq_ext/oldgrants.sql"])?;
    catalogue::assert_same(&mut db, &mut fresh)?;
    run_scripts(&mut db)?;
    catalogue::assert_same(&mut db, &mut fresh)?;
    for db in [&mut db, &mut fresh] {
        run(db, &["pgq/newgrants.sql", "pgq_ext/newgrants.sql"])?;
    }
    catalogue::assert_same(&mut db, &mut fresh)?;
    goes_on(&mut db)
}

#[test]
fn the_owner_of_version_2_upgrades_it_without_superuser_rights() -> TestResult {
    let cluster = Cluster::start()?;
    let mut superuser = cluster.connect("postgres")?;
    superuser.batch_execute(
        "create role owner login createrole; grant create on database postgres to owner",
    )?;
    let mut db = connect_as(&cluster, "owner")?;
    use_version_2(&mut db)?;
    let before = rows(&mut db, DATA)?;
    run_scripts(&mut db)?;
    assert_eq!(rows(&mut db, DATA)?, before);
    let mut fresh = cluster.create_database("fresh")?;
    run_scripts(&mut fresh)?;
    run(&mut fresh, &["pgq/oldgrants.sql", "pgq_ext/oldgrants.sql"])?;
    catalogue::assert_same(&mut db, &mut fresh)?;
    goes_on(&mut db)
}

#[test]
fn producers_and_consumers_of_version_2_need_no_role_after_the_upgrade() -> TestResult {
    let (cluster, _fresh, mut db) = version_2()?;
    db.batch_execute(
        "create role anybody login;
         create table t (id int primary key);
         grant insert on t to anybody",
    )?;
    run_scripts(&mut db)?;
    db.batch_execute(
        "create trigger capture after insert on t for each row execute function pgq.logtriga('q', 'k', 't')",
    )?;
    let conninfo = cluster
        .conninfo("old")
        .replace("user=postgres", "user=anybody");
    let mut anybody = Client::connect(&conninfo, postgres::NoTls)?;
    anybody.batch_execute("insert into t values (1); select pgq_ext.set_last_tick('c', 8)")?;
    tick(&mut anybody)?;
    assert_eq!(consume(&mut anybody)?, Some(vec!["before".to_owned()]));
    assert_eq!(
        consume(&mut anybody)?,
        Some(vec!["after".to_owned(), "(id) values ('1')".to_owned()])
    );
    assert_eq!(
        rows(
            &mut anybody,
            "select ev_data from pgq.event_1 where ev_data = 'after' union all select ev_data from pgq.failed_queue"
        )?,
        ["after", "failed"]
    );
    anybody.batch_execute("select pgq.create_queue('of anybody'); select from pgq.event_3_0")?;

    // The other model, for the asking: whoever is not in its roles is locked out, of existing queues too.
    run(&mut db, &["pgq/newgrants.sql", "pgq_ext/newgrants.sql"])?;
    for statement in [
        "insert into t values (2)",
        "select pgq.ticker('q')",
        "select from pgq.event_1_0",
        "select from pgq.failed_queue",
        "select pgq_ext.set_last_tick('c', 9)",
    ] {
        assert!(
            refusal(&mut anybody, statement)?.starts_with("permission denied"),
            "{statement}"
        );
    }
    db.batch_execute("grant pgq_admin to anybody")?;
    anybody.batch_execute("insert into t values (2); select from pgq.event_1_0")?;
    Ok(())
}

#[test]
fn a_consumer_that_is_registered_twice_stops_the_upgrade_and_is_named() -> TestResult {
    let (_cluster, mut fresh, mut db) = version_2()?;
    // Before 2.1.5 nothing prevented it.
    db.batch_execute(
        "alter table pgq.subscription drop constraint subscription_ukey;
         insert into pgq.subscription (sub_queue, sub_consumer, sub_last_tick) values (1, 1, 1)",
    )?;
    let before = rows(&mut db, DATA)?;
    let error = run_scripts(&mut db).expect_err("who is to say which one counts");
    assert!(
        format!("{error:?}").contains("registered more than once: c on q (sub_id 1, 3)"),
        "{error:?}"
    );
    assert_eq!(rows(&mut db, DATA)?, before);
    assert_eq!(row(&mut db, "select pgq.version()")?, "2.1.8");
    db.batch_execute("delete from pgq.subscription where sub_id = 3")?;
    run_scripts(&mut db)?;
    run(&mut fresh, &["pgq/oldgrants.sql", "pgq_ext/oldgrants.sql"])?;
    catalogue::assert_same(&mut db, &mut fresh)?;
    goes_on(&mut db)
}

#[test]
fn statements_that_sessions_prepared_before_the_upgrade_go_on() -> TestResult {
    let (cluster, _fresh, mut db) = version_2()?;
    let mut session = cluster.connect("old")?;
    let insert = session.prepare("select pgq.insert_event($1, $2, $3)")?;
    let next = session.prepare("select next_batch from pgq.next_batch($1, $2)")?;
    let events = session.prepare("select * from pgq.get_batch_events($1)")?;
    let info = session.prepare(
        "select queue_name, consumer_name, prev_tick_id, tick_id from pgq.get_batch_info($1)",
    )?;
    let finish = session.prepare("select pgq.finish_batch($1)")?;
    let all_info = session.prepare("select * from pgq.get_batch_info($1)")?;
    session.query(&all_info, &[&1_i64])?;
    // Often enough for a plan of its own to be cached.
    let round = |session: &mut Client, data: &str| -> TestResult<(i64, usize)> {
        session.query(&insert, &[&"q", &"type", &data])?;
        let batch: i64 = session.query_one(&next, &[&"q", &"c"])?.get(0);
        let count = session.query(&events, &[&batch])?.len();
        assert_eq!(session.query(&info, &[&batch])?.len(), 1);
        Ok((batch, count))
    };
    for _ in 0..7 {
        assert_eq!(round(&mut session, "again")?, (1, 1));
    }
    run_scripts(&mut db)?;
    assert_eq!(round(&mut session, "upgraded")?, (1, 1));
    session.query(&finish, &[&1_i64])?;
    tick(&mut db)?;
    assert_eq!(round(&mut session, "next")?, (2, 9));
    // More columns than before: the server refuses, until the statement is prepared again.
    let error = session
        .query(&all_info, &[&2_i64])
        .expect_err("new columns");
    let error = error
        .as_db_error()
        .expect("the server's own")
        .message()
        .to_owned();
    assert_eq!(error, "cached plan must not change result type");
    let all_info = session.prepare("select * from pgq.get_batch_info($1)")?;
    assert_eq!(session.query_one(&all_info, &[&2_i64])?.len(), 9);
    Ok(())
}

/// A database with the extension of PgQ 3, in use; `None` where the server has none.
fn version_3(alter: &str) -> TestResult<Option<(Cluster, Client, Client)>> {
    let (cluster, fresh) = cluster()?;
    if !has_c_library(&cluster) {
        return Ok(None);
    }
    let mut db = cluster.create_database("old")?;
    db.batch_execute("create extension pgq")?;
    in_use(&mut db)?;
    db.batch_execute(
        "insert into pgq.retry_queue (ev_retry_after, ev_queue, ev_id, ev_time, ev_owner, ev_data)
         values (now(), 1, 77, now(), 1, 'retried')",
    )?;
    db.batch_execute(alter)?;
    Ok(Some((cluster, fresh, db)))
}

/// Brings up to date what is in no extension, and compares with a fresh installation.
fn becomes_as_fresh(db: &mut Client, fresh: &mut Client) -> TestResult {
    fresh.batch_execute("drop schema pgq_ext, pgq_coop cascade")?;
    let before = rows(db, DATA)?;
    assert_eq!(before.len(), 2 + 1 + 2 + 3 + 2 + 1 + 1, "{before:#?}");
    run(db, &["pgq/exists.sql", "pgq/install.sql"])?;
    assert_eq!(rows(db, DATA)?, before);
    assert_eq!(
        row(db, "select pgq.upgrade_schema(), pgq.version()")?,
        "0|3.6.0"
    );
    catalogue::assert_same(db, fresh)?;
    goes_on(db)
}

#[test]
fn the_extension_of_version_3_is_adopted_with_everything_in_it() -> TestResult {
    let Some((_cluster, mut fresh, mut db)) = version_3(
        "create table t (id int primary key);
         create trigger capture after insert on t for each row execute function pgq.logutriga('q');
         create function mine() returns int language sql as 'select 1';
         alter function mine() depends on extension pgq",
    )?
    else {
        return Ok(());
    };
    run(&mut db, &["pgq/adopt.sql"])?;
    assert_eq!(
        row(
            &mut db,
            "select (select count(*) from pg_extension where extname like 'pgq%'), mine(), \
             pgq.version() is null"
        )?,
        "0|1|t"
    );
    becomes_as_fresh(&mut db, &mut fresh)?;
    db.batch_execute("drop trigger capture on t; drop function mine()")?;
    Ok(())
}

#[test]
fn version_3_2_without_an_extension_is_upgraded() -> TestResult {
    let Some((_cluster, mut fresh, mut db)) = version_3("")? else {
        return Ok(());
    };
    run(&mut db, &["pgq/adopt.sql"])?;
    db.batch_execute(
        "alter table pgq.queue drop queue_extra_maint;
         alter table pgq.subscription alter sub_last_tick set not null;
         drop function pgq.jsontriga()",
    )?;
    becomes_as_fresh(&mut db, &mut fresh)
}

#[test]
fn the_upgrade_waits_for_open_transactions_and_ends_none_of_them() -> TestResult {
    let (cluster, _fresh, mut db) = version_2()?;
    // Two clients that hold the tables, each waiting to use one more: in either order.
    let mut producer = cluster.connect("old")?;
    producer.batch_execute("begin; select pgq.insert_event('q', 'type', 'open')")?;
    let mut consumer = cluster.connect("old")?;
    consumer.batch_execute("begin; update pgq.subscription set sub_active = now()")?;
    let mut watch = cluster.connect("old")?;
    std::thread::scope(|scope| -> TestResult {
        let upgrade = scope.spawn(|| run_scripts(&mut db));
        testkit::wait_until(
            "the upgrade to try",
            std::time::Duration::from_secs(30),
            || {
                Ok(row(
                    &mut watch,
                    "select exists (select from pg_stat_activity where wait_event = 'PgSleep')",
                )? == "t")
            },
        )?;
        producer.batch_execute("update pgq.consumer set co_name = co_name; commit")?;
        consumer.batch_execute(
            "update pgq.retry_queue set ev_data = ev_data; select pgq.insert_event('q', 'type', 'late'); commit",
        )?;
        upgrade.join().expect("it does not panic")
    })?;
    assert_eq!(row(&mut watch, "select pgq.version()")?, "3.6.0");
    assert_eq!(consume(&mut watch)?, Some(vec!["before".to_owned()]));
    assert_eq!(arrived(&mut watch)?, ["after", "open", "late"]);
    Ok(())
}

#[test]
fn every_generation_of_version_2_is_upgraded_in_place() -> TestResult {
    let (cluster, mut fresh) = cluster()?;
    run(&mut fresh, &["pgq/oldgrants.sql", "pgq_ext/oldgrants.sql"])?;
    for (number, (what, alter, failed)) in VARIANTS.iter().enumerate() {
        let mut check = |db: &mut Client| -> TestResult {
            use_version_2(db)?;
            db.batch_execute(alter)?;
            let before: Vec<_> = rows(db, DATA)?
                .into_iter()
                .filter(|line| !line.contains("of nobody"))
                .collect();
            run_scripts(db)?;
            assert_eq!(rows(db, DATA)?, before, "{what}");
            assert_eq!(
                row(db, "select pgq.upgrade_schema(), pgq_ext.upgrade_schema()")?,
                "0|0",
                "{what}"
            );
            assert_eq!(
                rows(db, "select ev_data from pgq.failed_event_list('q', 'c')")?,
                *failed,
                "{what}"
            );
            catalogue::assert_same(db, &mut fresh)?;
            goes_on(db)
        };
        check(&mut cluster.create_database(&format!("old_{number}"))?)
            .map_err(|error| format!("{what}: {error:?}"))?;
    }
    Ok(())
}

#[test]
fn captures_of_version_2_stay_on_their_tables_and_write_as_new_ones() -> TestResult {
    let (_cluster, _fresh, mut db) = version_2()?;
    // Before 2.1.5 the key was in ev_extra2.
    db.batch_execute(
        "create function pgq.logutriga() returns trigger language plpgsql as $$
         begin
             perform pgq.insert_event('q', left(TG_OP, 1), 'id=' || NEW.id, TG_TABLE_NAME, 'id', null, null);
             return null;
         end $$;
         create table t (id int primary key);
         create trigger capture after insert on t for each row execute procedure pgq.logutriga('q');
         insert into t values (1)",
    )?;
    let trigger =
        "select oid, pg_get_triggerdef(oid) from pg_trigger where tgrelid = 't'::regclass";
    let before = row(&mut db, trigger)?;
    run_scripts(&mut db)?;
    assert_eq!(row(&mut db, trigger)?, before);
    db.batch_execute("insert into t values (2)")?;
    assert_eq!(
        rows(
            &mut db,
            "select ev_type, ev_data, ev_extra1, ev_extra2 from pgq.event_1 where ev_extra1 ~ 't$' order by ev_id"
        )?,
        ["I|id=1|t|id", "I:id|id=2|public.t|NULL"]
    );
    Ok(())
}

#[test]
fn what_users_built_on_version_2_stays_or_stops_the_upgrade() -> TestResult {
    let (_cluster, mut fresh, mut db) = version_2()?;
    db.batch_execute(
        "create function public.lag_of(c text) returns interval language plpgsql as $$
         declare
             i pgq.ret_consumer_info;
         begin
             select * into i from pgq.get_consumer_info('q', c);
             return i.lag;
         end $$;
         create view public.consumers as select * from pgq.get_consumer_info()",
    )?;
    let before = rows(&mut db, DATA)?;
    let error = run_scripts(&mut db).expect_err("a view needs the old columns");
    assert!(
        format!("{error:?}").contains("consumers depends on function get_consumer_info()"),
        "{error:?}"
    );
    assert_eq!(rows(&mut db, DATA)?, before);
    assert_eq!(row(&mut db, "select pgq.version()")?, "2.1.8");
    db.batch_execute("drop view public.consumers")?;
    run_scripts(&mut db)?;
    assert_eq!(row(&mut db, "select lag_of('c') is not null")?, "t");
    run(&mut fresh, &["pgq/oldgrants.sql", "pgq_ext/oldgrants.sql"])?;
    catalogue::assert_same(&mut db, &mut fresh)
}
