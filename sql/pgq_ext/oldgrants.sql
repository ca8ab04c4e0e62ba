-- Everybody may remember in this database what a consumer applied, as with SkyTools 2.
\ir grants/open.sql
\ir grants.sql
