create or replace function pgq.get_batch_cursor(
    i_batch_id bigint, i_cursor_name text, i_quick_limit integer, i_extra_where text,
    out ev_id bigint, out ev_time timestamptz, out ev_txid bigint, out ev_retry integer,
    out ev_type text, out ev_data text,
    out ev_extra1 text, out ev_extra2 text, out ev_extra3 text, out ev_extra4 text)
returns setof record as $$
-- pgq.get_batch_cursor(4): declares a cursor over the events of a batch and fetches the first.
-- Parameters:
--      i_batch_id          an open batch
--      i_cursor_name       name of the cursor, any text; the caller goes on with FETCH and CLOSE in
--                          the same transaction
--      i_quick_limit       events to return at once; 0 or less: none
--      i_extra_where       condition on the event columns, trusted SQL; null: none
-- Returns:  the first events, ordered by ev_id; none, and no cursor, if one of the first three
--           arguments is null
-- Raises:   "batch not found"; what the condition raises
-- Reads:    the event tables, with the caller's rights
-- Used by:  consumers that read large batches
declare
    v_sql   pg_catalog.text;
begin
    if i_batch_id is null or i_cursor_name is null or i_quick_limit is null then
        return;
    end if;
    v_sql := pgq._batch_sql(i_batch_id, null);
    if i_extra_where is not null then
        -- The line ends shut a comment in the condition off.
        v_sql := pg_catalog.concat('select * from (', v_sql, ') _evs where ', i_extra_where, e'\n');
    end if;
    execute pg_catalog.concat('declare ', pg_catalog.quote_ident(i_cursor_name),
                              ' no scroll cursor for ', v_sql, ' order by 1');
    if i_quick_limit > 0 then
        return query execute pg_catalog.concat('fetch ', i_quick_limit, ' from ',
                                               pg_catalog.quote_ident(i_cursor_name));
    end if;
end;
-- No pinned search_path: the condition is the caller's and resolves in the caller's path.
$$ language plpgsql;

create or replace function pgq.get_batch_cursor(
    i_batch_id bigint, i_cursor_name text, i_quick_limit integer,
    out ev_id bigint, out ev_time timestamptz, out ev_txid bigint, out ev_retry integer,
    out ev_type text, out ev_data text,
    out ev_extra1 text, out ev_extra2 text, out ev_extra3 text, out ev_extra4 text)
returns setof record as $$
-- pgq.get_batch_cursor(3): declares a cursor over the events of a batch and fetches the first.
-- Parameters:
--      i_batch_id, i_cursor_name, i_quick_limit      as for pgq.get_batch_cursor(4)
-- Returns:  the first events, ordered by ev_id
-- Raises:   "batch not found"
-- Reads:    the event tables, with the caller's rights
-- Used by:  consumers that read large batches
begin
    return query
        select * from pgq.get_batch_cursor(i_batch_id, i_cursor_name, i_quick_limit, null);
end;
$$ language plpgsql strict;
