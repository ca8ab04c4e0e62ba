//! Which privileges a role lacks for what it was to do, as statements that give them.
//!
//! The server names one object at a time, in its own language; who has to ask somebody for grants wants all
//! of them at once. So when something is refused, all that the work takes is looked at.

use postgres::types::Type;
use skytools::daemon::Job;
use skytools::db::{Connection, Database, DbError, During, denied_on};
use skytools::table::TableName;

use crate::schema::Side;
use crate::{Config, Error};

/// What a role does on a side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// `install`.
    Install,
    /// The other commands `provider`.
    Publish,
    /// The other commands `subscriber`.
    Subscribe,
    /// Replay.
    Replay,
    /// A copy.
    Copy,
    /// `compare`, and `repair` that writes files.
    Compare,
    /// `repair --apply`.
    Repair,
    /// Looking at how it does: `status`, `node status`, lists.
    Look,
    /// Changing the places of nodes in a cascade.
    Cascade,
}

/// What it takes.
#[derive(Debug, Default)]
struct Needs {
    /// Create schemas that are missing.
    schemas: &'static [&'static str],
    /// Execute functions, of whatever arguments.
    functions: &'static [&'static str],
    /// Privileges on all tables of the schema `londiste`: more than what everybody may see.
    registry: &'static [&'static str],
    /// Privileges on tables …
    privileges: &'static [&'static str],
    /// … and tables beside those that are replicated.
    tables: &'static [&'static str],
    /// Own the tables: the owner of this function, or the role itself where there is none of the name.
    definer: Option<&'static str>,
    /// Make indexes of the tables.
    builds: bool,
    /// No more than the functions that are named: others of the schema change something.
    one_by_one: bool,
}

fn needs(work: Work, side: Side) -> Needs {
    let provider = side == Side::Provider;
    Needs {
        schemas: match (work, provider) {
            (Work::Install, true) => &["pgq", "londiste"],
            (Work::Install, false) => &["londiste"],
            _ => &[],
        },
        functions: match (work, provider) {
            (Work::Install, true) => &["pgq.create_queue", "londiste.node_create"],
            (Work::Install, false) => &[],
            (Work::Publish, true) => &[
                "londiste.provider_add_table",
                "londiste.provider_remove_table",
                "londiste.provider_refresh_trigger",
                "londiste.provider_add_seq",
                "londiste.provider_check",
                "londiste.execute_start",
            ],
            (Work::Subscribe, true) => &["pgq.register_consumer", "pgq.unregister_consumer"],
            (Work::Publish | Work::Subscribe, false) => &[
                "londiste.node_provider",
                "londiste.subscriber_add_table",
                "londiste.subscriber_remove_table",
                "londiste.subscriber_set_table_state",
                "londiste.subscriber_drop_all_table_triggers",
                "londiste.subscriber_add_seq",
            ],
            (Work::Replay | Work::Copy, true) => &[
                "pgq.register_consumer",
                "pgq.next_batch",
                "pgq.batch_event_sql",
                "pgq.finish_batch",
                "londiste.node_join",
            ],
            (Work::Replay | Work::Copy, false) => &[
                "londiste.set_last_tick",
                "londiste.subscriber_set_table_state",
                "londiste.set_job_error",
                "londiste.node_join",
            ],
            (Work::Compare | Work::Repair, true) => &["pgq.force_tick", "pgq.ticker"],
            (Work::Compare | Work::Repair, false) => &["londiste.hold_last_tick"],
            (Work::Look, true) => &[],
            (Work::Look, false) => &[
                "londiste.subscriber_get_queue_valid_pending_fkeys",
                "londiste.subscriber_get_table_pending_fkeys",
                "londiste.subscriber_get_table_pending_triggers",
            ],
            (Work::Cascade, true) => &["pgq.set_queue_config", "londiste.node_create"],
            (Work::Cascade, false) => &[
                "pgq.set_queue_config",
                "londiste.node_join",
                "londiste.relay_create",
                "londiste.relay_promote",
                "londiste.node_resurrect",
            ],
        },
        registry: match work {
            Work::Replay | Work::Copy => &["select"],
            Work::Cascade => &["select", "insert", "update", "delete"],
            _ => &[],
        },
        privileges: match (work, provider) {
            (Work::Copy, true) | (Work::Compare | Work::Look, _) | (Work::Repair, true) => {
                &["select"]
            }
            (Work::Replay, false) => &["select", "insert", "update", "delete", "truncate"],
            (Work::Repair, false) => &["select", "insert", "update", "delete"],
            _ => &[],
        },
        tables: match (work, provider) {
            (Work::Look, false) => &[
                "londiste.copy_progress",
                "londiste.job_error",
                "londiste.subscriber_pending_fkeys",
                "londiste.subscriber_pending_triggers",
            ],
            _ => &[],
        },
        definer: match (work, provider) {
            (Work::Publish, true) => Some("londiste.provider_add_table"),
            (Work::Subscribe, false) => Some("londiste.subscriber_drop_table_trigger"),
            (Work::Copy, false) => Some(""),
            _ => None,
        },
        builds: work == Work::Copy && !provider,
        one_by_one: work == Work::Look,
    }
}

/// Adds to an error what the role lacks, if that is why it came, and it can be found out.
pub(crate) fn explain(error: Error, job: &Job<Config>, work: Work, tables: &[String]) -> Error {
    let side = match denied_on(&error) {
        Some("provider_db") => Side::Provider,
        Some("subscriber_db") => Side::Subscriber,
        _ => return error,
    };
    let database = match side {
        Side::Provider => job.config.provider(&job.common),
        Side::Subscriber => job.config.subscriber(&job.common),
    };
    match database {
        Ok(mut database) => match database.connection() {
            Ok(db) => explain_on(error, db, side, work, tables),
            Err(_) => error,
        },
        Err(_) => error,
    }
}

/// As [`explain`], for an error that came at a database which serves as this side.
pub(crate) fn explain_at(error: Error, database: &mut Database, side: Side, work: Work) -> Error {
    // One that is in a failed transaction is of no use.
    database.reset();
    match database.connection() {
        Ok(db) => explain_on(error, db, side, work, &[]),
        Err(_) => error,
    }
}

/// As [`explain`], for an error that came on this side, on another connection to it.
pub(crate) fn explain_on(
    error: Error,
    db: &mut Connection,
    side: Side,
    work: Work,
    tables: &[String],
) -> Error {
    let said = matches!(error, Error::Denied { .. } | Error::MayNotCreate { .. });
    let database = match denied_on(&error) {
        Some(database) if !said => database.to_owned(),
        _ => return error,
    };
    match missing(db, &needs(work, side), tables) {
        Ok(grants) if !grants.is_empty() => Error::Denied {
            database,
            grants,
            source: Box::new(error),
        },
        _ => error,
    }
}

/// `$1` schemas to be created, `$2` functions, `$3` and `$4` schemas and names of tables, `$5` privileges on them,
/// `$6` a function whose owner changes them, `$7` privileges on the tables of Londiste,
/// `$8` whether indexes are made, `$9` whether functions are named one by one.
const MISSING: &str = "
with definer as (
    select coalesce((select p.proowner
                       from pg_catalog.pg_proc p
                       join pg_catalog.pg_namespace n on n.oid = p.pronamespace
                      where n.nspname || '.' || p.proname = $6
                      limit 1),
                    (select r.oid from pg_catalog.pg_roles r where r.rolname = current_user)) as oid
), func as (
    select p.oid, n.nspname,
           case when $9 then pg_catalog.format('function %I.%I(%s)', n.nspname, p.proname,
                                               pg_catalog.pg_get_function_identity_arguments(p.oid))
                else pg_catalog.format('all functions in schema %I', n.nspname) end as name
      from pg_catalog.pg_proc p
      join pg_catalog.pg_namespace n on n.oid = p.pronamespace
     where n.nspname || '.' || p.proname = any ($2)
), tab as (
    select c.oid, c.relowner, c.relname, n.nspname, n.oid as nspoid
      from rows from (pg_catalog.unnest($3::text[]), pg_catalog.unnest($4::text[])) wanted (nsp, rel)
      join pg_catalog.pg_namespace n on n.nspname = wanted.nsp
      join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = wanted.rel
), lacking (place, privilege, grantee) as (
    select 1, pg_catalog.format('create on database %I', pg_catalog.current_database()), current_user
     where exists (select from pg_catalog.unnest($1::text[]) s where pg_catalog.to_regnamespace(pg_catalog.quote_ident(s)) is null)
       and not pg_catalog.has_database_privilege(pg_catalog.current_database(), 'create')
    union
    select 2, pg_catalog.format('usage on schema %I', s.nspname), current_user
      from (select nspname from func union select nspname from tab) s
     where not pg_catalog.has_schema_privilege(s.nspname, 'usage')
    union
    select 3, coalesce((select r.name::text
                          from pg_catalog.unnest('{pgq_reader,pgq_admin}'::name[]) with ordinality r (name, place)
                         where f.nspname = 'pgq'
                           and pg_catalog.to_regrole(r.name::text) is not null
                           and pg_catalog.has_function_privilege(r.name, f.oid, 'execute')
                         order by r.place
                         limit 1),
                       'execute on ' || f.name), current_user
      from func f
     where not pg_catalog.has_function_privilege(f.oid, 'execute')
    union
    select 4, pg_catalog.format('%s on %I.%I', p.names, t.nspname, t.relname), current_user
      from tab t
     cross join lateral (select pg_catalog.string_agg(p.name, ', ' order by p.place) as names
                           from pg_catalog.unnest($5::text[]) with ordinality p (name, place)
                          where not pg_catalog.has_table_privilege(t.oid, p.name)) p
     where p.names is not null
    union
    select 4, pg_catalog.string_agg(p.name, ', ' order by p.place) || ' on all tables in schema londiste', current_user
      from pg_catalog.unnest($7::text[]) with ordinality p (name, place)
     where exists (select from pg_catalog.pg_class c
                    where c.relnamespace = pg_catalog.to_regnamespace('londiste')::oid
                      and c.relkind = 'r'
                      and not pg_catalog.has_table_privilege(c.oid, p.name))
    having pg_catalog.count(*) > 0
    union
    select 5, pg_catalog.format('%I', o.rolname), d.rolname
      from tab t
      join pg_catalog.pg_roles o on o.oid = t.relowner
      join definer on not pg_catalog.pg_has_role(definer.oid, t.relowner, 'usage')
      join pg_catalog.pg_roles d on d.oid = definer.oid
     where $6 is not null
    union
    select 6, pg_catalog.format('create on schema %I', t.nspname), current_user
      from tab t
     where $8 and not pg_catalog.has_schema_privilege(t.nspoid, 'create')
    union
    -- Policies would hide rows; nobody has asked for a part of a table.
    select 7, 'bypassrls', current_user
      from tab t
     where pg_catalog.cardinality($5) > 0 and pg_catalog.row_security_active(t.oid)
)
select pg_catalog.format(case privilege when 'bypassrls' then 'alter role %2$I %1$s' else 'grant %1$s to %2$I' end,
                         privilege, grantee)
  from lacking
 order by place, 1";

fn missing(db: &mut Connection, needs: &Needs, tables: &[String]) -> Result<Vec<String>, DbError> {
    let tables = tables
        .iter()
        .map(String::as_str)
        .chain(needs.tables.iter().copied());
    let tables: Vec<TableName> = tables.map(TableName::parse).collect();
    let schemas: Vec<&str> = tables.iter().map(TableName::schema).collect();
    let names: Vec<&str> = tables.iter().map(TableName::name).collect();
    let rows = db
        .query_typed(
            MISSING,
            &[
                (&needs.schemas, Type::TEXT_ARRAY),
                (&needs.functions, Type::TEXT_ARRAY),
                (&schemas, Type::TEXT_ARRAY),
                (&names, Type::TEXT_ARRAY),
                (&needs.privileges, Type::TEXT_ARRAY),
                (&needs.definer, Type::TEXT),
                (&needs.registry, Type::TEXT_ARRAY),
                (&needs.builds, Type::BOOL),
                (&needs.one_by_one, Type::BOOL),
            ],
        )
        .during("look at the privileges")?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
