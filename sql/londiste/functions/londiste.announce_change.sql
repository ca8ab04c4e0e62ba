create or replace function londiste.announce_change()
returns trigger as $$
-- londiste.announce_change(0): trigger of londiste.subscriber_table: wakes those up who wait for a change of it.
-- Changes:  notifies the channel "londiste", without a payload
begin
    perform pg_notify('londiste', '');
    return null;
end;
$$ language plpgsql set search_path = pg_catalog, pg_temp;

create or replace trigger announce_change after insert or update or delete on londiste.subscriber_table
    for each statement execute function londiste.announce_change();
-- Also where changes are applied in the role replica.
alter table londiste.subscriber_table enable always trigger announce_change;
