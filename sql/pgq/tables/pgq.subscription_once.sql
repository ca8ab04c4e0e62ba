-- One row per queue and consumer; see pgq._one_subscription. After, not before: a trigger before an
-- update would lock the row a second time, whatever columns it waits for.
do $$
begin
    if not exists (select from pg_trigger
                    where tgrelid = 'pgq.subscription'::regclass and tgname = 'subscription_once') then
        create trigger subscription_once
            after insert or update of sub_queue, sub_consumer on pgq.subscription
            for each row execute function pgq._one_subscription();
    end if;
end
$$;
