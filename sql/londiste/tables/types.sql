-- Rows that the list functions return.

do $$
begin
    if to_regtype('londiste.ret_provider_table_list') is null then
        create type londiste.ret_provider_table_list as (
            table_name          text,
            trigger_name        text
        );
    end if;
    if to_regtype('londiste.ret_subscriber_table') is null then
        create type londiste.ret_subscriber_table as (
            table_name          text,
            merge_state         text,
            snapshot            text,
            trigger_name        text,
            skip_truncate       bool
        );
    end if;
end;
$$;
