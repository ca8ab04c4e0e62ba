create or replace function londiste.cmp_list(list1 text, a_queue text, a_table text, a_field text)
returns boolean as $$
-- londiste.cmp_list(4): compares a list with a column of a registration table.
-- Parameters:
--      list1           names, sorted bytewise and joined by commas
--      a_queue         queue whose rows count
--      a_table         londiste.provider_table, provider_seq, subscriber_table or subscriber_seq
--      a_field         table_name or seq_name
-- Returns:  whether both hold the same
-- Raises:   invalid_parameter_value for another table or column
-- Used by:  londiste.link
declare
    v_list      text;
begin
    if a_table not in ('londiste.provider_table', 'londiste.provider_seq',
                       'londiste.subscriber_table', 'londiste.subscriber_seq')
        or a_field not in ('table_name', 'seq_name')
    then
        raise exception 'no registration: %.%', a_table, a_field
            using errcode = 'invalid_parameter_value';
    end if;
    execute format('select coalesce(string_agg(%I, '','' order by %I collate "C"), '''') '
                   || 'from %s where queue_name = $1', a_field, a_field, londiste.quote_fqname(a_table))
       into v_list
      using a_queue;
    return list1 = v_list;
end;
$$ language plpgsql stable security definer set search_path = pg_catalog, pg_temp;
