//! How partitions come to be, and what is refused.

use std::sync::Barrier;

use pgq::mover::partition::{LongNames, PartStyle, PartitionConfig, Partitions, Period};
use skytools::db::Connection;
use testkit::{Cluster, TestResult};

use crate::{children, config, connect, ensure, table};

/// What `ensure` says against a label of a parent.
fn refusal(
    partitions: &mut Partitions,
    db: &mut Connection,
    (parent, label, column): (&str, &str, &str),
) -> TestResult<String> {
    let wanted = partitions.wanted(&table(parent), label, Some(column))?;
    let mut tx = db.begin()?;
    let error = partitions
        .ensure(&mut tx, &wanted)
        .expect_err("it cannot be made");
    Ok(skytools::app::chain(&error))
}

#[test]
fn a_template_makes_what_is_missing_once() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = connect(&cluster)?;
    db.batch_execute("create schema \"S s\"; create table \"S s\".\"T.t\" (id int, \"Key\" text)")?;
    let template = "create table _DEST_TABLE () inherits (_PARENT); \
                    alter table only _DEST_TABLE add constraint _DEST_TABLE_pk primary key (_PKEY)";
    let mut partitions = Partitions::new(config(PartStyle::Template), template);
    let mut wanted = partitions.wanted(&table("S s.T.t"), "2024_05", None)?;
    wanted.keys = vec!["Key".into()];
    assert!(ensure(&mut partitions, &mut db, &wanted)?);
    assert!(!ensure(&mut partitions, &mut db, &wanted)?);
    let mut others = Partitions::new(config(PartStyle::Template), template);
    assert!(!ensure(&mut others, &mut db, &wanted)?);
    assert_eq!(
        children(&mut db, "\"S s\".\"T.t\"")?,
        ["\"S s\".\"T.t_2024_05\""]
    );
    let constraint: String = db
        .query_one(
            "select conname::text from pg_constraint where contype = 'p' and connamespace = '\"S s\"'::regnamespace",
            &[],
        )?
        .get(0);
    assert_eq!(constraint, "T.t_2024_05_pk");

    let mut bare = Partitions::new(config(PartStyle::Template), " ");
    let why = refusal(&mut bare, &mut db, ("S s.T.t", "2024_06", "id"))?;
    assert_eq!(
        why,
        "table S s.T.t_2024_06 does not exist; create it, or set part_template"
    );
    let mut idle = Partitions::new(config(PartStyle::Template), "select 1");
    let why = refusal(&mut idle, &mut db, ("S s.T.t", "2024_06", "id"))?;
    assert!(
        why.contains("does not exist although part_template was run"),
        "{why}"
    );
    let mut wrong = Partitions::new(config(PartStyle::Template), "create tabel _DEST_TABLE ()");
    let why = refusal(&mut wrong, &mut db, ("S s.T.t", "2024_06", "id"))?;
    assert!(
        why.contains("run part_template for table S s.T.t_2024_06") && why.contains("syntax error"),
        "{why}"
    );
    db.batch_execute("create view seen as select 1")?;
    let why = refusal(&mut bare, &mut db, ("public.seen", "", "id"))?;
    assert_eq!(why, "public.seen is no table");
    let long = bare
        .wanted(&table(&"x".repeat(60)), "2024", None)
        .unwrap_err();
    assert!(long.to_string().contains("65 bytes"), "{long}");
    let mut hashed = config(PartStyle::Template);
    hashed.long_names = LongNames::Hash;
    let short = Partitions::new(hashed, "").wanted(&table(&"x".repeat(60)), "2024", None)?;
    assert_eq!(short.table.name().len(), 63);
    Ok(())
}

#[test]
fn an_heir_looks_like_its_parent_and_takes_its_span_only() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = connect(&cluster)?;
    db.batch_execute(
        "create role reader;
         create table log (id int primary key, at timestamp not null default now(), v text check (v <> ''));
         create index on log (at);
         grant select on log to reader;
         create function nothing() returns trigger language plpgsql as 'begin return new; end';
         create trigger t before insert on log for each row execute function nothing();
         alter table log enable always trigger t;
         create rule r as on delete to log do instead nothing",
    )?;
    let mut partitions = Partitions::new(config(PartStyle::Inherit), "");
    let wanted = partitions.wanted(&table("log"), "2024_05_31", Some("at"))?;
    assert!(ensure(&mut partitions, &mut db, &wanted)?);
    assert_eq!(children(&mut db, "log")?, ["log_2024_05_31"]);
    db.batch_execute("insert into log_2024_05_31 values (1, '2024-05-31 23:59:59.999', 'x')")?;
    for outside in ["2024-05-30 23:59", "2024-06-01"] {
        let sql = format!("insert into log_2024_05_31 values (2, '{outside}', 'x')");
        let error = db.batch_execute(&sql).unwrap_err();
        let error = error
            .as_db_error()
            .expect("the server refuses")
            .message()
            .to_owned();
        assert!(error.contains("violates check constraint"), "{error}");
    }
    let same = "select (select count(*) from pg_index where indrelid = $1::text::regclass), \
                (select tgenabled::text from pg_trigger where tgrelid = $1::text::regclass), \
                (select count(*) from pg_rules where tablename = $1), \
                has_table_privilege('reader', $1::text, 'select')";
    let row = db.query_one(same, &[&"log_2024_05_31"])?;
    let found: (i64, String, i64, bool) = (row.get(0), row.get(1), row.get(2), row.get(3));
    assert_eq!(found, (2, "A".to_owned(), 1, true));

    // A table of that name which is nobody's child is not taken for one.
    db.batch_execute("create table log_2024_06_01 (like log)")?;
    let why = refusal(&mut partitions, &mut db, ("log", "2024_06_01", "at"))?;
    assert!(
        why.contains("table public.log_2024_06_01 exists, but is no partition of public.log"),
        "{why}"
    );
    let why = refusal(&mut partitions, &mut db, ("log", "2024_06_02", "v"))?;
    assert!(why.contains("has no column v of the type date"), "{why}");
    let why = refusal(&mut partitions, &mut db, ("nothing", "2024_06_02", "v"))?;
    assert!(why.contains("table public.nothing does not exist"), "{why}");
    let why = partitions
        .wanted(&table("log"), "EU", Some("at"))
        .unwrap_err();
    assert!(why.to_string().contains("EU is none of YYYY"), "{why}");
    Ok(())
}

#[test]
fn a_declarative_partition_is_attached_with_its_bounds() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = connect(&cluster)?;
    for (kind, zone) in [
        ("date", ""),
        ("timestamp", "Asia/Tokyo"),
        ("timestamptz", "Asia/Tokyo"),
    ] {
        db.batch_execute(&format!(
            "create table t_{kind} (id int generated always as identity, at {kind}, v text, primary key (id, at))
                 partition by range (at);
             grant insert on t_{kind} to public"
        ))?;
        let parent = format!("t_{kind}");
        let config = PartitionConfig {
            partition_timezone: zone.to_owned(),
            ..config(PartStyle::Declarative)
        };
        let mut partitions = Partitions::new(config.clone(), "");
        partitions.check(&mut *db)?;
        for label in ["2024_12", "2025_01"] {
            let wanted = partitions.wanted(&table(&parent), label, Some("at"))?;
            assert!(ensure(&mut partitions, &mut db, &wanted)?);
            // Known again by its bounds.
            assert!(!ensure(
                &mut Partitions::new(config.clone(), ""),
                &mut db,
                &wanted
            )?);
        }
        let insert = format!(
            "set timezone = 'Asia/Tokyo';
             insert into {parent} (at) values ('2024-12-01'), ('2024-12-31'), ('2025-01-01'); reset timezone"
        );
        db.batch_execute(&insert)?;
        let counts = db.query_one(
            &format!("select (select count(*) from {parent}_2024_12), (select count(*) from {parent}_2025_01), \
                      has_table_privilege('public', '{parent}_2025_01', 'insert')"),
            &[],
        )?;
        let found: (i64, i64, bool) = (counts.get(0), counts.get(1), counts.get(2));
        assert_eq!(found, (2, 1, true), "{kind}");
        let wrong = partitions.wanted(&table(&parent), "2024_12_01", Some("at"))?;
        db.batch_execute(&format!(
            "alter table {parent}_2024_12 rename to {parent}_2024_12_01"
        ))?;
        let error = partitions.exists(&mut *db, &wrong).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("and should be from '2024-12-01 00:00:00"),
            "{error}"
        );
    }
    Ok(())
}

#[test]
fn what_cannot_be_a_partition_is_told_apart() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = connect(&cluster)?;
    db.batch_execute(
        "create table plain (at date);
         create table listed (at date) partition by list (at);
         create table other (at date, b date) partition by range (b);
         create table filled (at date) partition by range (at);
         create table rest partition of filled default;
         insert into filled values ('2024-05-31')",
    )?;
    let mut partitions = Partitions::new(config(PartStyle::Declarative), "");
    for parent in ["plain", "listed", "other"] {
        let why = refusal(&mut partitions, &mut db, (parent, "2024_05", "at"))?;
        assert!(
            why.contains("is not partitioned by range of a date or timestamp column at"),
            "{why}"
        );
    }
    let why = refusal(&mut partitions, &mut db, ("filled", "2024_05", "at"))?;
    assert!(
        why.contains("the default partition of public.filled has rows that belong to it"),
        "{why}"
    );
    let wanted = partitions.wanted(&table("filled"), "2024_06", Some("at"))?;
    assert!(ensure(&mut partitions, &mut db, &wanted)?);
    let mut zone = config(PartStyle::Declarative);
    zone.partition_timezone = "Nowhere/At_all".into();
    assert!(Partitions::new(zone, "").check(&mut *db).is_err());
    let mut period = config(PartStyle::Declarative);
    period.retention_period = "for ever".into();
    assert!(Partitions::new(period, "").check(&mut *db).is_err());
    Ok(())
}

#[test]
fn two_who_want_the_same_partition_get_one() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = connect(&cluster)?;
    db.batch_execute(
        "create table part (at date) partition by range (at); create table old (at date)",
    )?;
    const ROUNDS: usize = 12;
    for (style, parent) in [
        (PartStyle::Declarative, "part"),
        (PartStyle::Inherit, "old"),
        (PartStyle::Template, "gone"),
    ] {
        let barrier = Barrier::new(2);
        let work = || -> TestResult<usize> {
            let mut db = connect(&cluster)?;
            let mut partitions =
                Partitions::new(config(style), "create table _DEST_TABLE (at date)");
            let mut made = 0;
            for day in 1..=ROUNDS {
                let wanted =
                    partitions.wanted(&table(parent), &format!("2024_05_{day:02}"), Some("at"))?;
                barrier.wait();
                made += usize::from(ensure(&mut partitions, &mut db, &wanted)?);
            }
            Ok(made)
        };
        let made = std::thread::scope(|scope| {
            let other = scope.spawn(work);
            let own = work()?;
            Ok::<_, testkit::Error>(own + other.join().expect("the thread does not panic")?)
        })?;
        assert_eq!(made, ROUNDS, "{style:?}");
    }
    Ok(())
}

#[test]
fn one_who_knows_nothing_of_the_lock_may_be_first() -> TestResult {
    let cluster = Cluster::start()?;
    let (mut db, mut other) = (connect(&cluster)?, connect(&cluster)?);
    let mut tx = other.begin()?;
    tx.batch_execute("create table t_2024 ()")?;
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| -> TestResult<bool> {
            let mut partitions =
                Partitions::new(config(PartStyle::Template), "create table _DEST_TABLE ()");
            let wanted = partitions.wanted(&table("t"), "2024", None)?;
            ensure(&mut partitions, &mut db, &wanted)
        });
        let mut watcher = cluster.connect("postgres")?;
        testkit::wait_until(
            "the other to wait",
            std::time::Duration::from_secs(60),
            || {
                let sql = "select from pg_locks where not granted";
                Ok(!watcher.query(sql, &[])?.is_empty())
            },
        )?;
        tx.commit()?;
        assert!(!waiting.join().expect("the thread does not panic")?);
        Ok(())
    })
}

#[test]
fn partitions_are_made_ahead() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = connect(&cluster)?;
    db.batch_execute("create table part (at timestamptz) partition by range (at)")?;
    let mut config = config(PartStyle::Declarative);
    config.precreate = 2;
    config.retention_check = std::time::Duration::from_secs(3600);
    let mut partitions = Partitions::new(config, "");
    let parent = table("part");
    let made = partitions.precreate(&mut db, &parent, Period::Hour, Some("at"), &[])?;
    // An hour may have begun meanwhile.
    assert!((3..=4).contains(&children(&mut db, "part")?.len()));
    assert_eq!(made.len(), 3);
    db.batch_execute("insert into part values (now() + '1 hour')")?;

    // Those of one parent are no reason to leave out another one's.
    db.batch_execute("create table other (at timestamptz) partition by range (at)")?;
    let other = table("other");
    let made = partitions.precreate(&mut db, &other, Period::Hour, Some("at"), &[])?;
    assert_eq!(made.len(), 3);
    let again = partitions.precreate(&mut db, &other, Period::Hour, Some("at"), &[])?;
    assert!(again.is_empty());
    Ok(())
}
