create or replace function londiste.trigger_name(i_queue_name text)
returns text as $$
-- londiste.trigger_name(1): name of the trigger that captures changes for a queue. It fires before the
--           triggers of users, whose changes are logged behind their cause.
-- Parameters:
--      i_queue_name    any text
-- Returns:  _londiste_<queue>, cut as londiste.short_name does
select londiste.short_name('_londiste_' || i_queue_name, 63);
$$ language sql strict immutable parallel safe set search_path = pg_catalog, pg_temp;

create or replace function londiste.trigger_name(i_queue_name text, i_level text)
returns text as $$
-- londiste.trigger_name(2): name of the capture of a queue at a level.
-- Parameters:
--      i_queue_name    any text
--      i_level         row, generic, or statement, whose triggers have _insert, _update and _delete behind it
-- Returns:  as the short form, with room for the endings if there are any
select londiste.short_name('_londiste_' || i_queue_name, case i_level when 'statement' then 56 else 63 end);
$$ language sql strict immutable parallel safe set search_path = pg_catalog, pg_temp;
