do $$
declare
    v_function  text;
begin
    if to_regtype('pg_catalog.txid_snapshot') is null then
        raise exception 'this server has no type txid_snapshot'
            using hint = 'PostgreSQL 14 to 18 are supported';
    end if;
    foreach v_function in array array[
        'txid_current()', 'txid_current_snapshot()', 'txid_snapshot_xmin(txid_snapshot)',
        'txid_snapshot_xmax(txid_snapshot)', 'txid_snapshot_xip(txid_snapshot)',
        'txid_visible_in_snapshot(bigint,txid_snapshot)']
    loop
        if to_regprocedure('pg_catalog.' || v_function) is null then
            raise exception 'this server has no function %', v_function
                using hint = 'PostgreSQL 14 to 18 are supported';
        end if;
    end loop;
end
$$;
