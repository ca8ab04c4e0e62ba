-- Rows for the shop, with what breaks naive copying: quotes, backslashes, tabs, line ends, NULLs
-- beside empty strings, text beyond ASCII.
insert into shop."Customer" ("Full Name", email, since, tags, profile, notes)
select
    case i % 5
        when 0 then 'O''Neill ' || i
        when 1 then E'back\\slash \\N ' || i
        when 2 then 'Жук Ångström 漢字 🦀 ' || i
        else 'Customer ' || i
    end,
    case when i % 7 > 0 then 'c' || i || '@example.com' end,
    timestamptz '2020-02-29 23:59:59.999999+00' + i * interval '11 hours 13 minutes',
    case i % 4 when 0 then null when 1 then '{}' else array['a,b', 'c"d', 'null', null, i::text] end,
    case when i % 3 > 0 then jsonb_build_object('level', i % 10, 'quote', '"', 'nested', '[1,{"a":null}]'::jsonb) end,
    case i % 6 when 0 then null when 1 then '' when 2 then E'two\nlines\r\nand a\ttab' when 3 then E'\\.' else repeat('x', i % 300) end
from generate_series(1, 5000) i;

insert into shop.product
select
    'SKU-' || lpad(i::text, 5, '0'),
    'Product "' || i || '"',
    (i * 7919 % 100000) / 100.0,
    case when i % 2 = 0 then json_build_object('size', i % 9, 'colour', null) end,
    case i % 10 when 0 then 'infinity' else timestamp '2001-01-01' + i * interval '1 minute' end,
    case i % 11 when 0 then 'NaN' when 1 then '-Infinity' else i / 3.0 end,
    case when i % 4 = 0 then decode(md5(i::text), 'hex') end
from generate_series(1, 1000) i;

insert into shop."order" ("user", placed, total, paid, "desc")
select
    1 + i * 31 % 5000,
    timestamptz '2024-01-01' + i * interval '17 minutes',
    case when i % 9 > 0 then i / 7.0 end,
    case i % 3 when 0 then null else i % 2 = 0 end,
    case when i % 5 = 0 then 'leave at "door" \ ring twice' end
from generate_series(1, 10000) i;

insert into shop.order_line
select o, l, 'SKU-' || lpad((1 + (o * 13 + l) % 1000)::text, 5, '0'), 1 + (o + l) % 5, (o + l) % 1000 / 10.0
from generate_series(1, 10000) o, generate_series(1, 3) l;
