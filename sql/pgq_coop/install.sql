-- pgq_coop: lets several processes share the work of one consumer. Can be run again.
\ir schema.sql

\ir functions/pgq_coop.version.sql
\ir functions/pgq_coop._lock_main.sql
\ir functions/pgq_coop.register_subconsumer.sql
\ir functions/pgq_coop.unregister_subconsumer.sql
\ir functions/pgq_coop.touch_subconsumer.sql
\ir functions/pgq_coop.next_batch_custom.sql
\ir functions/pgq_coop.next_batch.sql
\ir functions/pgq_coop.finish_batch.sql

\ir grants.sql
