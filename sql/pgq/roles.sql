-- Roles that functions and tables are granted to. Roles belong to the whole cluster, so another
-- database may have made them already, or be making them at this moment. They are never dropped.
do $$
declare
    v_role text;
begin
    foreach v_role in array array['pgq_reader', 'pgq_writer', 'pgq_admin'] loop
        if to_regrole(v_role) is null then
            begin
                execute format('create role %I nologin', v_role);
            exception
                when duplicate_object or unique_violation then
                    null;
                when insufficient_privilege then
                    raise exception 'there is no role %, and % may not create it', v_role, current_user
                        using errcode = 'insufficient_privilege',
                              hint = format('Ask a superuser for: create role %I nologin', v_role);
            end;
        end if;
    end loop;

    -- Reader and writer are siblings: a producer must not be able to close a consumer's batch.
    foreach v_role in array array['pgq_reader', 'pgq_writer'] loop
        if not exists (select from pg_auth_members
                        where roleid = to_regrole(v_role) and member = to_regrole('pgq_admin')) then
            begin
                execute format('grant %I to pgq_admin', v_role);
            exception
                when unique_violation then
                    null;
                when insufficient_privilege then
                    raise warning 'cannot make pgq_admin a member of %: ask a superuser for "grant % to pgq_admin"',
                        v_role, v_role;
            end;
        end if;
    end loop;
end
$$;
