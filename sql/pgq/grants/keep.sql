-- Where version 2 let everybody use PgQ, everybody may go on: roles come into force when asked for, with
-- newgrants.sql. This notes the choice where grants.sql looks for it.
do $$
declare
    v_insert    regprocedure := to_regprocedure('pgq.insert_event(text, text, text, text, text, text, text)');
begin
    if not exists (select
                     from pg_attribute
                    where attrelid = 'pgq.queue'::regclass
                      and attname = 'queue_ticker_paused'
                      and not attisdropped)
       and (v_insert is null or has_function_privilege('public', v_insert, 'execute'))
    then
        grant select on pgq.event_template to public;
    end if;
end
$$;
