-- Everybody may see what is replicated and how far it is; only the owner of the schema, and whom it grants
-- this to, may change it.

grant usage on schema londiste to public;
grant select on londiste.provider_table, londiste.completed, londiste.link, londiste.subscriber_table,
    londiste.node_generation to public;
-- A connect string may hold a password.
grant select (queue_name, lineage, node_name, node_id, paused, generation) on londiste.node_info to public;

revoke execute on all functions in schema londiste from public;
grant execute on function
    londiste.version(),
    londiste.split_fqname(text),
    londiste.make_fqname(text, text),
    londiste.rel_fqname(oid),
    londiste.quote_fqname(text),
    londiste.short_name(text, integer),
    londiste.trigger_name(text),
    londiste.trigger_name(text, text),
    londiste.truncate_trigger_name(text),
    londiste.trigger_args(text, text, text),
    londiste.find_rel_oid(text, text),
    londiste.find_table_oid(text),
    londiste.find_seq_oid(text),
    londiste.column_letters(oid, oid),
    londiste.find_column_types(text),
    londiste.find_column_types(text, text),
    londiste.find_table_fkeys(text),
    londiste.find_table_triggers(text),
    londiste.link_source(text),
    londiste.link_dest(text),
    londiste.provider_get_table_list(text),
    londiste.provider_get_seq_list(text),
    londiste.subscriber_get_table_list(text),
    londiste.subscriber_get_seq_list(text),
    londiste.get_table_state(text),
    londiste.get_last_tick(text)
to public;
