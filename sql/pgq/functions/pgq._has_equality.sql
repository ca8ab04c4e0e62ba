create or replace function pgq._has_equality(i_type oid)
returns boolean as $$
-- pgq._has_equality(1): whether a capture compares values of a type by its equality, not by their text.
-- Parameters:
--      i_type      type of a column
-- Returns:  true if the type has a default btree or hash operator class; a domain follows its base, a
--           row all its fields; false for arrays
-- Reads:    pg_type, pg_attribute, pg_opclass, pg_cast
-- Used by:  pgq._text_decides
declare
    v_type  record;
begin
    select t.typtype, t.typbasetype, t.typrelid, t.typsubscript = 'array_subscript_handler'::regproc as is_array
      into v_type
      from pg_type t
     where t.oid = i_type;
    case
        when v_type.is_array then
            return false;
        when v_type.typtype = 'd' then
            return pgq._has_equality(v_type.typbasetype);
        when v_type.typtype in ('e', 'r', 'm') then
            return true;
        when v_type.typtype = 'c' then
            return (select coalesce(bool_and(pgq._has_equality(
                               case when t.typsubscript = 'array_subscript_handler'::regproc
                                    then t.typelem else t.oid end)), true)
                      from pg_attribute a
                      join pg_type t on t.oid = a.atttypid
                     where a.attrelid = v_type.typrelid
                       and a.attnum > 0
                       and not a.attisdropped);
        else
            return exists (
                select
                  from pg_opclass o
                  join pg_am m on m.oid = o.opcmethod
                 where m.amname in ('btree', 'hash')
                   and o.opcdefault
                   and (o.opcintype = i_type
                        or exists (select
                                     from pg_cast c
                                    where c.castsource = i_type
                                      and c.casttarget = o.opcintype
                                      and c.castmethod = 'b'
                                      and c.castcontext = 'i')));
    end case;
end;
$$ language plpgsql stable set search_path = pg_catalog, pgq, pg_temp;
