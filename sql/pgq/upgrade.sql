-- Tables of an older version get what they lack before the functions need it.
do $$
begin
    perform pgq.upgrade_schema();
end
$$;
