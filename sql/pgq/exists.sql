-- Installing where nothing is belongs to pgq.sql.
do $$
begin
    if to_regnamespace('pgq') is null then
        raise exception 'there is no schema pgq to upgrade'
            using errcode = 'invalid_schema_name', hint = 'To install PgQ, run pgq.sql.';
    end if;
end
$$;
