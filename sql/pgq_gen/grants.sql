-- Captures run as the owner, who generates them; whoever attaches them calls what checks and registers.
do $$
declare
    v_function  regprocedure;
begin
    -- Generated functions have their privileges from pgq_gen._grant.
    for v_function in
        select p.oid
          from pg_proc p
         where p.pronamespace = 'pgq_gen'::regnamespace
           and pg_has_role(p.proowner, 'usage')
           and p.proname not in (select c.cap_function from pgq.capture c)
    loop
        execute format('revoke all on function %s from public', v_function);
    end loop;
end
$$;

-- Called by captures with expressions, which run as the writer.
grant execute on function
    pgq_gen.shape(oid),
    pgq_gen.shape_ok(oid, text),
    pgq_gen.pinned_text(anyelement),
    pgq_gen.same_row(anyelement, anyelement),
    pgq_gen.encode(text),
    pgq_gen.encode_signs(text),
    pgq_gen.encode_row(text, text),
    pgq_gen.refuse_key_update(),
    pgq_gen.refuse_null_key(),
    pgq_gen.check_writer()
to public;

grant execute on function
    pgq_gen._argv(text[]),
    pgq_gen._format_of(text),
    pgq_gen._trigger_args(bytea, integer),
    pgq_gen._relation_of(pgq.capture),
    pgq_gen._generator(),
    pgq_gen._state(oid, text),
    pgq_gen._state(oid, text, text),
    pgq_gen._check_statement(oid, text, text[]),
    pgq_gen._write_insert_event(),
    pgq_gen._write_current_table(integer),
    pgq_gen.insert_event(integer, integer, timestamptz, integer, integer, text, text, text, text, text, text),
    pgq_gen._write(oid, text, text, text, text[]),
    pgq_gen._remove(oid, text)
to pgq_admin;
