-- Whoever remembers in this database what a consumer applied needs pgq_writer.
\ir grants/close.sql
\ir grants.sql
