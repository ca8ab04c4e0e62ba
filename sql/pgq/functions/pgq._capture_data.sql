create or replace function pgq._capture_data(
    i_format text, i_op text, i_names text[], i_is_key boolean[], i_is_hidden boolean[],
    i_new text[], i_old text[], i_equal boolean[],
    i_ignores boolean, i_key_updates boolean, i_by_text boolean, i_backup boolean,
    out wanted boolean, out data text, out backup text)
as $$
-- pgq._capture_data(12): decides whether a change is an event, and writes it.
-- Parameters:
--      i_format      sql, urlenc or json
--      i_op          INSERT, UPDATE or DELETE
--      i_names, i_is_key, i_is_hidden      columns, from pgq._capture_columns
--      i_new         text of the new row, or of the deleted one; JSON for json
--      i_old, i_equal      for an UPDATE text of the old row, and which columns are equal, null for those
--                    that are compared by their text
--      i_ignores     whether the trigger was told to ignore columns
--      i_key_updates whether a change of the key is an event, or an error
--      i_by_text     whether equal values that read differently have changed
--      i_backup      whether to write the old row of an UPDATE
-- Returns:  wanted: false if only hidden columns changed; data and backup: the event fields
-- Raises:   "Update/Delete on table without pkey"; "primary key update not allowed"; "logtriga:
--           Unexpected NULL key value"
-- Used by:  pgq._capture
declare
    c_update    constant boolean := i_op = 'UPDATE';
    v_columns   text;
    v_values    text;
    v_set       text;
    v_noop      text;
    v_where     text;
    v_null_key  boolean;
    v_key       boolean;
    v_data      boolean;
    v_hidden    boolean;
begin
    if i_op <> 'INSERT' and not coalesce(true = any (i_is_key), false) then
        raise exception 'Update/Delete on table without pkey';
    end if;

    if c_update then
        select bool_or(c.changed and c.is_key),
               bool_or(c.changed and not c.is_hidden),
               bool_or(c.changed and c.is_hidden)
          into v_key, v_data, v_hidden
          from (select u.is_key, u.is_hidden, pgq._is_change(u.new, u.old, u.equal, i_by_text) as changed
                  from unnest(i_new, i_old, i_equal, i_is_key, i_is_hidden)
                       u (new, old, equal, is_key, is_hidden)) c;
        if v_key and not i_key_updates then
            raise exception 'primary key update not allowed';
        end if;
    end if;
    -- An update that changes nothing at all is an event; for whole rows every update is, unless the
    -- trigger was told to ignore something.
    wanted := not c_update or v_data or not v_hidden or i_format <> 'sql' and not i_ignores;
    if not wanted then
        return;
    end if;

    if i_format = 'sql' then
        select coalesce(string_agg(c.ident, ',' order by c.n) filter (where not c.is_hidden), ''),
               coalesce(string_agg(coalesce(c.literal, 'null'), ',' order by c.n) filter (where not c.is_hidden), ''),
               string_agg(c.ident || '=' || coalesce(c.literal, 'NULL'), ',' order by c.n)
                   filter (where c.changed and not c.is_hidden),
               string_agg(c.ident || '=' || c.old_literal, ' and ' order by c.n) filter (where c.is_key),
               (array_agg(c.ident || '=' || c.old_literal order by c.n) filter (where c.is_key))[1],
               bool_or(c.is_key and c.old_literal is null)
          into v_columns, v_values, v_set, v_where, v_noop, v_null_key
          from (select u.n, u.is_key, u.is_hidden,
                       quote_ident(u.name) as ident,
                       quote_literal(u.new) as literal,
                       quote_literal(case when c_update then u.old else u.new end) as old_literal,
                       c_update and pgq._is_change(u.new, u.old, u.equal, i_by_text) as changed
                  from unnest(i_names, i_new, i_old, i_equal, i_is_key, i_is_hidden)
                       with ordinality u (name, new, old, equal, is_key, is_hidden, n)) c;
        if i_op <> 'INSERT' and v_null_key then
            raise exception 'logtriga: Unexpected NULL key value';
        end if;
        data := case i_op
            when 'INSERT' then '(' || v_columns || ') values (' || v_values || ')'
            when 'UPDATE' then coalesce(v_set, v_noop) || ' where ' || v_where
            when 'DELETE' then v_where
        end;
    else
        data := pgq._capture_row(i_format, i_names, i_is_hidden, i_new);
    end if;
    if i_backup and c_update then
        backup := pgq._capture_row(i_format, i_names, i_is_hidden, i_old);
    end if;
end;
$$ language plpgsql stable set search_path = pg_catalog, pgq, pg_temp;
