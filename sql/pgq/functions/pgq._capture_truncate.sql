create or replace function pgq._capture_truncate(
    i_format text, i_op text, i_when text, i_table oid, i_schema text, i_name text, i_args text[])
returns void as $$
-- pgq._capture_truncate(7): what the capture triggers do for a statement.
-- Parameters:
--      i_format      sql, urlenc or json; kinds for sql with positional arguments
--      i_op, i_when, i_table, i_schema, i_name, i_args
--                    tg_op, tg_when, tg_relid, tg_table_schema, tg_table_name, tg_argv
-- Raises:   "pgq Ins/Upd/Del trigger must be fired FOR EACH ROW"; arguments that make no sense here
-- Changes:  the queue
-- Used by:  pgq.sqltriga, pgq.logutriga, pgq.jsontriga, pgq.logtriga
declare
    v_options   record;
    v_keys      text[];
begin
    if i_op <> 'TRUNCATE' then
        raise exception 'pgq Ins/Upd/Del trigger must be fired FOR EACH ROW';
    end if;
    v_options := pgq._capture_options(i_format, false, i_when, i_args);
    if v_options.deny then
        raise exception 'Table ''%.%'' to queue ''%'': change not allowed (%)',
            i_schema, i_name, v_options.queue_name, i_op;
    end if;
    if v_options.ignored is not null then
        raise exception 'Column ignore does not make sense for truncate trigger';
    elsif v_options.keys is not null then
        raise exception 'Custom pkey_list does not make sense for truncate trigger';
    elsif v_options.backup then
        raise exception 'Backup does not make sense for truncate trigger';
    elsif v_options.has_expressions then
        raise exception 'Custom expressions do not make sense for truncater trigger';
    end if;

    select c.key_names into v_keys
      from pgq._capture_columns(pgq._known_columns(i_table, i_format, i_args), null, null, null) c;
    perform pgq.insert_event(
        v_options.queue_name,
        pgq._capture_type(v_options.format, i_op, i_schema, i_name, v_keys, null),
        case when v_options.format = 'json' then '{}' else '' end,
        i_schema || '.' || i_name, null, null, null);
end;
$$ language plpgsql set search_path = pg_catalog, pgq, pg_temp;
