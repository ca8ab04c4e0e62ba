-- Londiste in a database, provider or subscriber; safe to run again.

\ir tables/schema.sql
\ir tables/provider.sql
\ir tables/subscriber.sql
\ir tables/execute.sql
\ir tables/node.sql
\ir tables/types.sql

-- names, look-ups, links
\ir functions/londiste.split_fqname.sql
\ir functions/londiste.make_fqname.sql
\ir functions/londiste.rel_fqname.sql
\ir functions/londiste.quote_fqname.sql
\ir functions/londiste.find_rel_oid.sql
\ir functions/londiste.find_table_oid.sql
\ir functions/londiste.find_seq_oid.sql
\ir functions/londiste.column_letters.sql
\ir functions/londiste.find_column_types.sql
\ir functions/londiste.version.sql
\ir functions/londiste.short_name.sql
\ir functions/londiste.trigger_name.sql
\ir functions/londiste.truncate_trigger_name.sql
\ir functions/londiste.trigger_args.sql
\ir functions/londiste.link_source.sql
\ir functions/londiste.link_dest.sql
\ir functions/londiste.cmp_list.sql
\ir functions/londiste.link.sql
\ir functions/londiste.link_del.sql
\ir functions/londiste.link_changed.sql
\ir functions/londiste.link_table.sql
\ir functions/londiste.link_captures.sql

-- provider
\ir functions/londiste.provider_notify_change.sql
\ir functions/londiste.log_truncate.sql
\ir functions/londiste.provider_column_types.sql
\ir functions/londiste.provider_drop_trigger.sql
\ir functions/londiste.provider_create_trigger.sql
\ir functions/londiste.provider_refresh_trigger.sql
\ir functions/londiste.provider_check_new_table.sql
\ir functions/londiste.provider_add_table.sql
\ir functions/londiste.provider_remove_table.sql
\ir functions/londiste.wanted_triggers.sql
\ir functions/londiste.stale_trigger.sql
\ir functions/londiste.provider_check.sql
\ir functions/londiste.refresh_stale_triggers.sql
\ir functions/londiste.execute_start.sql
\ir functions/londiste.execute_finish.sql
\ir functions/londiste.provider_get_table_list.sql
\ir functions/londiste.provider_add_seq.sql
\ir functions/londiste.provider_remove_seq.sql
\ir functions/londiste.provider_get_seq_list.sql

-- subscriber
\ir functions/londiste.subscriber_add_table.sql
\ir functions/londiste.subscriber_remove_table.sql
\ir functions/londiste.subscriber_get_table_list.sql
\ir functions/londiste.get_table_state.sql
\ir functions/londiste.subscriber_set_table_state.sql
\ir functions/londiste.set_table_state.sql
\ir functions/londiste.subscriber_set_skip_truncate.sql
\ir functions/londiste.subscriber_set_provider_nr.sql
\ir functions/londiste.subscriber_add_seq.sql
\ir functions/londiste.subscriber_remove_seq.sql
\ir functions/londiste.subscriber_get_seq_list.sql
\ir functions/londiste.get_last_tick.sql
\ir functions/londiste.set_last_tick.sql
\ir functions/londiste.hold_last_tick.sql
\ir functions/londiste.set_job_error.sql
\ir functions/londiste.set_copy_progress.sql
\ir functions/londiste.set_copy_source.sql
\ir functions/londiste.get_copy_sources.sql
\ir functions/londiste.note_state_change.sql
\ir functions/londiste.announce_change.sql

-- foreign keys of the subscriber
\ir functions/londiste.find_table_fkeys.sql
\ir functions/londiste.subscriber_drop_table_fkey.sql
\ir functions/londiste.subscriber_restore_table_fkey.sql
\ir functions/londiste.subscriber_get_table_pending_fkeys.sql
\ir functions/londiste.subscriber_get_queue_valid_pending_fkeys.sql

-- triggers of the subscriber
\ir functions/londiste.find_table_triggers.sql
\ir functions/londiste.subscriber_drop_table_trigger.sql
\ir functions/londiste.subscriber_drop_all_table_triggers.sql
\ir functions/londiste.subscriber_get_table_pending_triggers.sql
\ir functions/londiste.subscriber_restore_table_trigger.sql
\ir functions/londiste.subscriber_restore_all_table_triggers.sql

-- cascade
\ir functions/londiste.node_create.sql
\ir functions/londiste.node_join.sql
\ir functions/londiste.node_promoted.sql
\ir functions/londiste.node_provider.sql
\ir functions/londiste.node_forget.sql
\ir functions/londiste.mirror_table.sql
\ir functions/londiste.mirror_advance.sql
\ir functions/londiste.mirror_tick.sql
\ir functions/londiste.publish_watermark.sql
\ir functions/londiste.relay_create.sql
\ir functions/londiste.relay_promote.sql
\ir functions/londiste.relay_promoted.sql
\ir functions/londiste.node_resurrect.sql

\ir grants.sql
