create or replace function pgq._row_values(i_text text)
returns text[] as $$
-- pgq._row_values(1): takes the text of a row apart.
-- Parameters:
--      i_text      output of a composite value: (1,"a ""b"" \\c",)
-- Returns:  text of its columns, each as its output function wrote it; null for a null
-- Used by:  pgq._capture
begin
    return (
        select array_agg(
                   -- Quoted if it holds anything special, and the empty string always is.
                   case when m[1] is null then nullif(m[2], '')
                        else replace(replace(m[1], '""', '"'), E'\\\\', E'\\') end
                   order by n)
          from regexp_matches(substr(i_text, 2) collate "C",
                              E'"((?:[^"\\\\]|""|\\\\\\\\)*)"[,)]|([^",()\\\\]*)[,)]', 'g')
               with ordinality r (m, n));
end;
$$ language plpgsql immutable strict set search_path = pg_catalog, pgq, pg_temp;
