//! Many queues and tables, and large values.

use testkit::{TestResult, tick, wait_for};

use crate::{KINDS, Kind, PATIENCE, Site};

/// Most memory that a program takes beside what one value takes, in KB.
const LIMIT_KB: u32 = 24 * 1024;

/// How many times a value may stand in memory.
const VALUES: u32 = 8;

/// Has a job apply a batch; returns the most memory that was seen in its hands, in KB.
fn apply_one(it: &Site, kind: &Kind) -> TestResult<u32> {
    let mut running = it
        .site
        .program(&format!("{}.ini --once", kind.program))
        .spawn()?;
    let mut peak = 0;
    let status = wait_for("the batch to be applied", 4 * PATIENCE, || {
        // It may end meanwhile.
        peak = running.peak_memory_kb().unwrap_or_default().max(peak);
        running.ended()
    })?;
    let log = it.site.log(kind.program);
    assert!(status.success() && peak > 0, "{status}, {peak} KB: {log}");
    Ok(peak)
}

fn kind_of(program: &str) -> TestResult<&'static Kind> {
    let kind = KINDS.iter().find(|kind| kind.program == program);
    Ok(kind.ok_or("no such program")?)
}

#[test]
fn five_hundred_queues_get_their_events_from_one() -> TestResult {
    let mut it = Site::start()?;
    let kind = kind_of("queue_splitter")?;
    for part in 0..10 {
        // Each has locks for all that it makes.
        it.dst.execute(
            "select count(pgq.create_queue('q' || n)) from generate_series($1 * 50 + 1, $1 * 50 + 50) n",
            &[&part],
        )?;
    }
    it.turn_to(kind, "")?;
    it.src.batch_execute(
        "select pgq.insert_event('from', 'x', n || '/' || m, 'q' || m, null, null, null)
           from generate_series(1, 3) n, generate_series(1, 500) m",
    )?;
    tick(&mut it.src, "from")?;
    it.site.drain(kind.program)?;
    // In each of them three, in their order.
    let right: i64 = it
        .dst
        .query_one(
            "select count(*) from (
                 select queue_name, array_agg(ev_data order by ev_id) as arrived
                   from pgq.queue
                   join (select substring(tableoid::regclass::text from '^(.*)_') as pfx, ev_id, ev_data
                           from pgq.event_template) e on pfx = queue_data_pfx
                  group by 1) q
              where arrived = (select array_agg(n || '/' || substr(queue_name, 2)) from generate_series(1, 3) n)",
            &[],
        )?
        .get(0);
    assert_eq!(right, 500);
    Ok(())
}

#[test]
fn a_thousand_tables_are_written_to_in_one_batch() -> TestResult {
    let mut it = Site::start()?;
    let tables: String = (1..=1000)
        .map(|n| format!("create table many_{n} (id int primary key, v text);"))
        .collect();
    it.dst.batch_execute(&tables)?;
    let sums = |it: &mut Site, tables: &str| -> TestResult<(i64, i64)> {
        let row = it.dst.query_one(
            "select count(*), sum((xpath('//c/text()', query_to_xml(
                 format('select count(*) as c from %s', oid::regclass), false, true, '')))[1]::text::int8)::int8
               from pg_class where relkind = 'r' and relname ~ $1",
            &[&tables],
        )?;
        Ok((row.get(0), row.get(1)))
    };
    for (program, lines, tables) in [
        ("bulk_loader", "merge_mode = upsert", "^many_[0-9]+$"),
        (
            "cube_dispatcher",
            "mode = keep_latest",
            "^many_[0-9]+_kept$",
        ),
        (
            "table_dispatcher",
            "part_field = v\npart_strict = 0\npart_template = create table _DEST_TABLE () inherits (_PARENT)",
            "^log_[0-9]+$",
        ),
    ] {
        let kind = kind_of(program)?;
        it.turn_to(kind, lines)?;
        it.src.batch_execute(
            "select pgq.insert_event('from', 'U:id', 'id=' || n || '&v=' || m, 'public.many_' || m, null, null, null)
               from generate_series(1, 2) n, generate_series(1, 1000) m",
        )?;
        tick(&mut it.src, "from")?;
        it.site.drain(program)?;
        assert_eq!(sums(&mut it, tables)?, (1000, 2000), "{program}");
    }
    Ok(())
}

/// What has a program hold less than it may.
fn memory_of(kind: &Kind) -> &'static str {
    match kind.program {
        "bulk_loader" => "batch_memory_limit = 4",
        _ => "",
    }
}

#[test]
fn large_values_and_batches_take_the_memory_of_a_part_of_them() -> TestResult {
    let megabytes: i32 = match std::env::var("MOVER_VALUE_MB") {
        Ok(text) => text.parse()?,
        Err(_) => 4,
    };
    let mut it = Site::start()?;
    for kind in &KINDS {
        it.turn_to(kind, memory_of(kind))?;
    }
    // Some of it has two bytes for a letter, and every blank is encoded.
    let value = "repeat('%c3%a9+' || repeat('x', 61), $1 * 16384)";
    it.src.execute(
        &format!(
            "select pgq.insert_event('from', 'I:id', 'id=1&v=' || {value}, 'public.t', null, null, null)"
        ),
        &[&megabytes],
    )?;
    tick(&mut it.src, "from")?;
    // More than a program may take; each row twice.
    it.src.batch_execute(
        "insert into pgq.event_1_0 (ev_time, ev_type, ev_data, ev_extra1)
         select now(), case when n % 2 = 0 then 'I:id' else 'U:id' end,
                'id=' || n / 2 || '&v=' || repeat('x', 1900), 'public.t'
           from generate_series(4, 16003) n",
    )?;
    tick(&mut it.src, "from")?;
    for kind in &KINDS {
        let name = kind.program;
        it.site.turn_to(name, kind.lines);
        let peak = apply_one(&it, kind)?;
        // The value is longer by a part while it is encoded, and stands in a few places at once.
        let limit = LIMIT_KB + VALUES * u32::try_from(megabytes)? * 1024;
        assert!(peak < limit, "{name}: {peak} KB");
        assert_eq!(it.arrived(kind)?, [1], "{name}");
        let same = match kind.insert.starts_with("insert") {
            true => {
                let table = kind.insert.split(' ').nth(2).unwrap_or_default();
                format!(
                    "select md5(v) = md5(repeat('é ' || repeat('x', 61), $1 * 16384)) from {table}"
                )
            }
            false => format!(
                "select bool_and(md5(ev_data) = md5('id=1&v=' || {value})) from pgq.event_template
                  where ev_data ~ '^id=1&'"
            ),
        };
        let same: bool = it.dst.query_one(&same, &[&megabytes])?.get(0);
        assert!(same, "{name}");
        let peak = apply_one(&it, kind)?;
        assert!(peak < LIMIT_KB, "{name}: {peak} KB");
        let mut ids = it.arrived(kind)?;
        ids.dedup();
        assert!(ids.into_iter().eq(1..=8001), "{name}");
    }
    Ok(())
}
