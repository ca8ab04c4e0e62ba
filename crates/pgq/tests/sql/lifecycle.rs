//! Installing, installing again, and what the files and the catalogue say about each other.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use postgres::Client;
use skytools::db::{Isolation, Tx};
use testkit::{Cluster, TestResult};

use crate::support::{
    cluster, cluster_with_consumer, consume, has_program, insert, row, rows, run_scripts, tick,
};

/// Everything about the schemas that installing decides.
const CATALOGUE: &str = "
    select format('%s %s', n.nspname, n.nspacl) from pg_namespace n where n.nspname in ('pgq', 'pgq_ext')
    union all
    select format('%s %s %s %s %s', c.oid::regclass, c.relkind, c.relacl, c.reloptions,
                  (select string_agg(format('%s %s %s %s %s', a.attnum, a.attname, format_type(a.atttypid, a.atttypmod),
                                            a.attnotnull, pg_get_expr(d.adbin, d.adrelid)), ', ' order by a.attnum)
                     from pg_attribute a
                     left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
                    where a.attrelid = c.oid and a.attnum > 0))
      from pg_class c where c.relnamespace::regnamespace::text in ('pgq', 'pgq_ext')
    union all
    select format('%s %s %s', k.conrelid::regclass, k.conname, pg_get_constraintdef(k.oid))
      from pg_constraint k where k.connamespace::regnamespace::text in ('pgq', 'pgq_ext')
    union all
    select pg_get_indexdef(i.indexrelid) from pg_index i
      join pg_class c on c.oid = i.indexrelid where c.relnamespace::regnamespace::text in ('pgq', 'pgq_ext')
    union all
    select format('%s %s %s', p.oid::regprocedure, p.proacl, pg_get_functiondef(p.oid))
      from pg_proc p where p.pronamespace::regnamespace::text in ('pgq', 'pgq_ext')
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

#[test]
fn psql_and_the_programs_install_the_same() -> TestResult {
    let (cluster, mut db) = cluster()?;
    if !has_program(&cluster, "psql") {
        return Ok(());
    }
    let mut other = cluster.create_database("other")?;
    for script in ["txid", "pgq", "pgq_ext"] {
        let output = Command::new(cluster.bindir().join("psql"))
            .args(["-X", "-q", "-1", "-v", "ON_ERROR_STOP=1", "-f"])
            .arg(sql_dir().join(script).join("install.sql"))
            .arg(cluster.conninfo("other"))
            .output()?;
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    assert_eq!(rows(&mut db, CATALOGUE)?, rows(&mut other, CATALOGUE)?);
    Ok(())
}

#[test]
fn the_installer_leaves_an_existing_schema_alone() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = cluster.connect("postgres")?;
    db.batch_execute("create schema pgq")?;
    let mut tx = Tx::begin(&mut db, Isolation::ReadCommitted)?;
    pgq::schema::install(&mut tx)?;
    tx.commit()?;
    assert_eq!(
        row(
            &mut db,
            "select to_regclass('pgq.queue') is null, to_regclass('pgq_ext.completed_tick') is null"
        )?,
        "t|f"
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
                    let mut db = cluster.connect("postgres")?;
                    let mut tx = Tx::begin(&mut db, Isolation::ReadCommitted)?;
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
    let (_cluster, mut db) = cluster_with_consumer()?;
    db.batch_execute(
        "create table t (id int primary key);
         create trigger capture after insert on t for each row execute function pgq.sqltriga('q')",
    )?;
    let mut tx = Tx::begin(&mut db, Isolation::ReadCommitted)?;
    for script in [
        "pgq_ext/uninstall.sql",
        "pgq/uninstall.sql",
        "txid/uninstall.sql",
    ] {
        pgq::schema::SCRIPTS.run(&mut tx, script)?;
    }
    tx.commit()?;
    db.batch_execute("insert into t values (1)")?;
    assert_eq!(
        row(
            &mut db,
            "select to_regnamespace('pgq') is null, to_regnamespace('pgq_ext') is null, to_regrole('pgq_admin')"
        )?,
        "t|t|pgq_admin"
    );
    Ok(())
}

#[test]
fn a_role_without_superuser_rights_can_install() -> TestResult {
    let cluster = Cluster::start()?;
    cluster.connect("postgres")?.batch_execute(
        "create role installer login createrole; grant create on database postgres to installer",
    )?;
    let conninfo = cluster
        .conninfo("postgres")
        .replace("user=postgres", "user=installer");
    let mut db = Client::connect(&conninfo, postgres::NoTls)?;
    run_scripts(&mut db)?;
    run_scripts(&mut db)?;
    crate::support::eager_queue(&mut db, "q")?;
    db.batch_execute("select pgq.register_consumer('q', 'c')")?;
    insert(&mut db, "a")?;
    assert_eq!(crate::support::arrived(&mut db)?, ["a"]);
    Ok(())
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
    for schema in ["pgq", "pgq_ext"] {
        let installed: BTreeSet<String> = pgq::schema::SCRIPTS
            .files(&format!("{schema}/install.sql"))?
            .into_iter()
            .filter_map(|file| Some(file.path.strip_prefix(&format!("{schema}/"))?.to_owned()))
            .collect();
        let mut present = files(schema)?;
        for script in [
            "install.sql",
            "uninstall.sql",
            "exists.sql",
            "newgrants.sql",
            "oldgrants.sql",
        ] {
            assert!(present.remove(script), "{schema}/{script} is missing");
        }
        // The choice between the two models of privileges; the others are in their scripts.
        present.insert("grants/keep.sql".to_owned());
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
                 where p.pronamespace::regnamespace::text in ('pgq', 'pgq_ext') and {condition}"
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
            "select pgq.version() ~ '^3\\.[0-9]+(\\.[0-9]+)?$', pgq_ext.version() ~ '^3\\.'"
        )?,
        "t|t"
    );
    Ok(())
}

#[test]
fn installers_find_the_version_in_one_line() -> TestResult {
    for (schema, version) in [("pgq", "3.6.0"), ("pgq_ext", "3.1")] {
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

/// Tables of version 2.1, with a queue, a consumer in a batch, and events to retry.
const VERSION_2: &str = "
    create schema pgq;
    create table pgq.consumer (co_id serial, co_name text not null default 'fooz',
        constraint consumer_pkey primary key (co_id), constraint consumer_name_uq unique (co_name));
    create table pgq.queue (queue_id serial, queue_name text not null, queue_ntables integer not null default 3,
        queue_cur_table integer not null default 0, queue_rotation_period interval not null default '2 hours',
        queue_switch_step1 bigint not null default txid_current(), queue_switch_step2 bigint default txid_current(),
        queue_switch_time timestamptz not null default now(), queue_external_ticker boolean not null default false,
        queue_ticker_max_count integer not null default 500, queue_ticker_max_lag interval not null default '3 seconds',
        queue_ticker_idle_period interval not null default '1 minute', queue_data_pfx text not null,
        queue_event_seq text not null, queue_tick_seq text not null,
        constraint queue_pkey primary key (queue_id), constraint queue_name_uq unique (queue_name));
    create table pgq.tick (tick_queue int4 not null, tick_id bigint not null, tick_time timestamptz not null default now(),
        tick_snapshot txid_snapshot not null default txid_current_snapshot(),
        constraint tick_pkey primary key (tick_queue, tick_id),
        constraint tick_queue_fkey foreign key (tick_queue) references pgq.queue (queue_id));
    create sequence pgq.batch_id_seq;
    create table pgq.subscription (sub_id serial not null, sub_queue int4 not null, sub_consumer int4 not null,
        sub_last_tick bigint not null, sub_active timestamptz not null default now(), sub_batch bigint, sub_next_tick bigint,
        constraint subscription_pkey primary key (sub_id), constraint subscription_ukey unique (sub_queue, sub_consumer),
        constraint sub_queue_fkey foreign key (sub_queue) references pgq.queue (queue_id),
        constraint sub_consumer_fkey foreign key (sub_consumer) references pgq.consumer (co_id));
    create table pgq.event_template (ev_id bigint not null, ev_time timestamptz not null,
        ev_txid bigint not null default txid_current(), ev_owner int4, ev_retry int4, ev_type text, ev_data text,
        ev_extra1 text, ev_extra2 text, ev_extra3 text, ev_extra4 text);
    create table pgq.retry_queue (ev_retry_after timestamptz not null, like pgq.event_template,
        constraint rq_pkey primary key (ev_owner, ev_id),
        constraint rq_owner_fkey foreign key (ev_owner) references pgq.subscription (sub_id));
    alter table pgq.retry_queue alter ev_owner set not null, alter ev_txid drop not null;
    create index rq_retry_idx on pgq.retry_queue (ev_retry_after);
    create index rq_retry_owner_idx on pgq.retry_queue (ev_owner, ev_id);
    create table pgq.failed_queue (ev_failed_reason text, ev_failed_time timestamptz not null, like pgq.event_template,
        constraint fq_pkey primary key (ev_owner, ev_id),
        constraint fq_owner_fkey foreign key (ev_owner) references pgq.subscription (sub_id));
    alter table pgq.failed_queue alter ev_owner set not null, alter ev_txid drop not null;
    create type pgq.ret_batch_info as (queue_name text, consumer_name text);
    create function pgq.get_batch_info(x_batch_id bigint) returns pgq.ret_batch_info language sql as 'select null::pgq.ret_batch_info';
    create function pgq.next_batch(x_queue_name text, x_consumer_name text) returns int8 language sql as 'select 1::int8';

    insert into pgq.queue (queue_name, queue_data_pfx, queue_event_seq, queue_tick_seq)
        values ('q', 'pgq.event_1', 'pgq.event_1_id_seq', 'pgq.event_1_tick_seq');
    create sequence pgq.event_1_id_seq; create sequence pgq.event_1_tick_seq;
    create table pgq.event_1 () inherits (pgq.event_template);
    create table pgq.event_1_0 () inherits (pgq.event_1);
    create table pgq.event_1_1 () inherits (pgq.event_1);
    create table pgq.event_1_2 () inherits (pgq.event_1);
    insert into pgq.tick (tick_queue, tick_id) values (1, nextval('pgq.event_1_tick_seq'));
    insert into pgq.consumer (co_name) values ('c');
    insert into pgq.subscription (sub_queue, sub_consumer, sub_last_tick) values (1, 1, 1)";

#[test]
fn tables_of_version_2_are_upgraded_with_their_batches_and_retries() -> TestResult {
    let (cluster, mut fresh) = cluster()?;
    let mut db = cluster.create_database("old")?;
    db.batch_execute(VERSION_2)?;
    db.batch_execute(
        "insert into pgq.event_1_0 (ev_id, ev_time, ev_data)
         values (nextval('pgq.event_1_id_seq'), now(), 'before')",
    )?;
    db.batch_execute(
        "insert into pgq.tick (tick_queue, tick_id) values (1, nextval('pgq.event_1_tick_seq'));
         update pgq.subscription set sub_batch = nextval('pgq.batch_id_seq'), sub_next_tick = 2;
         insert into pgq.retry_queue (ev_retry_after, ev_id, ev_time, ev_owner, ev_data)
         values (now(), 77, now(), 1, 'retried');
         insert into pgq.failed_queue (ev_failed_time, ev_id, ev_time, ev_owner, ev_data)
         values (now(), 78, now(), 1, 'failed')",
    )?;
    run_scripts(&mut db)?;
    assert_eq!(row(&mut db, "select pgq.upgrade_schema()")?, "0");

    // The open batch goes on; its ticks do not know how many events lie between them.
    assert_eq!(consume(&mut db)?, Some(vec!["before".to_owned()]));
    assert_eq!(row(&mut db, "select pgq.maint_retry_events()")?, "1");
    assert_eq!(
        row(
            &mut db,
            "select ev_data from pgq.failed_event_list('q', 'c')"
        )?,
        "failed"
    );
    db.batch_execute("select pgq.set_queue_config('q', 'ticker_max_lag', '0')")?;
    assert_eq!(crate::support::arrived(&mut db)?, ["retried"]);

    // As after a fresh installation, but for the order of columns and what a queue brings along.
    let structure = "
        select format('%s %s %s', c.oid::regclass, k.conname, pg_get_constraintdef(k.oid))
          from pg_class c join pg_constraint k on k.conrelid = c.oid
         where c.relnamespace = 'pgq'::regnamespace and k.contype <> 'n'
        union all
        select format('%s %s %s %s %s', c.oid::regclass, a.attname, format_type(a.atttypid, a.atttypmod),
                      a.attnotnull and a.attname <> 'tick_event_seq', pg_get_expr(d.adbin, d.adrelid))
          from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
          left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
         where c.relnamespace = 'pgq'::regnamespace and c.relkind = 'r' and c.relname !~ '^event_1'
        union all
        select indexdef from pg_indexes where schemaname = 'pgq' and tablename !~ '^event_1'
        union all
        select format('%s %s', p.oid::regprocedure, pg_get_functiondef(p.oid))
          from pg_proc p where p.pronamespace = 'pgq'::regnamespace
        order by 1";
    assert_eq!(rows(&mut db, structure)?, rows(&mut fresh, structure)?);
    Ok(())
}
