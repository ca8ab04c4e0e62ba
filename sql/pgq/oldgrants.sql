-- Everybody may use PgQ, as with SkyTools 2: sites that come from there and whose producers and consumers
-- have no role of PgQ go on like this.
\ir grants/open.sql
\ir grants.sql
\ir grants/captures.sql
