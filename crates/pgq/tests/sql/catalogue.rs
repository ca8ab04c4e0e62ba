//! What the catalogue says of the schemas, as lines that two databases can be compared by.

use postgres::Client;
use testkit::TestResult;

use crate::support::rows;

/// Lines on the schemas of PgQ: everything that installing decides, and nothing that depends on the order
/// in which columns were added, or on what queues there are. `$` is the list of schemas.
const LINES: &str = "
    with schema (oid, name) as (
        select oid, nspname from pg_namespace where nspname in ('pgq', 'pgq_gen', 'pgq_ext', 'pgq_coop')
    ), relation as (
        select c.* from pg_class c
         where c.relnamespace in (select oid from schema)
           and c.relkind in ('r', 'S', 'v') and c.relname !~ '^event_[0-9]'
    ), acl (kind, oid, text) as (
        select kind, o.oid, string_agg(format('%s %s%s', coalesce(g.rolname, 'public'), a.privilege_type,
                                              case when a.is_grantable then '*' end), ', '
                                       order by g.rolname, a.privilege_type)
          from (select 'schema', oid, nspowner, coalesce(nspacl, acldefault('n', nspowner)) from pg_namespace
                 union all
                select 'relation', oid, relowner, coalesce(relacl, acldefault(case relkind when 'S' then 's' else 'r' end::\"char\", relowner))
                  from relation
                 union all
                select 'function', oid, proowner, coalesce(proacl, acldefault('f', proowner)) from pg_proc
               ) o (kind, oid, owner, acl)
         cross join lateral aclexplode(o.acl) a
          left join pg_roles g on g.oid = a.grantee
         where a.grantee <> o.owner
         group by 1, 2
    )
    select format('schema %s: %s', s.name, a.text) from schema s left join acl a on a.kind = 'schema' and a.oid = s.oid
    union all
    select format('relation %s %s %s: %s', r.relkind, r.oid::regclass, r.reloptions, a.text)
      from relation r left join acl a on a.kind = 'relation' and a.oid = r.oid
    union all
    select format('column %s.%s %s %s %s %s', r.oid::regclass, a.attname, format_type(a.atttypid, a.atttypmod),
                  -- ticks of a version without it do not know
                  case when a.attnotnull and a.attname <> 'tick_event_seq' then 'not null' end,
                  pg_get_expr(d.adbin, d.adrelid), a.attacl)
      from relation r
      join pg_attribute a on a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped
      left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
    union all
    select format('constraint %s %s %s', k.conrelid::regclass, k.conname, pg_get_constraintdef(k.oid))
      from pg_constraint k join relation r on r.oid = k.conrelid
     where k.contype <> 'n'
    union all
    select pg_get_triggerdef(t.oid) from pg_trigger t join relation r on r.oid = t.tgrelid where not t.tgisinternal
    union all
    select pg_get_indexdef(i.indexrelid) from pg_index i join relation r on r.oid = i.indrelid
    union all
    select format('function %s: %s %s', p.oid::regprocedure, a.text,
                  -- generated for the queues that there are
                  case when p.oid::regprocedure::text !~ '^pgq_gen.insert_event' then pg_get_functiondef(p.oid) end)
      from pg_proc p left join acl a on a.kind = 'function' and a.oid = p.oid
     where p.pronamespace in (select oid from schema) and p.proname !~ '^current_table_[0-9]'
    union all
    select format('type %s', t.oid::regtype) from pg_type t
     where t.typnamespace in (select oid from schema)
       and (t.typtype in ('d', 'e') or exists (select from pg_class c where c.oid = t.typrelid and c.relkind = 'c'))
       -- user functions may declare variables of these
       and t.typname !~ '^ret_'
    union all
    select format('role %s %s: %s', r.rolname, r.rolcanlogin, (select string_agg(m.roleid::regrole::text, ',' order by 1)
                                                                from pg_auth_members m where m.member = r.oid))
      from pg_roles r where r.rolname in ('pgq_reader', 'pgq_writer', 'pgq_admin')
    order by 1";

/// The lines of a database.
pub(crate) fn lines(db: &mut Client) -> TestResult<Vec<String>> {
    let lines = rows(db, LINES)?;
    assert!(lines.len() > 150, "{lines:#?}");
    Ok(lines)
}

/// Fails with the lines that differ, if any do.
pub(crate) fn assert_same(db: &mut Client, expected: &mut Client) -> TestResult {
    let (found, expected) = (lines(db)?, lines(expected)?);
    let only = |a: &[String], b: &[String]| -> Vec<String> {
        a.iter().filter(|line| !b.contains(line)).cloned().collect()
    };
    let (surplus, missing) = (only(&found, &expected), only(&expected, &found));
    assert!(
        surplus.is_empty() && missing.is_empty(),
        "not expected: {surplus:#?}\nmissing: {missing:#?}"
    );
    Ok(())
}
