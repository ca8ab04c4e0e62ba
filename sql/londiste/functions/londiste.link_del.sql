create or replace function londiste.link_del(i_source_name text, i_dest_name text)
returns text as $$
-- londiste.link_del(2): undoes londiste.link; the ticker stays external.
-- Parameters:
--      i_source_name   subscribed queue
--      i_dest_name     queue of this database
-- Returns:  null
-- Raises:   undefined_object "no suck link"
-- Changes:  londiste.link
begin
    delete from londiste.link
     where source = i_source_name and dest = i_dest_name;
    if not found then
        -- The text is what programs look for.
        raise exception 'no suck link'
            using errcode = 'undefined_object';
    end if;
    return null;
end;
$$ language plpgsql security definer set search_path = pg_catalog, pg_temp;
