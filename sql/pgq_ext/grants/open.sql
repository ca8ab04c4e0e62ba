-- Everybody may use pgq_ext, as with SkyTools 2.
grant execute on function pgq_ext.set_last_tick(text, bigint) to public;
