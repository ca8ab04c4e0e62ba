-- Installing where nothing is belongs to pgq_ext.sql.
do $$
begin
    if to_regnamespace('pgq_ext') is null then
        raise exception 'there is no schema pgq_ext to upgrade'
            using errcode = 'invalid_schema_name', hint = 'To install pgq_ext, run pgq_ext.sql.';
    end if;
end
$$;
