-- Made anew for the queues that there are: they may have come from another version.
do $$
begin
    perform pgq_gen._write_insert_event();
    if to_regprocedure('pgq_gen.insert_event(integer, integer, timestamptz, integer, integer, text, text, text, text,'
                       ' text, text)') is null then
        raise exception 'another session is installing PgQ' using errcode = 'lock_not_available';
    end if;
end
$$;
