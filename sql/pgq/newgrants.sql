-- Roles decide who may do what. Whoever writes to a table with a trigger of PgQ needs pgq_writer then, and
-- consumers need pgq_reader.
\ir grants/close.sql
\ir grants.sql
\ir grants/captures.sql
