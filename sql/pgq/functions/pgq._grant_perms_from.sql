create or replace function pgq._grant_perms_from(src_schema text, src_table text, dst_schema text, dst_table text)
returns integer as $$
-- pgq._grant_perms_from(4): copies the privileges on one table to another.
-- Parameters:
--      src_schema, src_table      table to copy from
--      dst_schema, dst_table      table to grant on
-- Returns:  1
-- Reads:    pg_class: the views of information_schema hide rows and newer privileges
-- Changes:  privileges of the second table; grants only, revokes nothing
-- Used by:  pgq.grant_perms
declare
    v_acl record;
begin
    for v_acl in
        select a.privilege_type,
               case when a.grantee = 0 then 'public' else quote_ident(g.rolname) end as grantee,
               a.is_grantable
          from pg_class c
          join pg_namespace n on n.oid = c.relnamespace
         cross join lateral aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) a
          left join pg_roles g on g.oid = a.grantee
         where n.nspname = src_schema
           and c.relname = src_table
           and a.grantee <> c.relowner
           and not exists (select
                             from pg_class t
                             join pg_namespace s on s.oid = t.relnamespace
                            cross join lateral aclexplode(t.relacl) o
                            where s.nspname = dst_schema
                              and t.relname = dst_table
                              and o.grantee = a.grantee
                              and o.privilege_type = a.privilege_type
                              and o.is_grantable >= a.is_grantable)
         order by a.grantee, a.privilege_type
    loop
        execute format('grant %s on table %I.%I to %s%s',
                       v_acl.privilege_type, dst_schema, dst_table, v_acl.grantee,
                       case when v_acl.is_grantable then ' with grant option' else '' end);
    end loop;
    return 1;
end;
$$ language plpgsql strict set search_path = pg_catalog, pgq, pg_temp;
