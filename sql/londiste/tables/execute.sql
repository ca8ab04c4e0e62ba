-- Scripts that have run here; see londiste.execute_start.
create table if not exists londiste.applied_execute (
    queue_name          text not null,
    -- base name of the file
    execute_file        text not null,
    -- sha256 of the text, hexadecimal
    execute_hash        text not null,
    execute_time        timestamptz not null default now(),
    execute_sql         text not null,

    constraint applied_execute_pkey primary key (queue_name, execute_file, execute_hash)
);
