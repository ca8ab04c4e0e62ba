create or replace function pgq_gen._equality(i_type oid)
returns text as $$
-- pgq_gen._equality(1): how to ask whether two values of a type are equal.
-- Parameters:
--      i_type      type of a column
-- Returns:  SQL with %1$s and %2$s for the values: the equality of the default btree or else hash operator
--           class; a domain follows its base. Null where values are compared by their text: arrays, types
--           without such a class, and rows that hold one of these
-- Reads:    pg_type, pg_opclass, pg_amop, pg_operator, pg_cast
-- Used by:  pgq_gen._unchanged
declare
    v_type      record;
    v_operator  text;
begin
    select t.typtype, t.typbasetype into v_type from pg_type t where t.oid = i_type;
    if v_type.typtype = 'd' then
        -- As its base: an operator for the domain itself could be anybody's.
        select replace(replace(pgq_gen._equality(t.oid), '%1$s', format('(%%1$s)::%I.%I', n.nspname, t.typname)),
                       '%2$s', format('(%%2$s)::%I.%I', n.nspname, t.typname))
          into v_operator
          from pg_type t
          join pg_namespace n on n.oid = t.typnamespace
         where t.oid = v_type.typbasetype;
        return v_operator;
    elsif not pgq._has_equality(i_type) then
        return null;
    end if;
    -- By function where the operator takes any type of the kind: it is not unique if the type has casts
    -- to others that have the operator too.
    v_operator := case v_type.typtype when 'c' then 'record_eq' when 'e' then 'enum_eq' when 'r' then 'range_eq'
                                      when 'm' then 'multirange_eq' end;
    if v_operator is not null then
        return format('pg_catalog.%s(%%1$s, %%2$s)', v_operator);
    end if;
    select format('%%1$s operator(%I.%s) %%2$s', n.nspname, p.oprname)
      into v_operator
      from pg_opclass o
      join pg_am m on m.oid = o.opcmethod
      join pg_amop a on a.amopfamily = o.opcfamily
                    and a.amoplefttype = o.opcintype
                    and a.amoprighttype = o.opcintype
                    and a.amopstrategy = case m.amname when 'btree' then 3 else 1 end
      join pg_operator p on p.oid = a.amopopr
      join pg_namespace n on n.oid = p.oprnamespace
     where m.amname in ('btree', 'hash')
       and o.opcdefault
       and (o.opcintype = i_type
            or exists (select
                         from pg_cast c
                        where c.castsource = i_type
                          and c.casttarget = o.opcintype
                          and c.castmethod = 'b'
                          and c.castcontext = 'i'))
     order by m.amname, o.opcintype <> i_type, o.opcintype
     limit 1;
    return v_operator;
end;
$$ language plpgsql stable set search_path = pg_catalog, pg_temp;
