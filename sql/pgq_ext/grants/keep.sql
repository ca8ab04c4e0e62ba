-- Where version 2 let everybody use pgq_ext, everybody may go on. An explicit privilege of everybody, where
-- new functions have an implied one, tells grants.sql so.
do $$
declare
    v_function  regprocedure := to_regprocedure('pgq_ext.set_last_tick(text, bigint)');
begin
    if not exists (select
                     from pg_attribute
                    where attrelid = 'pgq_ext.completed_tick'::regclass
                      and attname = 'subconsumer_id'
                      and not attisdropped)
       and has_function_privilege('public', v_function, 'execute')
    then
        grant execute on function pgq_ext.set_last_tick(text, bigint) to public;
    end if;
end
$$;
