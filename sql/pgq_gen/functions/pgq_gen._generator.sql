create or replace function pgq_gen._generator()
returns text as $$
-- pgq_gen._generator(0): fingerprint of what writes the functions of captures: a new version writes new code.
-- Returns:  32 hexadecimal digits
-- Reads:    the functions of pgq_gen that write code
-- Used by:  pgq_gen._state, pgq.refresh_captures
    select md5(string_agg(p.prosrc, '' order by p.proname, p.pronargs))
      from pg_proc p
     where p.pronamespace = 'pgq_gen'::regnamespace
       and p.proname like E'\\_%';
$$ language sql stable set search_path = pg_catalog, pg_temp;
