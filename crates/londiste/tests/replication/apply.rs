//! Applying events at once: the same as one by one, whatever they are.

use std::fs;
use std::time::Duration;

use postgres::Client;
use testkit::{Program, Running, TestResult, wait_until};

use crate::support::{ALL, PATIENCE, Pair, Setting};

/// Statements of a random workload beyond this number have shown nothing more.
const STATEMENTS: usize = 400;

/// The tables, and what only the subscribers have: triggers, and what they write.
const SCHEMA: &str = r#"
    create type mood as enum ('sad', 'it''s ok');
    create table plain (id int primary key, n int, t text, v varchar(20), c char(8));
    create table pair (a text, b bigint, n numeric(12,3), primary key (b, a));
    create table twice (id bigint primary key, u int unique, t text);
    create table parent (id int primary key, t text);
    create table child (id int primary key, parent int references parent on delete cascade, t text);
    create table watched (id int primary key, t text);
    create table exactly (k numeric primary key, t text);
    create table floating (k float8 primary key, n int);
    create table "Odd Name" ("the ""key" uuid primary key, "select" text, "Ünï" int);
    create table kinds (id smallint primary key, tags text[], j jsonb, m mood, ts timestamptz,
        by bytea, iv interval, r int4range);
    create table made (id int primary key generated always as identity, n int,
        twice int generated always as (n * 2) stored, at int default 7);
    create table tree (id int primary key, parent int references tree deferrable);
    create table mark (id int primary key);
"#;

const TABLES: [&str; 13] = [
    "plain", "pair", "twice", "parent", "child", "watched", "exactly", "floating", "Odd Name",
    "kinds", "made", "tree", "mark",
];

const WATCH: &str = "
    create table seen (number bigserial primary key, op text, old text, new text);
    create function see() returns trigger language plpgsql as $$
    begin
        insert into seen (op, old, new) values (tg_op, old.t, new.t);
        return null;
    end $$;
    create trigger see after insert or update or delete on watched
        for each row execute function see();";

/// Numbers that look random and can be had again.
struct Random(u64);

impl Random {
    /// From the seed in `LONDISTE_SEED`, or a new one.
    fn seeded() -> (Random, u64) {
        let seed = std::env::var("LONDISTE_SEED")
            .ok()
            .and_then(|seed| seed.parse().ok())
            .unwrap_or_else(|| {
                let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
                now.map_or(1, |now| u64::from(now.subsec_nanos()))
            });
        (Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1), seed)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    fn text(&mut self) -> &'static str {
        const TEXTS: [&str; 9] = [
            "'plain'",
            "null",
            "''",
            r"'it''s'",
            r"E'back\\slash \\. \\N'",
            r"E'tab\tnew\nline\r'",
            r#"'"double", {brace}'"#,
            "'NULL'",
            "'ünïcödé 🐘'",
        ];
        TEXTS[usize::try_from(self.below(9)).expect("it is small")]
    }

    /// A statement that may fail on the provider, where nobody minds.
    fn statement(&mut self) -> String {
        let (i, j, k) = (self.below(300), self.below(60), self.below(10));
        let t = self.text();
        let many = 1 + self.below(120);
        match self.below(34) {
            0..=3 => format!(
                "insert into plain select i, {k}, {t}, 'v' || i, 'c' \
                 from generate_series({i}, {i} + {many}) i on conflict do nothing"
            ),
            4 => {
                format!("update plain set n = n + 1, t = {t} where id between {i} and {i} + {many}")
            }
            5 => format!("update plain set c = {j}::text, v = null where id % 10 = {k}"),
            6 => format!("delete from plain where id between {i} and {i} + {many}"),
            7 => format!("update plain set id = id + 1000 where id = {i}"),
            8 => format!("update plain set n = n where id < {i}"),
            9 => format!(
                "delete from plain where id = {i}; insert into plain (id, t) values ({i}, {t}); \
                 update plain set n = {k} where id = {i}"
            ),
            10 | 11 => format!(
                "insert into pair select 'it''s ' || i % 7, i, i * 1.5 \
                 from generate_series({i}, {i} + {many}) i on conflict do nothing"
            ),
            12 => format!("update pair set n = n + 0.001 where b > {i}"),
            13 => format!("delete from pair where b between {i} and {i} + {many}"),
            14 => format!("update pair set a = {t} where b = {i}"),
            15 | 16 => format!(
                "insert into twice select i, i, {t} from generate_series({i}, {i} + {many}) i \
                 on conflict do nothing"
            ),
            17 => format!("update twice set t = {t} where id > {i}"),
            18 => format!(
                "update twice set u = -1 where id = {i}; update twice set u = {i} where id = {j}; \
                 update twice set u = {j} where id = {i}"
            ),
            19 => format!(
                "delete from twice where u = {i}; insert into twice values ({i} + 5000, {i}, {t})"
            ),
            20 => format!(
                "insert into parent select i, {t} from generate_series({j}, {j} + {many}) i \
                 on conflict do nothing"
            ),
            21 => format!(
                "insert into child select i, i % 60, {t} from generate_series({i}, {i} + {many}) i \
                 on conflict do nothing"
            ),
            22 => format!("delete from parent where id = {j}"),
            23 => format!("update child set t = {t}, parent = {j} where id < {i}"),
            24 => format!(
                "insert into watched select i, {t} from generate_series({i}, {i} + {many}) i \
                 on conflict do nothing; update watched set t = 'x' || {j} where id % 10 = {k}"
            ),
            25 => format!("delete from watched where id > {i}"),
            26 => format!(
                "insert into exactly select i * 0.5, {t} from generate_series({j}, {j} + {many}) i \
                 on conflict do nothing; update exactly set k = (k::text || '0')::numeric \
                 where k = {j}.5; delete from exactly where k = {k}"
            ),
            27 => format!(
                "insert into floating select i / 3.0, i from generate_series({i}, {i} + {many}) i \
                 on conflict do nothing; update floating set n = {k} where k < {j}; \
                 update floating set k = '-0' where k = 0; delete from floating where k > {i}"
            ),
            28 => format!(
                "insert into \"Odd Name\" select md5(i::text)::uuid, {t}, i \
                 from generate_series({i}, {i} + {many}) i on conflict do nothing"
            ),
            29 => format!(
                "update \"Odd Name\" set \"select\" = {t} where \"Ünï\" > {i}; \
                 delete from \"Odd Name\" where \"Ünï\" % 10 = {k}"
            ),
            30 => format!(
                "insert into kinds select i, array[{t}, 'b'], '{{\"a\": [1, null]}}', 'sad', \
                 timestamptz '2024-01-01 00:00:00+00' + i * interval '1 h', '\\x00ff27', '1 mon 2 d', \
                 '[1,5)' from generate_series({i}, {i} + {many}) i on conflict do nothing"
            ),
            31 => format!(
                "update kinds set m = 'it''s ok', ts = 'infinity', by = null, r = 'empty' \
                 where id > {i}; update kinds set tags[2] = {t} where id % 10 = {k}"
            ),
            32 => format!(
                "insert into made (n) select i from generate_series(1, {many}) i; \
                 update made set n = n + 1 where id % 10 = {k}; update made set n = n where id = {j}; \
                 delete from made where id < {j}"
            ),
            _ => format!(
                "insert into tree select i, nullif(i / 2, 0) from generate_series(1, {many}) i \
                 on conflict do nothing; update tree set parent = null where id = {j}; \
                 delete from tree where id > {i}"
            ),
        }
    }
}

/// A second subscriber in a database beside the first, which applies one by one.
struct Second {
    _replay: Running,
}

impl Second {
    const DATABASE: &str = "second";

    fn start(pair: &Pair) -> TestResult<Second> {
        let mut db = pair.subscriber.create_database(Second::DATABASE)?;
        db.batch_execute(SCHEMA)?;
        db.batch_execute(WATCH)?;
        let ini = fs::read_to_string(pair.path("replay.ini"))?;
        let ini = ini
            .replace("replay", "second")
            .replace(
                &pair.subscriber.conninfo("shop"),
                &pair.subscriber.conninfo(Second::DATABASE),
            )
            .replace("apply_mode = fast", "apply_mode = compat");
        fs::write(pair.path("second.ini"), ini)?;
        let run = |args: &[&str]| {
            let mut all = vec!["second.ini"];
            all.extend(args);
            Program::new("londiste", pair.dir()).args(all)
        };
        run(&["subscriber", "install"]).succeed()?;
        let mut add = vec!["subscriber", "add", "--expect-sync"];
        add.extend(TABLES);
        run(&add).succeed()?;
        Ok(Second {
            _replay: run(&["replay"]).spawn()?,
        })
    }

    fn connect(pair: &Pair) -> TestResult<Client> {
        pair.subscriber.connect(Second::DATABASE)
    }
}

#[test]
fn random_changes_come_to_the_same_at_once_and_one_by_one() -> TestResult {
    let (mut random, seed) = Random::seeded();
    let pair = Pair::with(Setting {
        schema: SCHEMA,
        lines: "apply_mode = fast",
        ..Setting::default()
    })?;
    pair.subscriber()?.batch_execute(WATCH)?;
    pair.add_on_provider(&TABLES)?;
    let mut add = vec!["subscriber", "add", "--expect-sync"];
    add.extend(TABLES);
    pair.londiste(&add)?;
    let _first = pair.replay()?;
    let _second = Second::start(&pair)?;
    let mut provider = pair.provider()?;
    // Before both are registered nothing comes through.
    wait_until("both consumers to be registered", PATIENCE, || {
        let row = provider.query_one("select count(*) from pgq.get_consumer_info('q')", &[])?;
        Ok(row.get::<_, i64>(0) == 2)
    })?;
    let mut statements = 0;
    while statements < STATEMENTS {
        let count = 1 + random.below(25);
        let mut text = String::from("begin;");
        for _ in 0..count {
            let statement = random.statement().replace('\'', "''");
            text.push_str(&format!(
                "do $do$ begin execute '{statement}'; \
                 exception when others then null; end $do$;"
            ));
            statements += 1;
        }
        text.push_str(if random.below(10) == 0 {
            "rollback"
        } else {
            "commit"
        });
        provider.batch_execute(&text)?;
    }
    provider.batch_execute("insert into mark values (1)")?;
    let (mut first, mut second) = (pair.subscriber()?, Second::connect(&pair)?);
    for db in [&mut first, &mut second] {
        wait_until("the mark", PATIENCE, || {
            Ok(db.query_opt("select from mark", &[])?.is_some())
        })
        .map_err(|error| pair.explain(format!("seed {seed}: {error}").into()))?;
    }
    for table in TABLES {
        let query = format!("select t::text from \"{table}\" t order by t::text collate \"C\"");
        let rows = pair
            .assert_equal(&query)
            .map_err(|error| format!("seed {seed}, {table}: {error}"))?;
        let other = testkit::compare(&mut first, &mut second, &query)?;
        assert_eq!(other.difference, None, "seed {seed}, {table}, {rows} rows");
    }
    let seen = testkit::compare(
        &mut first,
        &mut second,
        "select op, old, new from seen order by number",
    )?;
    assert_eq!(seen.difference, None, "seed {seed}: what triggers saw");
    assert!(seen.left_rows > 0, "seed {seed}: triggers saw nothing");
    pair.assert_quiet()
}

const SIMPLE: &str = "create table t (id int primary key, n int, data text)";

/// Statements that wrote the rows of `t` as they are now.
fn statements(db: &mut Client) -> TestResult<i64> {
    let row = db.query_one(
        "select count(distinct (xmin::text, cmin::text)) from t",
        &[],
    )?;
    Ok(row.get(0))
}

#[test]
fn many_rows_are_written_by_few_statements() -> TestResult {
    let pair = Pair::start(SIMPLE)?;
    let _replay = pair.replay()?;
    pair.add(&["t"])?;
    pair.wait_ok(&["public.t"])?;
    let (mut provider, mut subscriber) = (pair.provider()?, pair.subscriber()?);
    provider.batch_execute("insert into t select i, 0, 'row' from generate_series(1, 1000) i")?;
    pair.catch_up()?;
    assert_eq!(statements(&mut subscriber)?, 1);
    provider.batch_execute(
        "update t set n = id, data = null; update t set n = n + 1 where id <= 500; \
         delete from t where id > 900",
    )?;
    pair.catch_up()?;
    assert_eq!(pair.assert_equal(ALL)?, 900);
    assert!(
        statements(&mut subscriber)? <= 2,
        "by the columns that are set"
    );
    pair.assert_quiet()
}

#[test]
fn what_changes_about_a_table_is_noticed_however_often_it_was_looked_up() -> TestResult {
    let pair = Pair::start(SIMPLE)?;
    let _replay = pair.replay()?;
    pair.add(&["t"])?;
    pair.wait_ok(&["public.t"])?;
    let (mut provider, mut subscriber) = (pair.provider()?, pair.subscriber()?);
    provider.batch_execute("insert into t select i, 0, 'row' from generate_series(1, 100) i")?;
    let mut applied = |change: &str| -> TestResult<i64> {
        provider.batch_execute(change)?;
        pair.catch_up()?;
        assert_eq!(pair.assert_equal(ALL)?, 100);
        statements(&mut pair.subscriber()?)
    };
    // Often enough for a plan to be kept.
    for _ in 0..8 {
        assert_eq!(applied("update t set n = n + 1")?, 1);
    }
    subscriber.batch_execute(
        "create function see() returns trigger language plpgsql as 'begin return new; end'; \
         create trigger see before update on t for each row execute function see()",
    )?;
    assert_eq!(
        applied("update t set n = n + 1")?,
        100,
        "there is a trigger"
    );
    subscriber.batch_execute("drop trigger see on t")?;
    assert_eq!(applied("update t set n = n + 1")?, 1);
    subscriber.batch_execute("create unique index other on t (n, id)")?;
    assert_eq!(applied("update t set n = n + 1")?, 100, "n is unique");
    assert_eq!(applied("update t set data = n")?, 1);
    subscriber.batch_execute("alter table t add column more int")?;
    assert_eq!(
        applied("alter table t add column more int; update t set more = 7")?,
        1
    );
    subscriber.batch_execute("alter table t rename n to m")?;
    let renamed = "alter table t rename n to m; update t set data = 'm'";
    assert_eq!(applied(renamed)?, 1);
    pair.assert_quiet()
}

#[test]
fn every_row_has_a_statement_in_compat_mode() -> TestResult {
    let pair = Pair::with(Setting {
        schema: SIMPLE,
        lines: "apply_mode = compat",
        ..Setting::default()
    })?;
    let _replay = pair.replay()?;
    pair.add(&["t"])?;
    pair.wait_ok(&["public.t"])?;
    let mut provider = pair.provider()?;
    provider.batch_execute("insert into t select i, 0, 'row' from generate_series(1, 100) i")?;
    pair.catch_up()?;
    assert_eq!(statements(&mut pair.subscriber()?)?, 100);
    pair.assert_quiet()
}

#[test]
fn what_fails_at_once_names_the_event_and_goes_on_when_mended() -> TestResult {
    let pair = Pair::start(SIMPLE)?;
    let _replay = pair.replay()?;
    pair.add(&["t"])?;
    pair.wait_ok(&["public.t"])?;
    let (mut provider, mut subscriber) = (pair.provider()?, pair.subscriber()?);
    subscriber.batch_execute("insert into t values (50, 1, 'foreign')")?;
    provider.batch_execute("insert into t select i, 0, 'row' from generate_series(1, 100) i")?;
    let event: i64 = provider
        .query_one(
            "select ev_id from pgq.event_1 where ev_data like '%''50''%'",
            &[],
        )?
        .get(0);
    pair.wait_log(&format!("cannot apply event {event} to table public.t"))?;
    subscriber.batch_execute("delete from t where id = 50")?;
    pair.catch_up()?;
    assert_eq!(pair.assert_equal(ALL)?, 100);
    Ok(())
}

#[test]
fn rows_that_are_missing_are_reported_one_by_one_when_asked_for() -> TestResult {
    let pair = Pair::with(Setting {
        schema: SIMPLE,
        lines: "apply_check = warn",
        ..Setting::default()
    })?;
    let mut provider = pair.provider()?;
    provider.batch_execute("insert into t select i, 0, 'row' from generate_series(1, 100) i")?;
    let _replay = pair.replay()?;
    pair.add(&["t"])?;
    pair.wait_ok(&["public.t"])?;
    pair.subscriber()?
        .batch_execute("delete from t where id = 50")?;
    provider.batch_execute("update t set n = 1")?;
    pair.wait_log("changed 0 rows instead of one")?;
    pair.wait_log("fallback: 1")?;
    pair.catch_up()?;
    let row = pair
        .subscriber()?
        .query_one("select count(*) from t where n = 1", &[])?;
    assert_eq!(row.get::<_, i64>(0), 99);
    Ok(())
}

#[test]
fn a_large_batch_takes_little_memory() -> TestResult {
    let pair = Pair::start(SIMPLE)?;
    let replay = pair.replay()?;
    pair.add(&["t"])?;
    pair.wait_ok(&["public.t"])?;
    pair.provider()?.batch_execute(
        "insert into t select i, 0, repeat('x', 500) from generate_series(1, 200000) i; \
         update t set n = id, data = repeat('y', 500)",
    )?;
    wait_until("the batch to be applied", Duration::from_secs(240), || {
        pair.force_tick()?;
        let rows = pair
            .subscriber()?
            .query_one("select count(*) from t where n = id", &[])?;
        Ok(rows.get::<_, i64>(0) == 200_000)
    })
    .map_err(|error| pair.explain(error))?;
    let peak = replay.peak_memory_kb()?;
    assert!(peak < 100 * 1024, "{peak} kB for 200 MB of events");
    pair.assert_quiet()
}
