-- Schema of the queues: metadata, functions, and the tables and sequences of every queue.
do $$
begin
    -- Not "if not exists": that would demand CREATE on the database even when there is nothing to do.
    if to_regnamespace('pgq') is null then
        create schema pgq;
    end if;
end
$$;

grant usage on schema pgq to public;
