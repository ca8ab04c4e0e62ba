-- Captures that generic triggers call are for whoever may insert events.
do $$
begin
    if to_regprocedure('pgq.refresh_captures()') is not null then
        execute 'select pgq.refresh_captures()';
    end if;
end
$$;
