create or replace function pgq._capture_sql(
    i_op text, i_names text[], i_is_key boolean[], i_is_hidden boolean[], i_changed boolean[],
    i_new text[], i_old text[])
returns text as $$
-- pgq._capture_sql(7): writes a change as the part of an SQL statement behind the table name.
-- Parameters:
--      i_op      INSERT, UPDATE or DELETE
--      i_names, i_is_key, i_is_hidden, i_changed      columns
--      i_new     text of the new row, or of the deleted one
--      i_old     text of the old row of an UPDATE, or of the deleted one
-- Returns:  (a,b) values ('1',null); b=NULL where a='1'; a='1'
-- Raises:   "logtriga: Unexpected NULL key value"
-- Used by:  pgq._capture
declare
    v_name      text;
    v_columns   text[] := '{}';
    v_values    text[] := '{}';
    v_set       text[] := '{}';
    v_where     text[] := '{}';
begin
    for i in 1 .. cardinality(i_names) loop
        v_name := quote_ident(i_names[i]);
        if i_op = 'INSERT' then
            if not i_is_hidden[i] then
                v_columns := v_columns || v_name;
                v_values := v_values || coalesce(quote_literal(i_new[i]), 'null');
            end if;
            continue;
        end if;
        if i_is_key[i] then
            if i_old[i] is null then
                raise exception 'logtriga: Unexpected NULL key value';
            end if;
            v_where := v_where || (v_name || '=' || quote_literal(i_old[i]));
        end if;
        if i_changed[i] and not i_is_hidden[i] then
            v_set := v_set || (v_name || '=' || coalesce(quote_literal(i_new[i]), 'NULL'));
        end if;
    end loop;
    case i_op
        when 'INSERT' then
            return '(' || array_to_string(v_columns, ',') || ') values (' || array_to_string(v_values, ',') || ')';
        when 'UPDATE' then
            -- Without a change the first key column is set to itself.
            return coalesce(nullif(array_to_string(v_set, ','), ''), v_where[1])
                || ' where ' || array_to_string(v_where, ' and ');
        else
            return array_to_string(v_where, ' and ');
    end case;
end;
$$ language plpgsql stable set search_path = pg_catalog, pgq, pg_temp;
