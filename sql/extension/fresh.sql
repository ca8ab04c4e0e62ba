-- What is there without an extension is adopted, not created.
do $$
begin
    if exists (select from pg_namespace where nspname = any (string_to_array('@schemas@', ', '))) then
        raise exception '@extension@ is installed already, without an extension'
            using errcode = 'duplicate_schema',
                  hint = 'To make it one: create extension @extension@ version ''unpackaged'';'
                         ' alter extension @extension@ update;';
    end if;
end
$$;
