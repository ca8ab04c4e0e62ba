-- What a database of an older version needs to have its place in a cascade; safe to run again.

\ir tables/node.sql
\ir functions/londiste.node_create.sql
\ir functions/londiste.node_join.sql
\ir functions/londiste.node_promoted.sql
\ir functions/londiste.node_provider.sql
\ir functions/londiste.node_forget.sql
\ir functions/londiste.publish_watermark.sql

\ir node_grants.sql
