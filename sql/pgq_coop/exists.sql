-- Installing where nothing is belongs to pgq_coop.sql.
do $$
begin
    if to_regnamespace('pgq_coop') is null then
        raise exception 'there is no schema pgq_coop to upgrade'
            using errcode = 'invalid_schema_name', hint = 'To install pgq_coop, run pgq_coop.sql.';
    end if;
end
$$;
