create or replace function pgq._capture_options(
    i_format text, i_generated boolean, i_when text, i_args text[],
    out format text, out queue_name text, out skip boolean, out backup boolean,
    out ignored text, out keys text, out kinds text,
    out expressions text[], out has_expressions boolean,
    out deny boolean, out key_updates boolean, out by_text boolean, out pinned boolean, out minimal boolean)
as $$
-- pgq._capture_options(4): reads the arguments of a capture trigger.
-- Parameters:
--      i_format      sql, urlenc or json: queue and named options; kinds: queue, a letter per column,
--                    and a table name that is not used
--      i_generated   whether the trigger was generated: only those have backup=changes, key_updates=,
--                    changes=, settings= and encoding=
--      i_when, i_args      tg_when, tg_argv
-- Returns:  format: sql, urlenc or json; queue_name; skip and backup as given, whatever is backed up; ignored and keys: column
--           lists, null if not given; kinds: the letters; expressions: of ev_type, ev_data,
--           ev_extra1 to ev_extra4 and when; deny: refuse every change; key_updates: a change of the key
--           is an event, not an error; by_text: a value that equals the old one and reads differently
--           has changed; pinned: render under fixed settings; minimal: encode only what a reader needs
-- Raises:   "pgq trigger must have destination queue as argument"; "bad param to pgq trigger"; "SKIP does
--           not work in AFTER trigger."; "pgq.logtriga must be used with 2 or 3 args"; "need at least one
--           key column"
-- Used by:  pgq._capture, pgq._capture_truncate, pgq_gen._function
declare
    c_expressions   constant text[] := '{ev_type,ev_data,ev_extra1,ev_extra2,ev_extra3,ev_extra4,when}';
    v_arg           text;
    v_value         text;
    v_place         integer;
begin
    format := i_format;
    queue_name := i_args[0];
    skip := false;
    backup := false;
    expressions := array_fill(null::text, array[cardinality(c_expressions)]);
    has_expressions := false;
    deny := false;
    key_updates := false;
    by_text := false;
    pinned := false;
    minimal := false;

    if i_format = 'kinds' then
        format := 'sql';
        if coalesce(cardinality(i_args), 0) not in (2, 3) then
            raise exception 'pgq.logtriga must be used with 2 or 3 args';
        end if;
        kinds := i_args[1];
        key_updates := true;
        if strpos(kinds, 'k') = 0 then
            raise exception 'need at least one key column';
        end if;
        return;
    end if;

    if queue_name is null then
        raise exception 'pgq trigger must have destination queue as argument';
    end if;
    foreach v_arg in array i_args[1:] loop
        v_value := substr(v_arg, strpos(v_arg, '=') + 1);
        v_place := array_position(c_expressions, substring(v_arg from '^([a-z0-9_]+)='));
        case
            when v_arg = 'SKIP' then
                skip := true;
            when v_arg = 'backup' or i_generated and v_arg = 'backup=changes' then
                backup := true;
            when v_arg = 'deny' then
                deny := true;
            when starts_with(v_arg, 'ignore=') then
                ignored := v_value;
            when starts_with(v_arg, 'pkey=') then
                keys := v_value;
            when v_place is not null then
                expressions[v_place] := coalesce(expressions[v_place], v_value);
                has_expressions := true;
            when i_generated and format = 'sql' and v_arg in ('key_updates=refuse', 'key_updates=log') then
                key_updates := v_value = 'log';
            when i_generated and v_arg in ('changes=equal', 'changes=text') then
                by_text := v_value = 'text';
            when i_generated and v_arg in ('settings=session', 'settings=pinned') then
                pinned := v_value = 'pinned';
            when i_generated and format = 'urlenc' and v_arg in ('encoding=full', 'encoding=minimal') then
                minimal := v_value = 'minimal';
            else
                raise exception 'bad param to pgq trigger' using detail = 'argument: ' || v_arg;
        end case;
    end loop;
    if skip and i_when = 'AFTER' then
        raise exception 'SKIP does not work in AFTER trigger.';
    end if;
end;
$$ language plpgsql immutable set search_path = pg_catalog, pgq, pg_temp;
