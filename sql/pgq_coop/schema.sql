-- Schema of cooperative consumers: several processes share the position of one consumer of pgq.
do $$
begin
    if to_regnamespace('pgq') is null then
        raise exception 'pgq_coop needs the schema pgq, install that first';
    end if;
    -- Not "if not exists": that would demand CREATE on the database even when there is nothing to do.
    if to_regnamespace('pgq_coop') is null then
        create schema pgq_coop;
    end if;
end
$$;

grant usage on schema pgq_coop to public;
