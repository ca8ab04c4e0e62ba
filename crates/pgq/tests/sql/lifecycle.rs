//! Installing, installing again, and what the files and the catalogue say about each other.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use postgres::Client;
use testkit::{Cluster, TestResult};

use crate::catalogue;
use crate::support::{
    Heard, cluster, cluster_with_consumer, connect_and_hear, consume, has_program, insert, open,
    refusal, row, rows, run, run_scripts, succeed, tick,
};

/// Everything about the schemas that installing decides.
const CATALOGUE: &str = "
    select format('%s %s', n.nspname, n.nspacl) from pg_namespace n where n.nspname in ('pgq', 'pgq_ext', 'pgq_coop')
    union all
    select format('%s %s %s %s %s', c.oid::regclass, c.relkind, c.relacl, c.reloptions,
                  (select string_agg(format('%s %s %s %s %s', a.attnum, a.attname, format_type(a.atttypid, a.atttypmod),
                                            a.attnotnull, pg_get_expr(d.adbin, d.adrelid)), ', ' order by a.attnum)
                     from pg_attribute a
                     left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
                    where a.attrelid = c.oid and a.attnum > 0))
      from pg_class c where c.relnamespace::regnamespace::text in ('pgq', 'pgq_ext', 'pgq_coop')
    union all
    select format('%s %s %s', k.conrelid::regclass, k.conname, pg_get_constraintdef(k.oid))
      from pg_constraint k where k.connamespace::regnamespace::text in ('pgq', 'pgq_ext', 'pgq_coop')
    union all
    select pg_get_indexdef(i.indexrelid) from pg_index i
      join pg_class c on c.oid = i.indexrelid where c.relnamespace::regnamespace::text in ('pgq', 'pgq_ext', 'pgq_coop')
    union all
    select format('%s %s %s', p.oid::regprocedure, p.proacl, pg_get_functiondef(p.oid))
      from pg_proc p where p.pronamespace::regnamespace::text in ('pgq', 'pgq_ext', 'pgq_coop')
    union all
    select format('%s %s', r.rolname, (select string_agg(m.roleid::regrole::text, ',' order by 1)
                                         from pg_auth_members m where m.member = r.oid))
      from pg_roles r where r.rolname ~ '^pgq'
    order by 1";

fn sql_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sql")
}

#[test]
fn installing_again_changes_neither_catalogue_nor_data() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    for data in ["a", "b"] {
        insert(&mut db, data)?;
    }
    tick(&mut db)?;
    let batch = row(&mut db, "select pgq.next_batch('q', 'c')")?;
    db.batch_execute(&format!(
        "select pgq.event_retry({batch}, 1, 0), pgq.event_failed({batch}, 2, 'x'), pgq_ext.set_last_tick('c', 7)"
    ))?;
    let data = "select q, s, t::text, e, r, f, x from pgq.queue q, pgq.subscription s, pgq.tick t, \
                pgq.event_template e, pgq.retry_queue r, pgq.failed_queue f, pgq_ext.completed_tick x order by t, e";
    let before = (rows(&mut db, CATALOGUE)?, rows(&mut db, data)?);
    assert!(before.0.len() > 100 && before.1.len() == 4, "{before:?}");
    run_scripts(&mut db)?;
    assert_eq!(before, (rows(&mut db, CATALOGUE)?, rows(&mut db, data)?));
    assert_eq!(
        consume(&mut db)?,
        Some(vec!["a".to_owned(), "b".to_owned()])
    );
    Ok(())
}

/// Runs files below `sql/` with psql, in one transaction.
fn psql(cluster: &Cluster, database: &str, files: &[&str]) -> TestResult {
    let mut command = Command::new(cluster.bindir().join("psql"));
    command.args(["-X", "-q", "-1", "-v", "ON_ERROR_STOP=1"]);
    for file in files {
        command.arg("-f").arg(sql_dir().join(file));
    }
    let output = command.arg(cluster.conninfo(database)).output()?;
    assert!(
        output.status.success(),
        "{files:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

#[test]
fn what_older_versions_wrote_code_with_goes_and_what_that_code_calls_stays() -> TestResult {
    let (cluster, mut db) = cluster()?;
    db.batch_execute(
        "select pgq.create_queue('q'); create table t (id int primary key, a text);
         select pgq.create_capture('t', 'c', 'sql', 'row', array['q'])",
    )?;
    let functions =
        "select oid::regprocedure from pg_proc where pronamespace = 'pgq_gen'::regnamespace
                      order by proname, oid";
    let ours = rows(&mut db, functions)?;
    let older = "create function pgq_gen._joined(integer) returns text language sql as 'select null::text';
                 create function pgq_gen._gone() returns text language sql as 'select null::text';
                 create function pgq_gen.called() returns text language sql as 'select null::text';
                 create function pgq_gen._needed(text) returns boolean language sql immutable as 'select true';
                 create table if not exists needs (a text check (pgq_gen._needed(a)))";
    for one_by_one in [false, true] {
        if one_by_one && !has_program(&cluster, "psql") {
            break;
        }
        db.batch_execute(older)?;
        match one_by_one {
            false => run_scripts(&mut db)?,
            true => succeed(
                Command::new(cluster.bindir().join("psql"))
                    .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-f"])
                    .arg(sql_dir().join("dist/pgq.upgrade.sql"))
                    .arg(cluster.conninfo("postgres")),
            )
            .map(drop)?,
        }
        let mut left = rows(&mut db, functions)?;
        left.retain(|function| !ours.contains(function));
        assert_eq!(left, ["pgq_gen._needed(text)", "pgq_gen.called()"]);
        db.batch_execute(
            "drop table needs; drop function pgq_gen._needed(text), pgq_gen.called();
             insert into t values (1); delete from t",
        )?;
    }
    assert_eq!(rows(&mut db, functions)?, ours);
    Ok(())
}

#[test]
fn psql_and_the_programs_install_the_same() -> TestResult {
    let (cluster, mut db) = cluster()?;
    if !has_program(&cluster, "psql") {
        return Ok(());
    }
    let mut other = cluster.create_database("other")?;
    let scripts = [
        "txid/install.sql",
        "pgq/install.sql",
        "pgq_ext/install.sql",
        "pgq_coop/install.sql",
    ];
    psql(&cluster, "other", &scripts)?;
    assert_eq!(rows(&mut db, CATALOGUE)?, rows(&mut other, CATALOGUE)?);
    let mut third = cluster.create_database("third")?;
    let installers = [
        "dist/txid.sql",
        "dist/pgq.sql",
        "dist/pgq_ext.sql",
        "dist/pgq_coop.sql",
    ];
    psql(&cluster, "third", &installers)?;
    assert_eq!(rows(&mut db, CATALOGUE)?, rows(&mut third, CATALOGUE)?);
    Ok(())
}

#[test]
fn each_installer_works_as_one_string_and_leaves_the_session_as_it_was() -> TestResult {
    let (cluster, mut expected) = cluster()?;
    let mut db = cluster.create_database("other")?;
    let text = |name: &str| fs::read_to_string(sql_dir().join("dist").join(name));
    let settings = "select string_agg(name || '=' || setting, ' ' order by name) from pg_settings \
                    where name in ('search_path', 'client_min_messages', 'lock_timeout', 'check_function_bodies')";
    let before = row(&mut db, settings)?;
    for name in [
        "pgq.upgrade.sql",
        "pgq_ext.upgrade.sql",
        "pgq_coop.upgrade.sql",
    ] {
        assert!(
            refusal(&mut db, &text(name)?)?.starts_with("there is no schema"),
            "{name}"
        );
    }
    for name in [
        "txid.sql",
        "pgq.sql",
        "pgq_ext.sql",
        "pgq_coop.sql",
        "pgq.upgrade.sql",
        "pgq_pl_only.sql",
        "pgq_pl_only.upgrade.sql",
        "pgq_ext.upgrade.sql",
        "pgq_coop.upgrade.sql",
        "oldgrants_pgq.sql",
        "newgrants_pgq.sql",
        "pgq_plpgsql.sql",
        "adopt_pgq.sql",
    ] {
        db.batch_execute(&text(name)?)
            .map_err(|error| format!("{name}: {error:?}"))?;
        if name.ends_with("_coop.sql") || name.starts_with("pgq.up") {
            catalogue::assert_same(&mut db, &mut expected)?;
        }
    }
    catalogue::assert_same(&mut db, &mut expected)?;
    assert_eq!(row(&mut db, settings)?, before);
    for name in ["uninstall_pgq.sql", "uninstall_txid.sql"] {
        db.batch_execute(&text(name)?)?;
    }
    assert_eq!(row(&mut db, "select to_regnamespace('pgq')")?, "NULL");
    Ok(())
}

#[test]
fn the_installer_leaves_an_existing_schema_alone() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = cluster.connect("postgres")?;
    db.batch_execute("create schema pgq")?;
    let mut own = open(&cluster.conninfo("postgres"))?;
    let mut tx = own.begin()?;
    pgq::schema::install(&mut tx)?;
    tx.commit()?;
    assert_eq!(
        row(
            &mut db,
            "select to_regclass('pgq.queue') is null, to_regclass('pgq_ext.completed_tick') is null, \
             to_regnamespace('pgq_coop') is null"
        )?,
        "t|f|t"
    );
    Ok(())
}

#[test]
fn two_installers_at_once_install_once() -> TestResult {
    let cluster = Cluster::start()?;
    std::thread::scope(|scope| -> TestResult {
        let installers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| -> TestResult {
                    let mut own = open(&cluster.conninfo("postgres"))?;
                    let mut tx = own.begin()?;
                    pgq::schema::install(&mut tx)?;
                    tx.commit()?;
                    Ok(())
                })
            })
            .collect();
        for installer in installers {
            installer.join().expect("installers do not panic")?;
        }
        Ok(())
    })?;
    let mut db = cluster.connect("postgres")?;
    assert_eq!(row(&mut db, "select pgq.version()")?, "3.6.0");
    Ok(())
}

#[test]
fn uninstalling_removes_everything_but_the_roles() -> TestResult {
    let (cluster, _first) = cluster_with_consumer()?;
    let (tell, told) = std::sync::mpsc::channel();
    let mut config: postgres::Config = cluster.conninfo("postgres").parse()?;
    config.notice_callback(move |notice| {
        if notice.message().starts_with("dropping trigger") {
            tell.send(notice.message().to_owned())
                .expect("the test listens to the end");
        }
    });
    let mut db = config.connect(postgres::NoTls)?;
    db.batch_execute(
        "create table t (id int primary key);
         create trigger capture after insert on t for each row execute function pgq.sqltriga('q');
         create schema s;
         create table s.\"T\" (id int primary key);
         select pgq.create_capture('s.\"T\"', 'to_q', 'json', 'row', array['q'])",
    )?;
    run(
        &mut db,
        &[
            "pgq_coop/uninstall.sql",
            "pgq_ext/uninstall.sql",
            "pgq/uninstall.sql",
            "txid/uninstall.sql",
        ],
    )?;
    db.batch_execute("insert into t values (1); insert into s.\"T\" values (1)")?;
    assert_eq!(
        row(
            &mut db,
            "select to_regnamespace('pgq') is null, to_regnamespace('pgq_gen') is null, \
             to_regnamespace('pgq_ext') is null, to_regnamespace('pgq_coop') is null, to_regrole('pgq_admin')"
        )?,
        "t|t|t|t|pgq_admin"
    );
    let mut told: Vec<String> = told.try_iter().collect();
    told.sort();
    assert_eq!(
        told,
        [
            "dropping trigger capture on t",
            "dropping trigger to_q on s.\"T\""
        ]
    );
    Ok(())
}

/// A connection of the role `installer`, and what the server has told it.
fn installer(cluster: &Cluster, attributes: &str, roles: &str) -> TestResult<(Client, Heard)> {
    cluster.connect("postgres")?.batch_execute(&format!(
        "create role installer login {attributes}; grant create on database postgres to installer; {roles}"
    ))?;
    connect_and_hear(cluster, "installer")
}

/// An event comes through, with the rights of the role that installed.
fn works(db: &mut Client) -> TestResult {
    crate::support::eager_queue(db, "q")?;
    db.batch_execute("select pgq.register_consumer('q', 'c')")?;
    insert(db, "a")?;
    assert_eq!(crate::support::arrived(db)?, ["a"]);
    Ok(())
}

#[test]
fn a_role_without_superuser_rights_can_install() -> TestResult {
    let cluster = Cluster::start()?;
    let (mut db, told) = installer(&cluster, "createrole", "")?;
    run_scripts(&mut db)?;
    run_scripts(&mut db)?;
    assert_eq!(told.take(), [] as [&str; 0]);
    works(&mut db)?;
    catalogue::assert_same(&mut db, &mut cluster.connect("postgres")?)
}

#[test]
fn roles_that_exist_without_their_memberships_are_completed_or_warned_about() -> TestResult {
    let cluster = Cluster::start()?;
    let roles = "create role pgq_reader; create role pgq_writer; create role pgq_admin";
    let (mut db, told) = installer(&cluster, "createrole", roles)?;
    run_scripts(&mut db)?;
    works(&mut db)?;
    let members = "select count(*) from pg_auth_members where member = 'pgq_admin'::regrole";
    let told = told.take();
    // Since 16 a role may nest only roles that it administers.
    if cluster.major() >= 16 {
        assert_eq!(
            told[..2],
            [
                "cannot make pgq_admin a member of pgq_reader: ask a superuser for \"grant pgq_reader to pgq_admin\"",
                "cannot make pgq_admin a member of pgq_writer: ask a superuser for \"grant pgq_writer to pgq_admin\"",
            ]
        );
        assert_eq!(row(&mut db, members)?, "0");
        run_scripts(&mut cluster.connect("postgres")?)?;
    } else {
        assert_eq!(told, [] as [&str; 0]);
    }
    assert_eq!(row(&mut db, members)?, "2");
    Ok(())
}

#[test]
fn a_role_that_may_create_no_roles_can_install_where_they_exist() -> TestResult {
    let cluster = Cluster::start()?;
    let (mut db, told) = installer(&cluster, "", "")?;
    let error = format!("{:?}", run_scripts(&mut db).expect_err("no roles"));
    assert!(
        error.contains("there is no role pgq_reader, and installer may not create it"),
        "{error}"
    );
    cluster.connect("postgres")?.batch_execute(
        "create role pgq_reader; create role pgq_writer; create role pgq_admin in role pgq_reader, pgq_writer",
    )?;
    run_scripts(&mut db)?;
    assert_eq!(told.take(), [] as [&str; 0]);
    works(&mut db)
}

/// Files below `sql/SCHEMA`, relative to it.
fn files(schema: &str) -> TestResult<BTreeSet<String>> {
    let root = sql_dir().join(schema);
    let mut files = BTreeSet::new();
    for directory in ["", "tables", "functions", "triggers"] {
        let Ok(entries) = fs::read_dir(root.join(directory)) else {
            continue;
        };
        for entry in entries {
            let path = entry?.path();
            if path.is_file() {
                files.insert(path.strip_prefix(&root)?.to_string_lossy().into_owned());
            }
        }
    }
    Ok(files)
}

#[test]
fn every_file_is_installed_and_every_function_has_its_file() -> TestResult {
    let (_cluster, mut db) = cluster()?;
    for schema in ["pgq", "pgq_ext", "pgq_coop"] {
        let installed: BTreeSet<String> = pgq::schema::SCRIPTS
            .files(&format!("{schema}/install.sql"))?
            .into_iter()
            .filter_map(|file| Some(file.path.strip_prefix(&format!("{schema}/"))?.to_owned()))
            .collect();
        let mut present = files(schema)?;
        let scripts = ["install.sql", "uninstall.sql", "exists.sql"];
        let models = ["newgrants.sql", "oldgrants.sql"];
        // Version 2 had no cooperative consumers.
        let models = if schema == "pgq_coop" {
            &[]
        } else {
            // The choice between the two models of privileges; the others are in their scripts.
            present.insert("grants/keep.sql".to_owned());
            &models[..]
        };
        for script in scripts.iter().chain(models) {
            assert!(present.remove(*script), "{schema}/{script} is missing");
        }
        present.remove("adopt.sql");
        assert_eq!(installed, present, "{schema}");

        let functions: BTreeSet<String> = rows(
            &mut db,
            &format!(
                "select distinct format('%s/{schema}.%s.sql', \
                 case when prorettype = 'trigger'::regtype then 'triggers' else 'functions' end, proname) \
                 from pg_proc where pronamespace = '{schema}'::regnamespace"
            ),
        )?
        .into_iter()
        .collect();
        let of_functions: BTreeSet<String> = present
            .into_iter()
            .filter(|file| file.starts_with("functions/") || file.starts_with("triggers/"))
            .collect();
        assert_eq!(functions, of_functions, "{schema}");
    }
    Ok(())
}

#[test]
fn functions_keep_the_rules_of_the_house() -> TestResult {
    let (_cluster, mut db) = cluster()?;
    let offenders = |db: &mut Client, condition: &str| {
        rows(
            db,
            &format!(
                "select p.oid::regprocedure from pg_proc p \
                 where p.pronamespace::regnamespace::text in ('pgq', 'pgq_ext', 'pgq_coop') and {condition}"
            ),
        )
    };
    let none: [&str; 0] = [];
    assert_eq!(
        offenders(
            &mut db,
            "prosecdef and not coalesce(proconfig @> array['search_path=pg_catalog, ' || pronamespace::regnamespace \
             || ', pg_temp'], false)"
        )?,
        none,
        "security definer without a pinned search_path"
    );
    assert_eq!(
        offenders(&mut db, "prosecdef and prorettype = 'trigger'::regtype")?,
        none,
        "triggers run expressions of users"
    );
    // The header is inside the body: `\sf` shows it, with name and number of arguments.
    assert_eq!(
        offenders(
            &mut db,
            "not prosrc ~ ('^\\s*-- ' || pronamespace::regnamespace || '\\.' || proname || '\\(')"
        )?,
        none,
        "no header"
    );
    assert_eq!(
        offenders(&mut db, "not prosrc ~ '\\n-- Used by: '")?,
        none,
        "header without its users"
    );
    assert_eq!(
        row(
            &mut db,
            "select pgq.version() ~ '^3\\.[0-9]+(\\.[0-9]+)?$', pgq_ext.version() ~ '^3\\.', \
             pgq_coop.version() ~ '^3\\.1\\.[1-9]'"
        )?,
        "t|t|t"
    );
    Ok(())
}

#[test]
fn installers_find_the_version_in_one_line() -> TestResult {
    for (schema, version) in [("pgq", "3.6.0"), ("pgq_ext", "3.3"), ("pgq_coop", "3.1.1")] {
        let lines: Vec<String> = pgq::schema::SCRIPTS
            .files(&format!("{schema}/install.sql"))?
            .iter()
            .flat_map(|file| file.text.lines().map(str::to_owned).collect::<Vec<_>>())
            .filter(|line| {
                line.starts_with(' ')
                    && line
                        .trim()
                        .strip_prefix("return '")
                        .and_then(|rest| rest.strip_suffix("';"))
                        .is_some_and(|text| {
                            !text.is_empty() && text.chars().all(|c| c.is_ascii_digit() || c == '.')
                        })
            })
            .collect();
        assert_eq!(lines, [format!("    return '{version}';")]);
    }
    Ok(())
}
