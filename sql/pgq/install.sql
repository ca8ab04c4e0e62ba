-- PgQ: queues in a database. Can be run again: it completes what is missing, renews functions and
-- grants, and leaves queues, consumers and events alone.
\ir schema.sql
\ir roles.sql

\ir tables/pgq.consumer.sql
\ir tables/pgq.queue.sql
\ir tables/pgq.tick.sql
\ir tables/pgq.subscription.sql
\ir tables/pgq.event_template.sql
\ir tables/pgq.retry_queue.sql
\ir tables/pgq.failed_queue.sql
\ir tables/pgq.batch_id_seq.sql
\ir tables/pgq.capture.sql

\ir grants/keep.sql
\ir functions/pgq.upgrade_schema.sql
\ir upgrade.sql

\ir functions/pgq.version.sql
\ir functions/pgq.quote_fqname.sql
\ir functions/pgq.seq_getval.sql
\ir functions/pgq.seq_setval.sql
\ir functions/pgq._seq_position.sql
\ir functions/pgq._age.sql

\ir functions/pgq.create_queue.sql
\ir functions/pgq.drop_queue.sql
\ir functions/pgq.set_queue_config.sql
\ir functions/pgq._grant_perms_from.sql
\ir functions/pgq.grant_perms.sql
\ir functions/pgq.tune_storage.sql

\ir functions/pgq._count_events.sql
\ir functions/pgq.insert_event_raw.sql
\ir functions/pgq.insert_event.sql
\ir functions/pgq._insert_events.sql
\ir functions/pgq.insert_events.sql
\ir functions/pgq.send.sql
\ir functions/pgq.current_event_table.sql

\ir triggers/pgq._one_subscription.sql
\ir tables/pgq.subscription_once.sql
\ir functions/pgq._is_subconsumer.sql
\ir functions/pgq._drop_unused_consumers.sql
\ir functions/pgq.register_consumer_at.sql
\ir functions/pgq.register_consumer.sql
\ir functions/pgq.unregister_consumer.sql

\ir functions/pgq.find_tick_helper.sql
\ir functions/pgq.next_batch_custom.sql
\ir functions/pgq.next_batch_info.sql
\ir functions/pgq.next_batch.sql
\ir functions/pgq._batch_place.sql
\ir functions/pgq.batch_event_tables.sql
\ir functions/pgq._batch_sql.sql
\ir functions/pgq.batch_event_sql.sql
\ir functions/pgq.get_batch_events.sql
\ir functions/pgq.get_batch_cursor.sql
\ir functions/pgq.finish_batch.sql
\ir functions/pgq.receive_more.sql
\ir functions/pgq.receive.sql
\ir functions/pgq.ack.sql

\ir functions/pgq._batch_event.sql
\ir functions/pgq.event_retry.sql
\ir functions/pgq.batch_retry.sql
\ir functions/pgq.event_retry_raw.sql
\ir functions/pgq.maint_retry_events.sql
\ir functions/pgq._owner_id.sql
\ir functions/pgq.event_failed.sql
\ir functions/pgq.failed_event_list.sql
\ir functions/pgq.failed_event_count.sql
\ir functions/pgq.failed_event_delete.sql
\ir functions/pgq.failed_event_retry.sql
\ir functions/pgq.failed_event_replay.sql
\ir functions/pgq.failed_event_purge.sql
\ir functions/pgq.nack.sql

\ir functions/pgq._notify_tick.sql
\ir functions/pgq._tick_backlog.sql
\ir functions/pgq._unseen_tick.sql
\ir functions/pgq.ticker.sql
\ir functions/pgq.force_tick.sql
\ir functions/pgq.maint_rotate_tables_step1.sql
\ir functions/pgq._unaware_sessions.sql
\ir functions/pgq.maint_rotate_tables_step2.sql
\ir functions/pgq.maint_tables_to_vacuum.sql
\ir functions/pgq.maint_operations.sql

\ir functions/pgq.get_queue_info.sql
\ir functions/pgq.get_consumer_info.sql
\ir functions/pgq.get_batch_info.sql
\ir functions/pgq._rotation_blocker.sql
\ir functions/pgq._queue_health.sql
\ir functions/pgq.get_queue_health.sql
\ir functions/pgq.get_consumer_health.sql
\ir functions/pgq._snapshot_holders.sql
\ir functions/pgq.get_problems.sql

\ir functions/pgq._urlencode.sql
\ir functions/pgq._in_column_list.sql
\ir functions/pgq._has_equality.sql
\ir functions/pgq._text_decides.sql
\ir functions/pgq._row_text.sql
\ir functions/pgq._keep_generated.sql
\ir functions/pgq._row_values.sql
\ir functions/pgq._capture_options.sql
\ir functions/pgq._table_columns.sql
\ir functions/pgq._column_name.sql
\ir functions/pgq._large_values.sql
\ir functions/pgq._known_names.sql
\ir functions/pgq._known_columns.sql
\ir functions/pgq._row_columns.sql
\ir functions/pgq._capture_columns.sql
\ir functions/pgq._capture_changes.sql
\ir functions/pgq._capture_wanted.sql
\ir functions/pgq._capture_sql.sql
\ir functions/pgq._json_query.sql
\ir functions/pgq._capture_row.sql
\ir functions/pgq._capture_type.sql
\ir functions/pgq._capture_expression.sql
\ir functions/pgq._capture_overrides.sql
\ir functions/pgq._capture_evaluate.sql
\ir functions/pgq._capture.sql
\ir functions/pgq._capture_truncate.sql

\ir ../pgq_gen/install.sql
\ir triggers/pgq._queue_tables_changed.sql
\ir tables/pgq.queue_tables_changed.sql
\ir triggers/pgq._queue_changed.sql
\ir tables/pgq.queue_changed.sql
\ir functions/pgq.create_capture.sql
\ir functions/pgq.drop_capture.sql
\ir functions/pgq.refresh_captures.sql

\ir triggers/pgq.sqltriga.sql
\ir triggers/pgq.logutriga.sql
\ir triggers/pgq.jsontriga.sql
\ir triggers/pgq.logtriga.sql

\ir grants.sql
