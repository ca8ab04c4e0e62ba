//! `repair`, and `compare` down to single rows.

mod kinds;

use testkit::TestResult;

use crate::replicating::{Replicating, replicating, under_load};
use crate::support::value;

const ROWS: &str = "create table t (id int primary key, v text)";

/// `t` with ids 1 to `rows` on both sides.
fn filled(rows: i32) -> TestResult<Replicating> {
    let mut set = replicating(ROWS, &["t"])?;
    set.pair.provider.execute(
        "insert into t select g, 'x' || g from generate_series(1, $1) g",
        &[&rows],
    )?;
    set.pair.ok("compare t")?;
    Ok(set)
}

/// Runs a fix file on the subscriber.
fn run_fix(set: &mut Replicating, name: &str) -> TestResult {
    let sql = set.pair.read(name)?;
    set.pair.subscriber.batch_execute(&sql)?;
    Ok(())
}

fn report(set: &Replicating, arguments: &str) -> TestResult<(Option<i32>, serde_json::Value)> {
    let run = set.pair.run(arguments)?;
    let value = serde_json::from_str(&run.stdout).map_err(|error| format!("{error}: {run:?}"))?;
    Ok((run.code, value))
}

#[test]
fn missing_extra_and_changed_rows_are_found_and_the_fix_file_repairs_them() -> TestResult {
    let mut set = filled(3000)?;
    set.pair.subscriber.batch_execute(
        "delete from t where id in (1, 1500, 3000);
         update t set v = null where id in (2, 2999);
         update t set v = 'x''\\' where id = 77;
         insert into t values (0, 'below'), (-5, null), (3001, 'above'), (9999, 'far')",
    )?;
    for how in [
        "",
        " --chunk 7",
        " --chunk 3000",
        " --lock",
        " --max-age 0 --chunk 500",
    ] {
        let (code, json) = report(&set, &format!("compare t --json{how}"))?;
        assert_eq!(code, Some(3), "{how}");
        assert_eq!(json[0]["missing"], 3, "{how}");
        assert_eq!(json[0]["extra"], 4, "{how}");
        assert_eq!(json[0]["changed"], 3, "{how}");
    }
    let run = set.pair.ok("repair t")?;
    assert!(
        run.log.contains(
            "INFO finished public.t: src: 3000 rows, dst: 3001 rows, missed: 3 inserts, 3 updates, 4 deletes\n"
        ),
        "{}",
        run.log
    );
    assert_eq!(set.pair.run("repair t --strict")?.code, Some(3));
    let sql = set.pair.read("fix.public.t.sql")?;
    assert_eq!(sql.matches("\nupdate ").count(), 3, "{sql}");
    let (delete, update) = (sql.rfind("\ndelete"), sql.find("\nupdate"));
    assert!(
        delete < update && sql.rfind("\nupdate") < sql.find("\ninsert"),
        "{sql}"
    );
    run_fix(&mut set, "fix.public.t.sql")?;
    set.pair.ok("compare t")?;
    // Nothing is left to do, and the old file is gone.
    set.pair.ok("repair t --strict")?;
    assert!(set.pair.read("fix.public.t.sql").is_err());
    assert_eq!(set.pair.files(".fix")?, Vec::<String>::new());
    Ok(())
}

#[test]
fn a_stale_fix_file_changes_nothing() -> TestResult {
    let mut set = filled(10)?;
    set.pair.subscriber.batch_execute(
        "update t set v = 'wrong' where id = 1;
         insert into t values (11, 'extra');
         delete from t where id = 5",
    )?;
    set.pair.ok("repair t")?;
    set.pair.subscriber.batch_execute(
        "update t set v = 'right' where id = 1;
         update t set v = 'other' where id = 11;
         insert into t values (5, 'come back')",
    )?;
    run_fix(&mut set, "fix.public.t.sql")?;
    let rows: String = value(
        &mut set.pair.subscriber,
        "select string_agg(id || v, ' ' order by id) from t where id in (1, 5, 11)",
    )?;
    assert_eq!(rows, "1right 5come back 11other");
    Ok(())
}

#[test]
fn empty_tables_and_rows_behind_the_last_key_are_compared() -> TestResult {
    let mut set = replicating(ROWS, &["t"])?;
    set.pair.ok("compare t")?;
    set.pair
        .subscriber
        .batch_execute("insert into t select g, 'x' from generate_series(1, 5000) g")?;
    let (code, json) = report(&set, "compare t --json --chunk 10")?;
    assert_eq!((code, json[0]["extra"].as_u64()), (Some(3), Some(5000)));
    set.pair.ok("repair t --apply")?;
    set.pair.ok("compare t")?;
    // A number of rows that is a multiple of the size of a range.
    set.pair
        .provider
        .batch_execute("insert into t select g, 'x' from generate_series(1, 100) g")?;
    set.pair.ok("compare t --chunk 50")?;
    set.pair
        .subscriber
        .batch_execute("insert into t values (101, 'x')")?;
    assert_eq!(set.pair.run("compare t --chunk 50")?.code, Some(3));
    set.pair
        .subscriber
        .batch_execute("delete from t where id >= 50")?;
    let (_, json) = report(&set, "compare t --json --chunk 50")?;
    assert_eq!(json[0]["missing"], 51);
    Ok(())
}

#[test]
fn only_rows_of_a_condition_are_repaired() -> TestResult {
    let mut set = replicating(
        "create table t (id int primary key, k int, nr text); create table u (id int primary key)",
        &["t", "u"],
    )?;
    set.pair
        .provider
        .batch_execute("insert into t select g, g % 2, 'x' from generate_series(1, 3000) g")?;
    set.pair.ok("compare t")?;
    let damage = "update t set nr = 'wrong' where id in (10, 11, 2000, 2001);
         delete from t where id in (20, 21); insert into t values (0, 0, 'new'), (-1, 1, 'new');
         update t set k = 5 where id = 30; update t set k = 0 where id = 31";
    let left = "select string_agg(id::text, ',' order by id) from t
                where id < 1 or nr = 'wrong' or k <> id % 2";
    // A row that either side takes for one of the condition is one.
    let found = "src: 1500 rows, dst: 1500 rows, missed: 1 inserts, 4 updates, 1 deletes\n";
    for apply in [false, true] {
        set.pair.subscriber.batch_execute(damage)?;
        let mut arguments = vec![
            "repair",
            "t",
            "--repair-where",
            "k = 0 -- even",
            "--chunk",
            "100",
        ];
        if apply {
            arguments.push("--apply");
        }
        let run = set.pair.run_args(&arguments)?;
        assert_eq!(run.code, Some(0), "{}", run.log);
        assert!(run.log.contains(found), "{}", run.log);
        if !apply {
            run_fix(&mut set, "fix.public.t.sql")?;
        }
        assert_eq!(
            value::<String>(&mut set.pair.subscriber, left)?,
            "-1,11,2001"
        );
        set.pair.ok("repair t --apply")?;
        set.pair.ok("compare t")?;
    }

    // What the condition is belongs to what a later run goes on with.
    set.pair
        .subscriber
        .batch_execute("update t set nr = 'wrong' where id = 10")?;
    let run = |condition| {
        set.pair
            .run_args(&["repair", "--resume", "state", "--repair-where", condition])
    };
    let first = run("k = 0")?;
    assert_eq!(first.code, Some(1));
    assert!(
        first.log.contains("column \"k\" does not exist"),
        "{}",
        first.log
    );
    assert!(
        first.log.contains("INFO finished public.t: "),
        "{}",
        first.log
    );
    let other = run("k = 1")?;
    assert_eq!(other.code, Some(1));
    assert!(
        other.log.contains("cannot use state for --resume"),
        "{}",
        other.log
    );
    let again = run("k = 0")?;
    assert!(
        again
            .log
            .contains("INFO public.t was finished by an earlier run\n"),
        "{}",
        again.log
    );
    let wrong = set
        .pair
        .run_args(&["repair", "t", "--repair-where", "k = 'a"])?;
    assert_eq!(wrong.code, Some(1));
    assert!(
        wrong.log.contains("unterminated quoted string"),
        "{}",
        wrong.log
    );
    Ok(())
}

#[test]
fn under_load_both_sides_are_compared_in_the_same_state() -> TestResult {
    let mut set = filled(2000)?;
    under_load(&set.pair.cluster, || {
        for how in [
            "",
            " --chunk 50",
            " --chunk 50 --max-age 0",
            " --lock",
            " --chunk 9",
        ] {
            let run = set.pair.run(&format!("compare t{how}"))?;
            assert_eq!(run.code, Some(0), "{how}: {}", run.log);
        }
        Ok(())
    })?;
    // Rows that nobody writes.
    set.pair.subscriber.batch_execute(
        "delete from t where id between 1500 and 1509;
         update t set v = 'wrong' where id between 1600 and 1699;
         insert into t select g, 'extra' from generate_series(3000, 3004) g",
    )?;
    under_load(&set.pair.cluster, || {
        for how in ["", " --chunk 50", " --max-age 0 --chunk 100"] {
            let (code, json) = report(&set, &format!("compare t --json{how}"))?;
            assert_eq!(code, Some(3), "{how}");
            assert_eq!(json[0]["missing"], 10, "{how}: {json}");
            assert_eq!(json[0]["extra"], 5, "{how}: {json}");
            assert_eq!(json[0]["changed"], 100, "{how}: {json}");
        }
        Ok(())
    })
}

#[test]
fn rows_that_are_being_written_are_repaired_right_away() -> TestResult {
    let mut set = filled(2000)?;
    let mut subscriber = set.pair.cluster.connect("subscriber")?;
    under_load(&set.pair.cluster, || {
        // Replay does not notice: what it changes is not there.
        subscriber.batch_execute(
            "delete from t where id between 500 and 599;
             update t set v = 'wrong' where id between 100 and 199 or id between 1500 and 1700;
             delete from t where id between 1200 and 1210;
             insert into t select g, 'extra' from generate_series(3000, 3700) g",
        )?;
        // A row whose key changes between being found and being repaired is found once more.
        for _ in 0..5 {
            let run = set.pair.run("repair t --apply --strict --chunk 300")?;
            match run.code {
                Some(0) => break,
                Some(3) => {}
                _ => return Err(run.log.into()),
            }
        }
        let run = set.pair.run("compare t")?;
        assert_eq!(run.code, Some(0), "{}", run.log);
        Ok(())
    })?;
    set.pair.ok("compare t")?;
    let rows: String = "select coalesce(sum(hashtextextended(t::text, 0)), 0)::text from t".into();
    assert_eq!(
        value::<String>(&mut set.pair.provider, &rows)?,
        value::<String>(&mut set.pair.subscriber, &rows)?
    );
    Ok(())
}

#[test]
fn an_interrupted_run_goes_on_where_it_was() -> TestResult {
    let mut set = filled(8000)?;
    set.pair
        .subscriber
        .batch_execute("update t set v = 'wrong' where id in (1, 4000, 7999)")?;
    let mut run = set.pair.start("repair t --resume state --chunk 1")?;
    testkit::wait_until("a state", std::time::Duration::from_secs(20), || {
        Ok(set.pair.read("state").is_ok())
    })?;
    run.signal(rustix::process::Signal::INT)?;
    let status = run.wait(std::time::Duration::from_secs(20))?;
    assert_eq!(status.code(), Some(1));
    let state: serde_json::Value = serde_json::from_str(&set.pair.read("state")?)?;
    let before = state["current"]["totals"]["provider_rows"].as_u64();
    assert!(before > Some(0) && before < Some(8000), "{state}");
    // What was compared is not compared again.
    set.pair
        .subscriber
        .batch_execute("update t set v = 'unseen' where id = 2")?;
    let run = set.pair.ok("repair t --resume state")?;
    assert!(
        run.log
            .contains("src: 8000 rows, dst: 8000 rows, missed: 0 inserts, 3 updates, 0 deletes\n"),
        "{}",
        run.log
    );
    assert!(set.pair.read("state").is_err());
    run_fix(&mut set, "fix.public.t.sql")?;
    let left: i64 = value(
        &mut set.pair.subscriber,
        "select count(*) from t where v not like 'x%'",
    )?;
    assert_eq!(left, 1);
    let other = set.pair.run("compare t --resume fix.public.t.sql")?;
    assert_eq!(other.code, Some(1));
    assert!(
        other
            .log
            .contains("cannot use fix.public.t.sql for --resume"),
        "{}",
        other.log
    );
    Ok(())
}

#[test]
fn a_role_that_may_not_tick_is_told_what_to_do() -> TestResult {
    let mut set = filled(10)?;
    set.pair.provider.batch_execute(
        "create role reader login in role pgq_reader;
         grant select on t to reader; grant usage on schema londiste to reader",
    )?;
    let conninfo = set.pair.cluster.conninfo("provider");
    let reader = format!("{conninfo} user=reader");
    let run = set
        .pair
        .run_args(&["compare", "t", "--set", &format!("provider_db={reader}")])?;
    assert_eq!(run.code, Some(1));
    assert!(run.log.contains("pgq_admin"), "{}", run.log);
    Ok(())
}
