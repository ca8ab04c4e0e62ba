//! How partitions go.

use pgq::mover::partition::{PartStyle, PartitionConfig, Partitions, RetentionAction};
use skytools::db::Connection;
use testkit::{Cluster, TestResult};

use crate::{children, config, connect, table};

/// Two old partitions, one that is new for ever, and tables that look like partitions.
fn site(style: PartStyle) -> TestResult<(Cluster, Connection)> {
    let cluster = Cluster::start()?;
    let mut db = connect(&cluster)?;
    db.batch_execute(match style {
        PartStyle::Declarative => {
            "create table log (at date) partition by range (at);
             create table log_2001_02 partition of log for values from ('2001-02-01') to ('2001-03-01');
             create table log_2001_01 partition of log for values from ('2001-01-01') to ('2001-02-01');
             create table log_9000_01 partition of log for values from ('9000-01-01') to ('9000-02-01');
             create table odd partition of log for values from (minvalue) to ('1999-01-01')"
        }
        _ => {
            "create table log (at date);
             create table log_2001_02 () inherits (log);
             create table log_2001_01 () inherits (log);
             create table log_9000_01 () inherits (log);
             create table log_2001_x () inherits (log)"
        }
    })?;
    db.batch_execute(
        "create table log_2000_01 (); create table log_2000_01_01_x (); create table xlog_2000_01 ();
         create schema other; create table other.log_2000_01 ()",
    )?;
    Ok((cluster, db))
}

fn keeping(style: PartStyle) -> PartitionConfig {
    PartitionConfig {
        retention_period: "10 years".into(),
        ..config(style)
    }
}

fn retire(config: PartitionConfig, db: &mut Connection) -> TestResult<Vec<String>> {
    let gone = Partitions::new(config, "").retire(db, &[table("log")])?;
    Ok(gone.iter().map(ToString::to_string).collect())
}

fn tables(db: &mut Connection) -> TestResult<String> {
    let row = db.query_one(
        "select string_agg(c.oid::regclass::text, ' ' order by c.oid::regclass::text collate \"C\") \
         from pg_class c where c.relkind in ('r', 'p') and c.relnamespace in \
         ('public'::regnamespace, 'other'::regnamespace)",
        &[],
    )?;
    Ok(row.get(0))
}

const LOOK_ALIKES: &str = "log_2000_01 log_2000_01_01_x";

#[test]
fn old_partitions_go_oldest_first_and_nothing_else_does() -> TestResult {
    for (style, left) in [
        (
            PartStyle::Declarative,
            "log_9000_01 odd other.log_2000_01 xlog_2000_01",
        ),
        (
            PartStyle::Inherit,
            "log_2001_x log_9000_01 other.log_2000_01 xlog_2000_01",
        ),
    ] {
        let (_cluster, mut db) = site(style)?;
        assert!(retire(config(style), &mut db)?.is_empty());
        assert_eq!(
            retire(keeping(style), &mut db)?,
            ["public.log_2001_01", "public.log_2001_02"]
        );
        assert_eq!(tables(&mut db)?, format!("log {LOOK_ALIKES} {left}"));
        assert!(retire(keeping(style), &mut db)?.is_empty());
    }
    Ok(())
}

#[test]
fn a_default_partition_is_no_obstacle() -> TestResult {
    let (_cluster, mut db) = site(PartStyle::Declarative)?;
    db.batch_execute("create table rest partition of log default")?;
    assert_eq!(retire(keeping(PartStyle::Declarative), &mut db)?.len(), 2);
    Ok(())
}

#[test]
fn by_name_tables_of_the_schema_count_too() -> TestResult {
    let (_cluster, mut db) = site(PartStyle::Template)?;
    let config = PartitionConfig {
        retention_by_name: true,
        ..keeping(PartStyle::Template)
    };
    assert_eq!(
        retire(config, &mut db)?,
        [
            "public.log_2000_01",
            "public.log_2001_01",
            "public.log_2001_02"
        ]
    );
    assert_eq!(
        tables(&mut db)?,
        "log log_2000_01_01_x log_2001_x log_9000_01 other.log_2000_01 xlog_2000_01"
    );
    Ok(())
}

#[test]
fn partitions_can_be_detached_or_given_to_a_function() -> TestResult {
    for style in [PartStyle::Declarative, PartStyle::Inherit] {
        let (_cluster, mut db) = site(style)?;
        let before = tables(&mut db)?;
        let detach = PartitionConfig {
            retention_action: RetentionAction::Detach,
            ..keeping(style)
        };
        assert_eq!(retire(detach.clone(), &mut db)?.len(), 2);
        assert_eq!(children(&mut db, "log")?.len(), 2);
        assert_eq!(tables(&mut db)?, before);
        assert!(retire(detach, &mut db)?.is_empty());

        let (_cluster, mut db) = site(style)?;
        db.batch_execute(
            "create schema arc; create table arc.seen (n serial, parent text, part text);
             create function arc.\"Keep\"(parent text, part text) returns void language sql as
                 'insert into arc.seen (parent, part) values (parent, part)'",
        )?;
        let call = PartitionConfig {
            retention_action: RetentionAction::Call("arc.Keep".into()),
            ..keeping(style)
        };
        assert_eq!(retire(call, &mut db)?.len(), 2);
        let rows = db.query("select parent || ' ' || part from arc.seen order by n", &[])?;
        let seen: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        assert_eq!(
            seen,
            [
                "public.log public.log_2001_01",
                "public.log public.log_2001_02"
            ]
        );
    }
    Ok(())
}

#[test]
fn what_is_in_use_stays_until_the_next_look() -> TestResult {
    let (cluster, mut db) = site(PartStyle::Inherit)?;
    let mut reader = connect(&cluster)?;
    let mut tx = reader.begin()?;
    tx.batch_execute("select from log_2001_01")?;
    let mut partitions = Partitions::new(keeping(PartStyle::Inherit), "");
    let gone = partitions.retire(&mut db, &[table("log")])?;
    assert_eq!(gone, [table("log_2001_02")]);
    tx.rollback()?;
    assert_eq!(
        partitions.retire(&mut db, &[table("log")])?,
        [table("log_2001_01")]
    );
    Ok(())
}

#[test]
fn a_drop_that_was_cut_short_is_finished() -> TestResult {
    let (cluster, mut db) = site(PartStyle::Declarative)?;
    // Detaching waits for a reader, and is given up with half of it done.
    let mut reader = connect(&cluster)?;
    let mut tx = reader.begin()?;
    tx.batch_execute("select from log")?;
    let mut partitions = Partitions::new(keeping(PartStyle::Declarative), "");
    assert!(partitions.retire(&mut db, &[table("log")])?.is_empty());
    tx.rollback()?;
    let pending: i64 = db
        .query_one(
            "select count(*) from pg_inherits where inhdetachpending",
            &[],
        )?
        .get(0);
    assert!(pending > 0);
    // Another is detached, and the process has died before it was dropped.
    db.batch_execute("create table log_2001_03 partition of log for values from ('2001-03-01') to ('2001-04-01')")?;
    db.batch_execute(
        "alter table log detach partition log_2001_03;
         comment on table log_2001_03 is 'past its time, and no partition of public.log any more'",
    )?;
    let mut gone = partitions.retire(&mut db, &[table("log")])?;
    gone.sort();
    assert_eq!(
        gone,
        [
            table("log_2001_01"),
            table("log_2001_02"),
            table("log_2001_03")
        ]
    );
    Ok(())
}

#[test]
fn rows_past_their_time_are_known_by_their_label() -> TestResult {
    let (_cluster, mut db) = site(PartStyle::Inherit)?;
    let ignoring = PartitionConfig {
        ignore_old_events: true,
        partition_timezone: "UTC".into(),
        ..keeping(PartStyle::Inherit)
    };
    let cutoff = Partitions::new(ignoring, "")
        .cutoff(&mut *db)?
        .expect("there is one");
    for (label, is_past) in [
        ("2001_01", true),
        ("2001_01_31_23", true),
        ("9000_01", false),
        ("2001_x", false),
        ("9999", false),
    ] {
        assert_eq!(Partitions::is_past(label, &cutoff), is_past, "{label}");
    }
    let other = Partitions::new(keeping(PartStyle::Inherit), "");
    assert_eq!(other.cutoff(&mut *db)?, None);
    Ok(())
}
