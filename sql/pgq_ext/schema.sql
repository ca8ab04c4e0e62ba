-- Schema of what consumers remember in a target database; needs no queue there.
do $$
begin
    -- Not "if not exists": that would demand CREATE on the database even when there is nothing to do.
    if to_regnamespace('pgq_ext') is null then
        create schema pgq_ext;
    end if;
end
$$;

grant usage on schema pgq_ext to public;
