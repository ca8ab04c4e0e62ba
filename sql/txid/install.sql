-- Transaction ids and snapshots: part of the server. Creates nothing, checks that all is there.
\ir check.sql
