//! Keys that are checked late: rows that have the same one for a while keep apart, or replay stops.

use postgres::Client;
use testkit::{Running, TestResult};

use crate::support::{Pair, Setting};

/// One that is checked after each statement, and one that is checked at the commit.
const KEYS: &str = "
    create table soon (id int primary key deferrable, v text, day date, f float8, j json, b bytea);
    create table late (id int primary key deferrable initially deferred, v text, day date, f float8, j json,
                       b bytea);";

const TABLES: [&str; 2] = ["soon", "late"];

/// Changes of a table that give two rows one key for a while. None of them can be told by keys.
const SHIFTS: [&str; 8] = [
    // What comes to the last key is deleted, and not what was moved to it.
    "begin; update T set id = id + 1; delete from T where id = 13; commit",
    "update T set id = id - 1",
    // Rows that are alike but for a value that this session writes in another way.
    "set datestyle = 'SQL, DMY'; set extra_float_digits = 0; set bytea_output = 'escape';
     update T set id = 3 - id where id in (1, 2);
     reset datestyle; reset extra_float_digits; reset bytea_output",
    // A gap is made, and closed.
    "begin; update T set id = id + 1 where id >= 4; insert into T (id, v) values (4, null); commit",
    "begin; delete from T where id = 4; update T set id = id - 1, v = v || '!' where id > 4; commit",
    // Rows that do not differ at all.
    "begin; update T set id = id + 1 where id in (10, 11); update T set v = 'of one' where id = 11; commit",
    "update T set id = 12 - id, v = v || id",
    "begin; update T set id = id + 100; update T set id = id - 99 where id % 2 = 0; delete from T where id = 5; commit",
];

fn shifts(lines: &'static str, capture: &str) -> TestResult {
    let pair = Pair::with(Setting {
        schema: KEYS,
        lines,
        ..Setting::default()
    })?;
    let mut provider = pair.provider()?;
    for table in TABLES {
        provider.batch_execute(&format!(
            "insert into {table}
             select i, case when i > 8 then 'alike' else 'row ' || i end,
                    case when i % 2 = 0 or i > 8 then '2026-02-01' else '2026-01-02' end::date, 1 / 3.0, '{{\"a\": 1}}', '\\x00ff'
               from generate_series(1, 12) i"
        ))?;
    }
    pair.londiste(&["provider", "add", "--capture", capture, "soon", "late"])?;
    pair.add_on_subscriber(&TABLES)?;
    let _replay = pair.replay()?;
    pair.wait_ok(&["public.soon", "public.late"])?;
    for change in SHIFTS {
        for table in TABLES {
            provider.batch_execute(&change.replace('T', table))?;
        }
        pair.catch_up()?;
        for table in TABLES {
            let rows = format!("select * from {table} t order by id, t::text");
            let rows = pair.assert_equal(&rows);
            assert!(
                rows.map_err(|error| format!("{change}: {error}"))? > 5,
                "{change}"
            );
        }
    }
    assert_no_errors(&pair)
}

/// Fails if replay has logged an error; that keys are deferrable is warned about.
fn assert_no_errors(pair: &Pair) -> TestResult {
    let log = pair.log()?;
    assert!(!log.contains(" ERROR "), "{log}");
    Ok(())
}

#[test]
fn keys_that_shift_come_to_the_same_rows() -> TestResult {
    shifts("", "row")
}

#[test]
fn keys_that_shift_come_to_the_same_rows_one_by_one_and_from_captures_of_statements() -> TestResult
{
    shifts("apply_mode = compat", "statement")
}

const ALL: &str = "select * from late order by id";

/// Waits for a replay that has stopped at one of several rows, and for a copy that it goes on with.
fn assert_stops(pair: &Pair, rows: i64) -> TestResult {
    pair.wait_log("rows of public.late have its key, which is deferrable")?;
    let known = pair
        .subscriber()?
        .query_one("select count(*) from late where v <> 'new'", &[])?;
    assert_eq!(known.get::<_, i64>(0), rows, "nothing is applied");
    pair.londiste(&["subscriber", "resync", "late"])?;
    pair.wait_ok(&["public.late"])?;
    pair.catch_up()?;
    pair.assert_equal(ALL)?;
    Ok(())
}

/// A replay that has caught up, of a table with 50 old rows.
fn delete_while_another_inserts(captured_before: bool) -> TestResult<(Pair, Running)> {
    let mut pair = Pair::start(KEYS)?;
    let mut provider = pair.provider()?;
    provider.batch_execute("insert into late select i, 'old' from generate_series(1, 50) i")?;
    pair.add(&["late"])?;
    if captured_before {
        capture_again(
            &mut provider,
            "array_replace(c.cap_args, 'backup=changes', 'backup')",
        )?;
    }
    let replay = pair.replay()?;
    pair.wait_ok(&["public.late"])?;
    pair.catch_up()?;
    // One that inserts the key of a row that another deletes meanwhile, in one batch that is long enough to
    // be applied at once.
    pair.ticker = None;
    let mut other = pair.provider()?;
    other
        .batch_execute("begin; insert into late select i, 'new' from generate_series(50, 100) i")?;
    provider.batch_execute("delete from late where id >= 50")?;
    other.batch_execute("commit")?;
    pair.start_ticker()?;
    Ok((pair, replay))
}

/// Captures the table as an older version did.
fn capture_again(provider: &mut Client, arguments: &str) -> TestResult {
    Ok(provider.batch_execute(&format!(
        "select pgq.create_capture('late', c.cap_trigger, 'sql', 'row', {arguments})
           from pgq.capture c where c.cap_relid = 'late'::regclass"
    ))?)
}

#[test]
fn a_delete_of_one_of_two_rows_with_a_key_takes_that_row() -> TestResult {
    let (pair, _replay) = delete_while_another_inserts(false)?;
    pair.catch_up()?;
    assert_eq!(pair.assert_equal(ALL)?, 100);
    assert_no_errors(&pair)
}

#[test]
fn a_delete_that_does_not_tell_the_old_row_stops_replay() -> TestResult {
    let (pair, _replay) = delete_while_another_inserts(true)?;
    assert_stops(&pair, 50)
}

#[test]
fn an_update_that_does_not_tell_the_old_row_stops_replay() -> TestResult {
    let pair = Pair::start(KEYS)?;
    let mut provider = pair.provider()?;
    provider
        .batch_execute("insert into late select i, 'old ' || i from generate_series(1, 3) i")?;
    pair.add(&["late"])?;
    capture_again(&mut provider, "array_remove(c.cap_args, 'backup=changes')")?;
    let check = pair.londiste(&["provider", "check"]);
    assert!(check.is_err_and(|error| error.to_string().contains("public.late")));
    let _replay = pair.replay()?;
    pair.wait_ok(&["public.late"])?;
    provider.batch_execute(
        "begin; update late set id = id + 1; delete from late where id = 4; commit",
    )?;
    assert_stops(&pair, 3)?;
    pair.londiste(&["provider", "refresh", "late"])?;
    pair.londiste(&["provider", "check"])?;
    let before = pair.log()?;
    provider.batch_execute(
        "begin; update late set id = id + 1; insert into late values (2, 'new'); delete from late where id = 4; commit",
    )?;
    pair.catch_up()?;
    pair.assert_equal(ALL)?;
    assert_eq!(pair.log()?[before.len()..].matches(" ERROR ").count(), 0);
    Ok(())
}

#[test]
fn an_insert_of_a_key_before_its_row_is_gone_does_not_hide_it() -> TestResult {
    let pair = Pair::start(KEYS)?;
    let mut provider = pair.provider()?;
    provider.batch_execute("insert into late select i, 'old' from generate_series(1, 50) i")?;
    pair.add(&["late"])?;
    let _replay = pair.replay()?;
    pair.wait_ok(&["public.late"])?;
    // The old rows leave by an update, which says which they are.
    provider.batch_execute(
        "begin; insert into late select i, 'new' from generate_series(1, 50) i;
         update late set id = id + 50 where v = 'old'; commit",
    )?;
    pair.catch_up()?;
    assert_eq!(pair.assert_equal(ALL)?, 100);
    assert_no_errors(&pair)
}

#[test]
fn a_unique_index_of_some_rows_is_no_key_that_is_deferrable() -> TestResult {
    let pair = Pair::start("create table t (id int primary key, v text, n int)")?;
    let (mut provider, mut subscriber) = (pair.provider()?, pair.subscriber()?);
    provider.batch_execute("insert into t values (1, 'x', 0)")?;
    pair.add(&["t"])?;
    let _replay = pair.replay()?;
    pair.wait_ok(&["public.t"])?;
    // Nothing on the subscriber says that an event is about one row.
    subscriber.batch_execute(
        "alter table t drop constraint t_pkey; create unique index on t (v) where v is not null;
         insert into t values (1, null, 0)",
    )?;
    provider.batch_execute("update t set n = 1")?;
    pair.catch_up()?;
    let changed = subscriber.query_one("select count(*) from t where n = 1", &[])?;
    assert_eq!(changed.get::<_, i64>(0), 2);
    assert_no_errors(&pair)
}

#[test]
fn keys_that_shift_at_random_come_to_the_same_rows() -> TestResult {
    let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let seed = u64::from(seed.subsec_nanos());
    let mut state = seed | 1;
    let mut below = |limit: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) % limit
    };
    let pair = Pair::start(KEYS)?;
    let mut provider = pair.provider()?;
    pair.add(&["soon"])?;
    let _replay = pair.replay()?;
    pair.wait_ok(&["public.soon"])?;
    for _ in 0..40 {
        let mut change = "begin;".to_owned();
        for _ in 0..=below(5) {
            let (i, k) = (below(30), 1 + below(4));
            change += &match below(6) {
                0 | 1 => format!(
                    "insert into soon (id, v) select n, case when n % 3 = 0 then 'alike' else n::text end
                       from generate_series({i}, {i} + 10) n where n not in (select id from soon);"
                ),
                2 => format!("update soon set id = id + {k} where id >= {i};"),
                3 => format!("update soon set id = id - {k}, v = v || '{k}' where id < {i};"),
                4 => format!("update soon set id = {i} - id;"),
                _ => format!("delete from soon where id % 7 = {k};"),
            };
        }
        // What the statements give two rows for good is refused.
        if provider.batch_execute(&format!("{change} commit")).is_err() {
            provider.batch_execute("rollback")?;
        }
    }
    pair.catch_up()?;
    let rows = pair.assert_equal("select * from soon t order by id, t::text");
    rows.map_err(|error| format!("seed {seed}: {error}"))?;
    assert_no_errors(&pair)
}
