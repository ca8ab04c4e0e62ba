-- Schema of generated captures: triggers made for one table and one list of arguments, and what they
-- are made with. Nobody but the owner creates anything here.
do $$
begin
    if to_regnamespace('pgq_gen') is null then
        create schema pgq_gen;
    end if;
end
$$;

grant usage on schema pgq_gen to public;
