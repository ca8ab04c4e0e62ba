create or replace function londiste.link(
    i_source_name text, i_dest_name text, prov_tick_id bigint, prov_tbl_list text, prov_seq_list text)
returns text as $$
-- londiste.link(5): declares that a queue of this database continues a subscribed queue, with its ticks.
-- Parameters:
--      i_source_name   subscribed queue
--      i_dest_name     queue of this database
--      prov_tick_id    newest tick of the source on its provider
--      prov_tbl_list   tables registered there, as londiste.cmp_list takes them
--      prov_seq_list   sequences registered there
-- Returns:  null
-- Raises:   "not all tables copied into subscriber", "not all seqs copied into subscriber",
--           "linked provider queue does not have all tables", "linked provider queue does not have all seqs",
--           "dest queue does not exist", "dest queue has already external_ticker turned on?",
--           "dest queue ticks larger"
-- Changes:  londiste.link, pgq.queue
declare
    v_external  boolean;
    v_tick_id   bigint;
begin
    if not londiste.cmp_list(prov_tbl_list, i_source_name, 'londiste.subscriber_table', 'table_name')
        or exists (select 1 from londiste.subscriber_table
                    where queue_name = i_source_name and merge_state is distinct from 'ok')
    then
        raise exception 'not all tables copied into subscriber';
    end if;
    if not londiste.cmp_list(prov_seq_list, i_source_name, 'londiste.subscriber_seq', 'seq_name') then
        raise exception 'not all seqs copied into subscriber';
    end if;
    if not londiste.cmp_list(prov_tbl_list, i_dest_name, 'londiste.provider_table', 'table_name') then
        raise exception 'linked provider queue does not have all tables';
    end if;
    if not londiste.cmp_list(prov_seq_list, i_dest_name, 'londiste.provider_seq', 'seq_name') then
        raise exception 'linked provider queue does not have all seqs';
    end if;

    select q.queue_external_ticker,
           (select max(t.tick_id) from pgq.tick t where t.tick_queue = q.queue_id)
      into v_external, v_tick_id
      from pgq.queue q
     where q.queue_name = i_dest_name
       for update;
    if not found then
        raise exception 'dest queue does not exist'
            using errcode = 'undefined_object';
    end if;
    if v_external then
        raise exception 'dest queue has already external_ticker turned on?';
    end if;
    if v_tick_id >= prov_tick_id then
        raise exception 'dest queue ticks larger';
    end if;

    update pgq.queue
       set queue_external_ticker = true
     where queue_name = i_dest_name;
    insert into londiste.link (source, dest)
    values (i_source_name, i_dest_name);
    return null;
end;
$$ language plpgsql security definer set search_path = pg_catalog, pg_temp;
