//! The bundled SQL, statement by statement.

use include_dir::{Dir, include_dir};
use postgres::Client;
use skytools::install::Scripts;
use skytools::quote::Strings;
use skytools::sql;
use testkit::{Cluster, TestResult};

static SQL: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../../sql");

static SCRIPTS: Scripts = Scripts {
    directories: &[("", &SQL)],
};

const INSTALLERS: [&str; 5] = [
    "txid/install.sql",
    "pgq/install.sql",
    "pgq_ext/install.sql",
    "pgq_coop/install.sql",
    "londiste/install.sql",
];

/// What the installers have made: functions, columns, keys and indexes, grants, contents.
fn contents(db: &mut Client) -> TestResult<Vec<String>> {
    let sql = r"
        with ours as (
            select oid, nspname, nspacl from pg_namespace where nspname in ('pgq', 'pgq_ext', 'pgq_coop', 'londiste')
        ), found (what) as (
            select concat_ws(' ', 'schema', nspname, nspacl) from ours
            union all
            select concat_ws(' ', pg_get_functiondef(p.oid), proacl)
            from pg_proc p join ours on ours.oid = pronamespace
            union all
            select concat_ws(' ', c.oid::regclass, relkind, relacl, reloptions, attname,
                             format_type(atttypid, atttypmod), attnotnull, attstorage,
                             pg_get_expr(adbin, adrelid))
            from pg_class c join ours on ours.oid = relnamespace
                 join pg_attribute a on attrelid = c.oid and attnum > 0
                 left join pg_attrdef d on adrelid = c.oid and adnum = attnum
            union all
            select concat_ws(' ', conrelid::regclass, conname, pg_get_constraintdef(c.oid))
            from pg_constraint c join ours on ours.oid = connamespace
            union all
            select pg_get_indexdef(indexrelid)
            from pg_index join pg_class c on c.oid = indexrelid join ours on ours.oid = relnamespace
        )
        select what from found order by what";
    Ok(db.query(sql, &[])?.iter().map(|row| row.get(0)).collect())
}

#[test]
fn running_the_bundled_sql_by_statements_is_running_it_whole() -> TestResult {
    let cluster = Cluster::start()?;
    let mut whole = cluster.create_database("whole")?;
    let mut split = cluster.create_database("split")?;
    let mut statements = 0;
    for installer in INSTALLERS {
        for file in SCRIPTS.files(installer)? {
            whole.batch_execute(&file.text)?;
            for statement in sql::statements(&file.text, Strings::Standard)? {
                let result = split.batch_execute(statement);
                result.map_err(|error| format!("{}: {error:?}\n{statement}", file.path))?;
                statements += 1;
            }
        }
    }
    assert!(statements > 50);
    let expected = contents(&mut whole)?;
    assert!(expected.len() > 100);
    assert_eq!(contents(&mut split)?, expected);
    Ok(())
}
