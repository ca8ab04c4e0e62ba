-- Captures: triggers with a function generated for them, and generic ones that call one.
create table if not exists pgq.capture (
    cap_relid       oid not null,
    -- of statement triggers without what tells the three apart
    cap_trigger     name not null,
    -- in pgq_gen
    cap_function    text not null,
    cap_format      text not null,
    cap_level       text not null,
    cap_queue       text not null,
    cap_args        text[] not null,
    -- fingerprint of all that the function was generated from
    cap_shape       text not null,
    cap_generated   timestamptz not null default now(),
    -- by number of the column, the name under which cap_args knows it: that of the time when they were given. Null for
    -- a column that was dropped, '' for one whose name cap_args uses for another
    cap_columns     text[],
    -- what maintenance found wrong with it at last, since when, and what to do
    cap_problem     text,
    cap_problem_since timestamptz,
    cap_advice      text,

    constraint capture_pkey primary key (cap_relid, cap_trigger)
);
