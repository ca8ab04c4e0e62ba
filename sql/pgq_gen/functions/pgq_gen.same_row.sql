create or replace function pgq_gen.same_row(i_new anyelement, i_old anyelement)
returns boolean as $$
-- pgq_gen.same_row(2): whether two values of a composite type are equal.
-- Parameters:
--      i_new, i_old      the values
-- Returns:  as the equality of the types of their fields says; as their text says where one of these has none: a type
--           may get fields while tables have columns of it, which is no change of the tables. Null for nulls
-- Used by:  generated captures, pgq._capture_changes
begin
    return pg_catalog.record_eq(i_new, i_old);
exception
    when undefined_function then
        return case when pg_catalog.num_nulls(i_new, i_old) operator(pg_catalog.=) 0
                    then pg_catalog.concat(i_new) collate pg_catalog."C" operator(pg_catalog.=) pg_catalog.concat(i_old) end;
end;
-- No pinned search_path: the text is the writer's.
$$ language plpgsql stable;
