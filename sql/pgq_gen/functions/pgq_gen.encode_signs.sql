create or replace function pgq_gen.encode_signs(i_value text)
returns text as $$
-- pgq_gen.encode_signs(1): encodes a value that holds more than letters, digits and spaces, or is large.
-- Parameters, Returns:      as for pgq_gen.encode
-- Used by:  pgq_gen.encode
begin
    -- Regular expressions take four bytes a character: the server has no room for that with large values.
    if pg_catalog.octet_length(i_value) operator(pg_catalog.>=) 50000000
       or i_value operator(pg_catalog.~) '[^ -~]' then
        return pgq._urlencode(i_value);
    elsif i_value operator(pg_catalog.~) '[&=]' then
        return pg_catalog.replace(pg_catalog.replace(pgq_gen.encode_row(i_value, i_value), '&', '%26'), '=', '%3d');
    end if;
    return pgq_gen.encode_row(i_value, i_value);
end;
-- Without settings of its own, which would cost more than it does.
$$ language plpgsql stable;
