//! PgQ packaged as an extension: created, adopted, dumped and restored, dropped.

use std::fs;
use std::path::Path;
use std::process::Command;

use postgres::Client;
use testkit::{Cluster, TestResult};

use crate::catalogue;
use crate::support::{
    arrived, cluster, consume, eager_queue, has_program, insert, refusal, row, rows, run_scripts,
    tick,
};

/// A server that offers the extensions of `sql/dist`.
fn offering() -> TestResult<Cluster> {
    offering_more(&[])
}

/// A server that offers those and more.
fn offering_more(more: &[(&str, &str)]) -> TestResult<Cluster> {
    let mut cluster = Cluster::start()?;
    let dist = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sql/dist");
    let mut files: Vec<(String, String)> = more
        .iter()
        .map(|(name, text)| (name.to_string(), text.to_string()))
        .collect();
    for entry in fs::read_dir(dist)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.contains("--") || name.ends_with(".control") {
            files.push((name, fs::read_to_string(entry.path())?));
        }
    }
    assert!(files.len() >= 8, "{files:?}");
    cluster.offer_extensions(&files)?;
    Ok(cluster)
}

/// Members of an extension, without their owner.
fn members(db: &mut Client, extension: &str) -> TestResult<Vec<String>> {
    rows(
        db,
        &format!(
            "select pg_describe_object(d.classid, d.objid, 0) from pg_depend d \
             join pg_extension e on e.oid = d.refobjid \
             where d.refclassid = 'pg_extension'::regclass and d.deptype = 'e' and e.extname = '{extension}' \
             order by 1"
        ),
    )
}

/// Tables and sequences whose rows a dump holds.
fn dumped(db: &mut Client) -> TestResult<String> {
    row(
        db,
        "select string_agg(r::regclass::text, ' ' order by r::regclass::text) \
         from pg_extension, unnest(extconfig) r where extname = 'pgq'",
    )
}

#[test]
fn the_extension_is_what_the_installer_makes() -> TestResult {
    let (_plain_cluster, mut plain) = cluster()?;
    let cluster = offering()?;
    let mut db = cluster.connect("postgres")?;
    db.batch_execute("create extension pgq; create extension pgq_ext; create extension pgq_coop")?;
    catalogue::assert_same(&mut db, &mut plain)?;
    for table in [
        "pgq.batch_id_seq",
        "pgq.capture",
        "pgq.consumer ",
        "pgq.consumer_co_id_seq",
        "pgq.event_template",
        "pgq.failed_queue",
        "pgq.queue ",
        "pgq.queue_queue_id_seq",
        "pgq.retry_queue",
        "pgq.subscription ",
        "pgq.subscription_sub_id_seq",
        "pgq.tick",
    ] {
        assert!(dumped(&mut db)?.contains(table), "{table}");
    }
    eager_queue(&mut db, "q")?;
    db.batch_execute("select pgq.register_consumer('q', 'c')")?;
    insert(&mut db, "a")?;
    assert_eq!(arrived(&mut db)?, ["a"]);

    // Installing what is an extension, and the other way round.
    let mut other = cluster.create_database("other")?;
    run_scripts(&mut other)?;
    assert_eq!(
        refusal(&mut other, "create extension pgq")?,
        "pgq is installed already, without an extension"
    );
    assert!(refusal(&mut db, "drop schema pgq cascade")?.contains("extension pgq requires it"));
    // Queues are no members: they have to be dropped first, or with it.
    assert!(refusal(&mut db, "drop extension pgq")?.contains("other objects depend on it"));
    db.batch_execute(
        "drop extension pgq_coop; drop extension pgq cascade; drop extension pgq_ext",
    )?;
    assert_eq!(
        row(
            &mut db,
            "select to_regnamespace('pgq'), to_regclass('pgq.event_1')"
        )?,
        "NULL|NULL"
    );
    db.batch_execute("create extension pgq")?;
    Ok(())
}

#[test]
fn what_is_installed_becomes_an_extension_and_ordinary_again() -> TestResult {
    let cluster = offering()?;
    let mut db = cluster.connect("postgres")?;
    let mut fresh = cluster.create_database("fresh")?;
    fresh.batch_execute(
        "create extension pgq; create extension pgq_ext; create extension pgq_coop",
    )?;
    run_scripts(&mut db)?;
    eager_queue(&mut db, "q")?;
    db.batch_execute("select pgq.register_consumer('q', 'c')")?;
    insert(&mut db, "open")?;
    tick(&mut db)?;
    let batch = row(&mut db, "select pgq.next_batch('q', 'c')")?;
    let data = "select q::text from pgq.queue q union all select s::text from pgq.subscription s \
                union all select e::text from pgq.event_template e order by 1";
    let before = rows(&mut db, data)?;
    for extension in ["pgq", "pgq_ext", "pgq_coop"] {
        db.batch_execute(&format!(
            "create extension {extension} version 'unpackaged'; alter extension {extension} update"
        ))?;
        assert_eq!(
            members(&mut db, extension)?,
            members(&mut fresh, extension)?
        );
    }
    assert_eq!(dumped(&mut db)?, dumped(&mut fresh)?);
    catalogue::assert_same(&mut db, &mut fresh)?;
    assert_eq!(rows(&mut db, data)?, before);
    assert_eq!(row(&mut db, "select pgq.next_batch('q', 'c')")?, batch);

    crate::support::run(&mut db, &["pgq/adopt.sql"])?;
    assert_eq!(
        row(
            &mut db,
            "select count(*) from pg_extension where extname like 'pgq%'"
        )?,
        "0"
    );
    catalogue::assert_same(&mut db, &mut fresh)?;
    assert_eq!(consume(&mut db)?, Some(vec!["open".to_owned()]));
    Ok(())
}

#[test]
fn an_extension_that_others_need_is_not_adopted() -> TestResult {
    let cluster = offering_more(&[
        (
            "pgq_node.control",
            "default_version = '3.5'\nrequires = 'pgq'\nschema = pg_catalog\n",
        ),
        ("pgq_node--3.5.sql", "create schema pgq_node;"),
    ])?;
    let mut db = cluster.connect("postgres")?;
    db.batch_execute("create extension pgq; create extension pgq_node")?;
    let adopt = crate::support::run(&mut db, &["pgq/adopt.sql"]);
    let error = format!("{:?}", adopt.expect_err("somebody needs it"));
    assert!(
        error.contains("other extensions need the extension pgq: pgq_node"),
        "{error}"
    );
    assert_eq!(
        row(
            &mut db,
            "select count(*) from pg_extension where extname like 'pgq%'"
        )?,
        "2"
    );
    db.batch_execute("drop extension pgq_node")?;
    crate::support::run(&mut db, &["pgq/adopt.sql"])
}

/// Dumps a database and restores it into a new one of the same server.
fn copy_database(cluster: &Cluster, from: &str, to: &str) -> TestResult<Client> {
    let db = cluster.create_database(to)?;
    let dump = tempfile::NamedTempFile::new()?;
    for (program, arguments) in [
        (
            "pg_dump",
            vec!["-f".to_owned(), dump.path().display().to_string()],
        ),
        (
            "psql",
            ["-X", "-q", "-v", "ON_ERROR_STOP=1", "-f"]
                .map(str::to_owned)
                .into_iter()
                .chain([dump.path().display().to_string()])
                .collect(),
        ),
    ] {
        let database = if program == "psql" { to } else { from };
        let output = Command::new(cluster.bindir().join(program))
            .args(arguments)
            .arg("-d")
            .arg(cluster.conninfo(database))
            .output()?;
        assert!(
            output.status.success(),
            "{program}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(db)
}

#[test]
fn a_dump_of_the_extension_restores_queues_and_numbers_nothing_twice() -> TestResult {
    let cluster = offering()?;
    for program in ["pg_dump", "psql"] {
        if !has_program(&cluster, program) {
            return Ok(());
        }
    }
    cluster
        .connect("postgres")?
        .batch_execute("create role reader_of_events")?;
    for (database, install) in [("as_extension", true), ("plain", false)] {
        let mut db = cluster.create_database(database)?;
        match install {
            true => db.batch_execute(
                "create extension pgq; create extension pgq_ext; create extension pgq_coop",
            )?,
            false => run_scripts(&mut db)?,
        }
        eager_queue(&mut db, "q")?;
        db.batch_execute(
            "select pgq.register_consumer('q', 'c'), pgq.register_consumer('q', 'd'), pgq_ext.set_last_tick('c', 7);
             grant select on pgq.event_template to reader_of_events; select pgq.grant_perms('q');
             create table t (id int primary key);
             select pgq.create_capture('t', 'capture', 'sql', 'row', '{q}')",
        )?;
        insert(&mut db, "retried")?;
        insert(&mut db, "failed")?;
        tick(&mut db)?;
        let batch = row(&mut db, "select pgq.next_batch('q', 'c')")?;
        db.batch_execute(&format!(
            "select pgq.event_retry({batch}, 1, 0), pgq.event_failed({batch}, 2, 'x')"
        ))?;

        let mut copy = copy_database(&cluster, database, &format!("copy_of_{database}"))?;
        catalogue::assert_same(&mut copy, &mut db)?;
        assert_eq!(members(&mut copy, "pgq")?, members(&mut db, "pgq")?);
        assert_eq!(row(&mut copy, "select pgq.next_batch('q', 'c')")?, batch);
        assert_eq!(
            consume(&mut copy)?,
            Some(vec!["retried".to_owned(), "failed".to_owned()])
        );
        assert_eq!(row(&mut copy, "select pgq.maint_retry_events()")?, "1");
        assert_eq!(arrived(&mut copy)?, ["retried"]);
        assert_eq!(
            row(&mut copy, "select pgq.failed_event_count('q', 'c')")?,
            "1"
        );
        assert_eq!(row(&mut copy, "select pgq_ext.get_last_tick('c')")?, "7");
        // What is new has numbers of its own.
        let newest = row(&mut db, "select last_value from pgq.event_1_id_seq")?;
        copy.batch_execute("insert into t values (1)")?;
        assert_eq!(
            row(
                &mut copy,
                &format!("select ev_data from pgq.event_1 where ev_id > {newest}")
            )?,
            "(id) values ('1')"
        );
        // Maintenance finds the table again, which has another number here.
        copy.batch_execute("select pgq.refresh_captures()")?;
        assert_eq!(
            row(
                &mut copy,
                "select cap_relid::regclass, cap_trigger from pgq.capture"
            )?,
            "t|capture"
        );
        assert_eq!(row(&mut copy, "select pgq.create_queue('new')")?, "1");
        assert_eq!(
            row(&mut copy, "select pgq.register_consumer('new', 'another')")?,
            "1"
        );
        assert_eq!(
            row(
                &mut copy,
                "select count(distinct sub_id), count(*) from pgq.subscription"
            )?,
            "3|3"
        );
        let next: i64 = row(
            &mut copy,
            "select pgq.ticker('q'); select pgq.next_batch('q', 'd')",
        )?
        .parse()?;
        assert!(next > batch.parse::<i64>()?);
        // Unregistering one consumer leaves the others.
        assert_eq!(
            row(
                &mut copy,
                "select pgq.unregister_consumer('new', 'another')"
            )?,
            "1"
        );
        assert_eq!(
            row(&mut copy, "select count(*) from pgq.get_consumer_info('q')")?,
            "2"
        );
    }
    Ok(())
}
