create or replace function pgq.set_queue_config(x_queue_name text, x_param_name text, x_param_value text)
returns integer as $$
-- pgq.set_queue_config(3): changes a setting of a queue.
-- Parameters:
--      x_queue_name      an existing queue
--      x_param_name      column of pgq.queue, with or without the prefix queue_
--      x_param_value     new value as text; null: the column's default
-- Returns:  1
-- Raises:   "Invalid NULL value"; "No such event queue"; "cannot change parameter ..."; a value that
--           its type does not read, or that is negative
-- Changes:  pgq.queue
-- Used by:  pgqadm config, clients
declare
    v_name  text := regexp_replace(x_param_name, '^queue_', '');
    v_type  text;
begin
    if x_queue_name is null or x_param_name is null then
        raise exception 'Invalid NULL value';
    end if;
    if not exists (select from pgq.queue where queue_name = x_queue_name) then
        raise exception 'No such event queue';
    end if;
    v_type := case v_name
        when 'ticker_max_count' then 'integer'
        when 'ticker_max_lag' then 'interval'
        when 'ticker_idle_period' then 'interval'
        when 'ticker_paused' then 'boolean'
        when 'rotation_period' then 'interval'
        when 'external_ticker' then 'boolean'
        when 'disable_insert' then 'boolean'
        when 'per_tx_limit' then 'integer'
        when 'notify' then 'boolean'
        when 'max_retries' then 'integer'
    end;
    if v_type is null then
        raise exception 'cannot change parameter "%"', x_param_name;
    end if;

    if x_param_value is null then
        execute format('update pgq.queue set %I = default where queue_name = $1', 'queue_' || v_name)
          using x_queue_name;
    else
        if v_type = 'integer' and x_param_value::integer < 0
           or v_type = 'interval' and x_param_value::interval < interval '0' then
            raise exception 'parameter "%" cannot be negative', x_param_name
                using errcode = 'invalid_parameter_value';
        end if;
        execute format('update pgq.queue set %I = $2::%s where queue_name = $1', 'queue_' || v_name, v_type)
          using x_queue_name, x_param_value;
    end if;
    return 1;
end;
$$ language plpgsql security definer set search_path = pg_catalog, pgq, pg_temp;
