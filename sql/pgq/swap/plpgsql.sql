-- PL/pgSQL inserts events and runs the triggers, whatever did before.
\ir ../functions/pgq.insert_event_raw.sql
\ir ../triggers/pgq.sqltriga.sql
\ir ../triggers/pgq.logutriga.sql
\ir ../triggers/pgq.jsontriga.sql
\ir ../triggers/pgq.logtriga.sql
