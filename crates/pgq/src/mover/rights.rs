//! What a role lacks for the work of a mover, as the grants that give it.
//!
//! The server names one object at a time, in its own language, and not what is missing; who has to ask somebody for
//! grants wants all of them at once.

use postgres::types::Type;
use skytools::db::{Connection, DbError, During};
use skytools::table::TableName;

/// Functions that a serial consumer calls at its source.
const OF_SOURCE: [&str; 6] = [
    "pgq.register_consumer",
    "pgq.get_consumer_info",
    "pgq.next_batch",
    "pgq.get_batch_info",
    "pgq.batch_event_sql",
    "pgq.finish_batch",
];

/// Those at its target.
const OF_TARGET: [&str; 2] = ["pgq_ext.get_last_tick", "pgq_ext.set_last_tick"];

/// What a mover does at the target beside keeping its position there.
#[derive(Debug, Clone, Default)]
pub struct Needs {
    /// Tables that it writes to.
    pub tables: Vec<TableName>,
    /// What it does with them.
    pub privileges: &'static [&'static str],
    /// Whether it makes tables beside them.
    pub creates: bool,
    /// Whether it makes temporary tables.
    pub temporary: bool,
}

/// `$1` functions, `$2` and `$3` schemas and names of tables, `$4` privileges on them, `$5` whether others are made in
/// their schemas, `$6` whether temporary ones are.
const LACKING: &str = "
with func as (
    select p.oid, n.nspname
      from pg_catalog.pg_proc p
      join pg_catalog.pg_namespace n on n.oid = p.pronamespace
     where n.nspname || '.' || p.proname = any ($1)
), tab as (
    select c.oid, wanted.rel, n.nspname, n.oid as nspoid
      from rows from (pg_catalog.unnest($2::text[]), pg_catalog.unnest($3::text[])) wanted (nsp, rel)
      join pg_catalog.pg_namespace n on n.nspname = wanted.nsp
      left join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = wanted.rel
), lacking (place, privilege) as (
    select 1, pg_catalog.format('temporary on database %I', pg_catalog.current_database())
     where $6 and not pg_catalog.has_database_privilege(pg_catalog.current_database(), 'temporary')
    union
    select 2, pg_catalog.format('usage on schema %I', s.nspname)
      from (select nspname from func union select nspname from tab) s
     where not pg_catalog.has_schema_privilege(s.nspname, 'usage')
    union
    select 3, coalesce((select r.name
                          from pg_catalog.unnest('{pgq_reader,pgq_writer,pgq_admin}'::name[]) with ordinality r (name, place)
                         where f.nspname in ('pgq', 'pgq_ext')
                           and pg_catalog.to_regrole(r.name::text) is not null
                           and pg_catalog.has_function_privilege(r.name, f.oid, 'execute')
                         order by r.place
                         limit 1),
                       pg_catalog.format('execute on all functions in schema %I', f.nspname))
      from func f
     where not pg_catalog.has_function_privilege(f.oid, 'execute')
    union
    select 4, pg_catalog.format('create on schema %I', t.nspname)
      from tab t
     where $5 and not pg_catalog.has_schema_privilege(t.nspoid, 'create')
    union
    select 5, pg_catalog.format('%s on %I.%I', p.names, t.nspname, t.rel)
      from tab t
     cross join lateral (select pg_catalog.string_agg(p.name, ', ' order by p.place) as names
                           from pg_catalog.unnest($4::text[]) with ordinality p (name, place)
                          where not pg_catalog.has_table_privilege(t.oid, p.name)) p
     where p.names is not null
)
select pg_catalog.format('grant %s to %I', privilege, current_user) from lacking order by place, 1";

/// The grants that a role lacks at the source.
pub(super) fn lacking_at_source(db: &mut Connection) -> Result<Vec<String>, DbError> {
    lacking(db, &OF_SOURCE, &Needs::default())
}

/// Those that it lacks at the target.
pub(super) fn lacking_at_target(
    db: &mut Connection,
    needs: &Needs,
) -> Result<Vec<String>, DbError> {
    lacking(db, &OF_TARGET, needs)
}

fn lacking(db: &mut Connection, functions: &[&str], needs: &Needs) -> Result<Vec<String>, DbError> {
    let schemas: Vec<&str> = needs.tables.iter().map(TableName::schema).collect();
    let names: Vec<&str> = needs.tables.iter().map(TableName::name).collect();
    let rows = db
        .query_typed(
            LACKING,
            &[
                (&functions, Type::TEXT_ARRAY),
                (&schemas, Type::TEXT_ARRAY),
                (&names, Type::TEXT_ARRAY),
                (&needs.privileges, Type::TEXT_ARRAY),
                (&needs.creates, Type::BOOL),
                (&needs.temporary, Type::BOOL),
            ],
        )
        .during("look at the privileges")?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
