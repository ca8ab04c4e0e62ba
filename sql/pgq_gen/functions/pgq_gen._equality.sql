create or replace function pgq_gen._equality(i_type oid, i_new text, i_old text)
returns text as $$
-- pgq_gen._equality(3): writes the condition under which two values of a type are equal.
-- Parameters:
--      i_type            type of a column
--      i_new, i_old      the values, as NEW."a" and OLD."a"
-- Returns:  SQL of type boolean that names nothing outside pg_catalog and pgq_gen: the default btree or else hash operator
--           class decides; a domain follows its base. Null where values are compared by their text: arrays,
--           types without such a class, and rows that hold one of these
-- Reads:    pg_type, pg_opclass, pg_amop, pg_operator, pg_cast
-- Used by:  pgq_gen._unchanged
declare
    v_base      oid := i_type;
    v_type      record;
    v_operator  text;
begin
    if not pgq._has_equality(i_type) then
        return null;
    end if;
    loop
        select t.typtype, t.typbasetype, t.typname, t.typnamespace = 'pg_catalog'::regnamespace as is_builtin
          into v_type
          from pg_type t
         where t.oid = v_base;
        exit when v_type.typtype <> 'd';
        v_base := v_type.typbasetype;
    end loop;
    if v_base <> i_type then
        -- As its base: an operator for the domain itself could be anybody's.
        if v_type.is_builtin then
            return pgq_gen._equality(v_base, format('(%s)::pg_catalog.%I', i_new, v_type.typname),
                                     format('(%s)::pg_catalog.%I', i_old, v_type.typname));
        end if;
    elsif v_type.typtype in ('c', 'e', 'r', 'm') then
        -- By function where the operator takes any type of the kind: it is not unique if the type has casts
        -- to others that have the operator too.
        return format('%s(%s, %s)',
                      case v_type.typtype when 'c' then 'pgq_gen.same_row' when 'e' then 'pg_catalog.enum_eq'
                                          when 'r' then 'pg_catalog.range_eq' else 'pg_catalog.multirange_eq' end,
                      i_new, i_old);
    else
        select case when p.oprnamespace = 'pg_catalog'::regnamespace then p.oprname end
          into v_operator
          from pg_opclass o
          join pg_am m on m.oid = o.opcmethod
          join pg_amop a on a.amopfamily = o.opcfamily
                        and a.amoplefttype = o.opcintype
                        and a.amoprighttype = o.opcintype
                        and a.amopstrategy = case m.amname when 'btree' then 3 else 1 end
          join pg_operator p on p.oid = a.amopopr
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
        if v_operator is not null then
            return format('%s operator(pg_catalog.%s) %s', i_new, v_operator, i_old);
        end if;
    end if;
    -- The owner of PgQ need not be allowed to use the schema of the type or of its operators: rows find the
    -- equality of their fields without names.
    return format('%s(row(%s), row(%s))',
                  case v_type.typtype when 'c' then 'pgq_gen.same_row' else 'pg_catalog.record_eq' end, i_new, i_old);
end;
$$ language plpgsql stable set search_path = pg_catalog, pg_temp;
