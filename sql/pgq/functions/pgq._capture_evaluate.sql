create or replace function pgq._capture_evaluate(i_query text, i_row anyelement, out value text, out type oid)
as $$
-- pgq._capture_evaluate(2): evaluates an expression of a trigger argument over a row.
-- Parameters:
--      i_query      query of pgq._capture_expression
--      i_row        the row, its $1
-- Returns:  value as text, and its type
-- Raises:   "Expect 1 row from override query, got ..."; what the expression raises
-- Used by:  pgq._capture
declare
    v_rows  bigint;
begin
    execute i_query into value, type using i_row;
    get diagnostics v_rows = row_count;
    if v_rows operator(pg_catalog.<>) 1 then
        raise exception 'Expect 1 row from override query, got %', v_rows;
    end if;
end;
-- Stable, hence read-only. No pinned search_path: the expression resolves in the writer's path.
$$ language plpgsql stable;
