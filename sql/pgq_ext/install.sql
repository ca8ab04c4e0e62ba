-- pgq_ext: lets consumers remember in a target database what they have applied there. Can be run again.
\ir schema.sql
\ir ../pgq/roles.sql

\ir tables/pgq_ext.completed_tick.sql
\ir tables/pgq_ext.completed_batch.sql
\ir tables/pgq_ext.completed_event.sql
\ir tables/pgq_ext.partial_batch.sql
\ir tables/pgq_ext.bad_event.sql

\ir grants/keep.sql
\ir functions/pgq_ext.version.sql
\ir functions/pgq_ext.upgrade_schema.sql
\ir upgrade.sql

\ir functions/pgq_ext.is_batch_done.sql
\ir functions/pgq_ext.set_batch_done.sql
\ir functions/pgq_ext.is_event_done.sql
\ir functions/pgq_ext.set_event_done.sql
\ir functions/pgq_ext.get_last_tick.sql
\ir functions/pgq_ext.get_last_tick_time.sql
\ir functions/pgq_ext.set_last_tick.sql

\ir grants.sql
