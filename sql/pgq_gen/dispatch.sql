-- The function is rewritten for the captures that there are: an existing one is left alone.
do $$
begin
    if to_regprocedure('pgq_gen.dispatch(text, oid, name, text, text[], anyelement, anyelement)') is null then
        perform pgq_gen._write_dispatch();
    end if;
end
$$;
