//! Changes that come at an awkward moment: while a copy waits, within one statement, late.

use testkit::{TestResult, wait_until};

use crate::support::{ALL, PATIENCE, Pair, SIMPLE};

/// Waits until the copy waits for the table on the subscriber, for so long.
fn wait_for_waiting_copy(pair: &Pair, time: &str) -> TestResult {
    wait_until("the copy to wait for the table", PATIENCE, || {
        let row = pair.subscriber()?.query_one(
            "select exists (select from pg_locks l join pg_stat_activity a using (pid) \
             where l.relation = 't'::regclass and not l.granted \
             and a.query_start < now() - $1::text::interval)",
            &[&time],
        )?;
        Ok(row.get(0))
    })
    .map_err(|error| pair.explain(error))
}

#[test]
fn a_column_added_while_the_copy_waits_for_the_table_is_copied() -> TestResult {
    let pair = Pair::start(SIMPLE)?;
    let mut provider = pair.provider()?;
    provider.batch_execute("insert into t select i, 'row' from generate_series(1, 100) i")?;
    pair.subscriber()?
        .batch_execute("alter table t add extra int")?;
    pair.add(&["t"])?;
    let mut reader = pair.subscriber()?;
    let mut reader = reader.transaction()?;
    reader.batch_execute("lock table t in access share mode")?;
    let _replay = pair.replay()?;
    wait_for_waiting_copy(&pair, "0")?;
    provider.batch_execute("alter table t add extra int; update t set extra = id")?;
    reader.commit()?;
    pair.wait_ok(&["public.t"])?;
    provider.batch_execute("update t set extra = -1 where id = 1")?;
    pair.catch_up()?;
    assert_eq!(pair.assert_equal(ALL)?, 100);
    Ok(())
}

#[test]
fn time_limits_of_the_servers_do_not_interrupt_a_waiting_copy() -> TestResult {
    let pair = Pair::start(SIMPLE)?;
    pair.add(&["t"])?;
    let mut reader = pair.subscriber()?;
    let mut reader = reader.transaction()?;
    reader.batch_execute("lock table t in access share mode")?;
    for side in [pair.provider()?, pair.subscriber()?].iter_mut() {
        side.batch_execute(
            "do $$ declare s text; begin
                 for s in select name from pg_settings where name in ('idle_session_timeout',
                     'idle_in_transaction_session_timeout', 'transaction_timeout')
                 loop
                     execute format('alter database %I set %I = ''1s''', current_database(), s);
                 end loop; end $$",
        )?;
    }
    let _replay = pair.replay()?;
    wait_for_waiting_copy(&pair, "2s")?;
    reader.commit()?;
    pair.wait_ok(&["public.t"])?;
    pair.assert_quiet()
}

#[test]
fn constraints_that_may_wait_hold_at_the_end_of_a_batch() -> TestResult {
    let pair = Pair::start(
        "create table t (id int primary key, place int unique deferrable, up int,
             constraint up_fk foreign key (up) references t deferrable)",
    )?;
    let mut provider = pair.provider()?;
    let _replay = pair.replay()?;
    pair.add(&["t"])?;
    pair.wait_ok(&["public.t"])?;
    let checked = "select count(*) from pg_constraint where conname = 'up_fk' and convalidated";
    wait_until("the foreign key to come back", PATIENCE, || {
        Ok(pair.subscriber()?.query_one(checked, &[])?.get::<_, i64>(0) == 1)
    })
    .map_err(|error| pair.explain(error))?;
    provider.batch_execute("insert into t select i, i from generate_series(1, 10) i")?;
    pair.catch_up()?;
    // Row by row each of these breaks a constraint for a while.
    provider.batch_execute("update t set place = place + 1")?;
    pair.catch_up()?;
    provider.batch_execute("insert into t values (20, 20, 21), (21, 21, 20)")?;
    pair.catch_up()?;
    assert_eq!(pair.assert_equal(ALL)?, 12);
    pair.assert_quiet()
}

#[test]
fn a_late_notice_of_removal_does_not_end_a_new_subscription() -> TestResult {
    let (pair, mut replay) = Pair::simple()?;
    let mut provider = pair.provider()?;
    replay.kill()?;
    pair.londiste(&["provider", "remove", "t"])?;
    pair.londiste(&["subscriber", "remove", "t"])?;
    provider.batch_execute("insert into t values (1, 'not captured')")?;
    pair.add(&["t"])?;
    let _replay = pair.replay()?;
    pair.wait_log("got new table event")?;
    pair.catch_up()?;
    pair.wait_ok(&["public.t"])?;
    provider.batch_execute("insert into t values (2, 'captured')")?;
    pair.catch_up()?;
    assert_eq!(pair.assert_equal(ALL)?, 2);
    Ok(())
}

#[test]
fn a_table_that_was_not_captured_for_a_while_is_copied_again() -> TestResult {
    let (pair, mut replay) = Pair::simple()?;
    let mut provider = pair.provider()?;
    replay.kill()?;
    pair.londiste(&["provider", "remove", "t"])?;
    provider.batch_execute("insert into t values (1, 'not captured')")?;
    pair.add_on_provider(&["t"])?;
    provider.batch_execute("insert into t values (2, 'captured')")?;
    let _replay = pair.replay()?;
    pair.wait_log("it is copied again")?;
    // The state changes when the batch commits.
    pair.catch_up()?;
    pair.wait_ok(&["public.t"])?;
    pair.catch_up()?;
    assert_eq!(pair.assert_equal(ALL)?, 2);
    Ok(())
}
