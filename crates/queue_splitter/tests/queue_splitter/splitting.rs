//! What arrives where.

use testkit::{Cluster, MoverSite, TestResult, create_queue, events_of, run_page, tick};

#[test]
fn events_arrive_as_they_are_in_the_queues_that_they_name() -> TestResult {
    let site = MoverSite::start("queue_splitter", "")?;
    let (mut src, mut dst) = (site.db("src")?, site.db("dst")?);
    for queue in ["a", "public.Über\" 'b'\\"] {
        create_queue(&mut dst, queue)?;
    }
    site.drain("mover")?;
    // Every other event is for the other queue; some fill more than one buffer.
    src.batch_execute(
        r#"select pgq.insert_event('from', nullif('t' || n, 't3'), nullif(chr(9) || E'\\N\n' || n, ''),
                   case n % 2 when 0 then 'a' else 'public.Über" ''b''\' end,
                   nullif(repeat('x', n % 3), ''), null, '')
             from generate_series(1, 3000) n;
           select pgq.insert_event('from', 'long', repeat('long ', 80000), 'a', null, null, null)
             from generate_series(1, 6);
           select pgq.insert_event_raw('from', null, t, null, null, 'time', null, 'a', null, null, null)
             from unnest('{-infinity,infinity,2000-01-01 00:00:00.000001+00,0044-03-15 12:00:00+00 BC}'::timestamptz[]) t"#,
    )?;
    tick(&mut src, "from")?;
    site.drain("mover")?;
    let sent = events_of(&mut src, "from")?;
    let mut arrived = 0;
    for (queue, mark) in [("a", ",a,"), ("public.Über\" 'b'\\", ",\"public.Über")] {
        let received = events_of(&mut dst, queue)?;
        let own: Vec<&String> = sent.iter().filter(|event| event.contains(mark)).collect();
        assert!(received.iter().eq(own), "{queue}");
        arrived += received.len();
    }
    assert_eq!(arrived, 3010);
    assert!(
        site.log("mover").contains("{count: 3010, duration: "),
        "{}",
        site.log("mover")
    );
    // Without events no queue is needed.
    dst.batch_execute("select pgq.drop_queue(queue_name) from pgq.queue")?;
    tick(&mut src, "from")?;
    site.drain("mover")
}

#[test]
fn the_example_of_the_page_works_as_shown() -> TestResult {
    if !run_page(
        include_str!("../../../../docs/queue_splitter.md"),
        &Cluster::start()?,
    )? {
        eprintln!("skipped: the server came without psql");
    }
    Ok(())
}

#[test]
fn any_field_of_text_can_name_the_queue() -> TestResult {
    let site = MoverSite::start("queue_splitter", "")?;
    let (mut src, mut dst) = (site.db("src")?, site.db("dst")?);
    let fields = ["type", "ev_data", "extra1", "ev_extra2", "extra3", "extra4"];
    for field in fields {
        create_queue(&mut dst, field)?;
        site.write(field, &format!("queue_field = {field}"))?;
        site.drain(field)?;
    }
    src.execute(
        "select pgq.insert_event('from', $1, $2, $3, $4, $5, $6)",
        &[
            &fields[0], &fields[1], &fields[2], &fields[3], &fields[4], &fields[5],
        ],
    )?;
    tick(&mut src, "from")?;
    for field in fields {
        site.drain(field)?;
        assert_eq!(events_of(&mut dst, field)?.len(), 1, "{field}");
    }
    for wrong in ["id", "ev_time", "txid", "retry", "extra5"] {
        site.write("wrong", &format!("queue_field = {wrong}"))?;
        site.refused("wrong.ini", "queue_field is none of type, data, extra1")?;
    }
    Ok(())
}

#[test]
fn a_role_that_may_only_call_functions_writes_slowly_and_a_closed_queue_blocks() -> TestResult {
    let site = MoverSite::start("queue_splitter", "")?;
    let (mut src, mut dst) = (site.db("src")?, site.db("dst")?);
    create_queue(&mut dst, "a")?;
    dst.batch_execute(
        "create role caller login in role pgq_writer; grant usage on schema pgq_ext to caller",
    )?;
    let as_caller = site
        .cluster
        .conninfo("dst")
        .replace("user=postgres", "user=caller");
    site.write("mover", &format!("dst_db = {as_caller}"))?;
    site.drain("mover")?;
    let put = "select pgq.insert_event('from', 'n', n::text, 'a', null, null, null)
                 from generate_series(1, 10) n";
    src.batch_execute(put)?;
    tick(&mut src, "from")?;
    site.drain("mover")?;
    assert_eq!(events_of(&mut dst, "a")?.len(), 10);
    let warning = "events go through pgq.insert_event, which is slower and sets their time";
    let log = site.log("mover");
    assert_eq!(log.matches(warning).count(), 1, "{log}");

    dst.batch_execute("select pgq.set_queue_config('a', 'disable_insert', '1')")?;
    src.batch_execute(put)?;
    tick(&mut src, "from")?;
    site.refused("mover.ini --once", "Writing to queue disabled")?;
    dst.batch_execute("select pgq.set_queue_config('a', 'disable_insert', '0')")?;
    site.drain("mover")?;
    assert_eq!(events_of(&mut dst, "a")?.len(), 20);
    Ok(())
}
