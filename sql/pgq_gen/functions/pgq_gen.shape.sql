create or replace function pgq_gen.shape(i_table oid)
returns text as $$
-- pgq_gen.shape(1): fingerprint of what a generated capture knows of its table.
-- Parameters:
--      i_table      table
-- Returns:  32 hexadecimal digits, of its schema, name, columns with their types, and primary key; null
--           if there is no such table
-- Reads:    the definition of the table as it is now, even in a transaction with an older snapshot:
--           through functions that use the server's caches, not through the catalogue alone
-- Used by:  pgq_gen.shape_ok, pgq.create_capture, pgq.refresh_captures
declare
    v_identity  oid;
begin
    -- Asks the cache of relations.
    if pg_table_is_visible(i_table) is null then
        return null;
    end if;
    -- The primary key, unless the table was given another replica identity.
    v_identity := pg_get_replica_identity_index(i_table::regclass);
    return md5(concat(
        table_to_xmlschema(i_table::regclass, true, false, '')::text,
        i_table::regclass,
        pg_get_indexdef(v_identity),
        (select i.indkey::smallint[] from pg_index i where i.indrelid = i_table and i.indisprimary)));
end;
$$ language plpgsql stable strict set search_path = pg_catalog, pg_temp;
