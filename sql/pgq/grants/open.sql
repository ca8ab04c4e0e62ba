-- Everybody may use PgQ, as with SkyTools 2.
grant select on pgq.event_template to public;
grant execute on function pgq.insert_event(text, text, text, text, text, text, text) to public;
