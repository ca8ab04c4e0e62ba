create or replace function londiste.note_state_change()
returns trigger as $$
-- londiste.note_state_change(0): trigger of londiste.subscriber_table: remembers when a state was reached.
begin
    new.state_since := now();
    return new;
end;
$$ language plpgsql set search_path = pg_catalog, pg_temp;

create or replace trigger note_state_change before update on londiste.subscriber_table
    for each row when (old.merge_state is distinct from new.merge_state)
    execute function londiste.note_state_change();
-- Also where changes are applied in the role replica.
alter table londiste.subscriber_table enable always trigger note_state_change;
