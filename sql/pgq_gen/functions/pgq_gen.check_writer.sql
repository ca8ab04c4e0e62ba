create or replace function pgq_gen.check_writer()
returns void as $$
-- pgq_gen.check_writer(0): refuses a writer who may not insert events, before any expression is evaluated.
-- Raises:   insufficient_privilege, with the grant that is missing
-- Used by:  generated captures that run as the writer
begin
    if not pg_catalog.has_function_privilege(
               'pgq.insert_event(text, text, text, text, text, text, text)'::pg_catalog.regprocedure, 'execute') then
        raise exception 'permission denied for function insert_event'
            using errcode = 'insufficient_privilege',
                  hint = pg_catalog.format('To let %I write to captured tables: grant pgq_writer to %I',
                                           current_user, current_user);
    end if;
end;
$$ language plpgsql stable;
