create or replace function pgq._is_change(i_new text, i_old text, i_equal boolean, i_by_text boolean)
returns boolean as $$
-- pgq._is_change(4): whether an UPDATE changed a column.
-- Parameters:
--      i_new, i_old      text of the values
--      i_equal           whether they are equal; null: the type has no equality, the text decides
--      i_by_text         whether equal values that read differently have changed
-- Used by:  pgq._capture_data
    select case when i_by_text or i_equal is null
                then i_equal is false or i_new collate "C" is distinct from i_old
                else not i_equal
           end;
$$ language sql immutable;
