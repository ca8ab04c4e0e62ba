-- Drops what consumers remember in this database: a consumer that is not finished starts over.
drop schema if exists pgq_ext cascade;
