//! What arrives, and when the program refuses.

use std::time::Duration;

use testkit::{TestResult, create_queue, events_of, tick, wait_until};

const PATIENCE: Duration = Duration::from_secs(60);

/// One event for each way in which a field can be odd.
const ODD: &str = r"
    select pgq.insert_event('from', null, null, null, null, null, null);
    select pgq.insert_event('from', '', '', '', '', '', '');
    select pgq.insert_event('from', 'a' || chr(9) || chr(10) || chr(13) || chr(8), E'\\N', '\.', '\\', '%20+&=', '''\x');
    select pgq.insert_event('from', 'é', '𝄞 ' || repeat('long ', 100000), 'NULL', ' ', '  ', 'x');
    select pgq.insert_event_raw('from', null, t, null, null, 'time', null, null, null, null, null)
      from unnest('{-infinity,infinity,2000-01-01 00:00:00.000001+00,0044-03-15 12:00:00+00 BC}'::timestamptz[]) t;
";

#[test]
fn events_arrive_as_they_are_in_their_order_and_position_follows() -> TestResult {
    let site = crate::site()?;
    let (mut src, mut dst) = (site.db("src")?, site.db("dst")?);
    site.drain("mover")?;
    let mut count = 0;
    for round in 0..3 {
        match round {
            0 => src.batch_execute(ODD)?,
            // A big one; then none.
            1 => src.batch_execute(
                "select pgq.insert_event('from', 'many', n::text) from generate_series(1, 5000) n",
            )?,
            _ => {}
        }
        tick(&mut src, "from")?;
        site.drain("mover")?;
        let (sent, received) = (events_of(&mut src, "from")?, events_of(&mut dst, "to")?);
        assert_eq!(received, sent);
        count = sent.len();
        let position = "select last_tick from pgq.get_consumer_info('from', 'mover')";
        let position: i64 = src.query_one(position, &[])?.get(0);
        let stored = "select pgq_ext.get_last_tick('mover')";
        assert_eq!(dst.query_one(stored, &[])?.get::<_, i64>(0), position);
    }
    assert_eq!(count, 5008);
    let log = site.log("mover");
    assert!(log.contains("{count: 5000, duration: "), "{log}");
    assert!(log.contains(", inserted: 5000, lag: "), "{log}");
    assert!(log.contains("{count: 0, duration: "), "{log}");

    // A retried event becomes a fresh one, and a filter holds others back.
    src.batch_execute(
        "select pgq.insert_event_raw('from', null, now(), null, 3, 'again', 'x', null, null, null, null);
         select pgq.insert_event('from', 'of', 'a', 'public.a', null, null, null);
         select pgq.insert_event('from', 'of', 'b', 'public.b', null, null, null)",
    )?;
    tick(&mut src, "from")?;
    site.write("mover", "table_filter = a")?;
    site.drain("mover")?;
    let fresh: i64 = dst
        .query_one(
            "select count(*) from pgq.event_template where ev_retry is not null",
            &[],
        )?
        .get(0);
    assert_eq!(fresh, 0);
    assert_eq!(events_of(&mut dst, "to")?.len(), count + 1);
    Ok(())
}

#[test]
fn a_dry_run_shows_a_batch_and_leaves_both_sides_as_they_are() -> TestResult {
    let site = crate::site()?;
    let (mut src, mut dst) = (site.db("src")?, site.db("dst")?);
    site.refused(
        "mover.ini --dry-run",
        "not registered on queue from; --register does it",
    )?;
    site.program("mover.ini --register").succeed()?;
    let shown = site.program("mover.ini --dry-run").succeed()?.stdout;
    assert_eq!(shown, "no batch to apply\n");
    src.batch_execute(
        "select pgq.insert_event('from', 'a', n::text) from generate_series(1, 3) n",
    )?;
    tick(&mut src, "from")?;
    for _ in 0..2 {
        let shown = site.program("mover.ini --dry-run").succeed()?.stdout;
        assert!(
            shown.starts_with("batch ")
                && shown.ends_with("to: 3 inserted, 0 updated, 0 deleted\n"),
            "{shown}"
        );
    }
    assert!(events_of(&mut dst, "to")?.is_empty());
    site.drain("mover")?;
    assert_eq!(events_of(&mut dst, "to")?.len(), 3);
    Ok(())
}

#[test]
fn what_makes_no_sense_is_refused() -> TestResult {
    let site = crate::site()?;
    let (mut src, mut dst) = (site.db("src")?, site.db("dst")?);
    let own = site.cluster.conninfo("src");

    // The same database, another queue: works. The same queue: would feed itself.
    create_queue(&mut src, "beside")?;
    site.write(
        "beside",
        &format!("dst_db = {own}\ndst_queue_name = beside"),
    )?;
    site.drain("beside")?;
    src.batch_execute("select pgq.insert_event('from', 'a', 'b')")?;
    tick(&mut src, "from")?;
    site.drain("beside")?;
    assert_eq!(events_of(&mut src, "beside")?, events_of(&mut src, "from")?);
    site.write("itself", &format!("dst_db = {own}\ndst_queue_name = from"))?;
    site.refused("itself.ini", "queue from would be moved into itself")?;
    site.refused(
        "itself.ini --register",
        "queue from would be moved into itself",
    )?;
    let registered = "select from pgq.get_consumer_info('from', 'itself')";
    assert!(src.query(registered, &[])?.is_empty());
    // Of the same name elsewhere it is another one.
    create_queue(&mut dst, "from")?;
    site.write("namesake", "dst_queue_name = from")?;
    site.drain("namesake")?;

    // A target queue that does not exist, or takes nothing, stops even an empty batch.
    site.write("nowhere", "dst_queue_name = nowhere")?;
    let missing =
        "queue nowhere does not exist at the target; `pgqadm INI create nowhere` makes it";
    for arguments in ["--register", "--once", "--dry-run"] {
        site.refused(&format!("nowhere.ini {arguments}"), missing)?;
    }
    let registered = "select from pgq.get_consumer_info('from', 'nowhere')";
    assert!(src.query(registered, &[])?.is_empty());
    // A job that runs goes on as soon as it is there.
    let mut job = site.program("nowhere.ini").spawn()?;
    wait_until("the job to say so", PATIENCE, || {
        Ok(site.log("nowhere").contains(missing))
    })?;
    create_queue(&mut dst, "nowhere")?;
    wait_until("the job to register", PATIENCE, || {
        Ok(!src.query(registered, &[])?.is_empty())
    })?;
    site.program("nowhere.ini -s").succeed()?;
    assert!(job.wait(PATIENCE)?.success());
    // Dropped later, it stops even an empty batch.
    dst.batch_execute("select pgq.drop_queue('nowhere')")?;
    tick(&mut src, "from")?;
    site.refused("nowhere.ini --once", missing)?;
    site.drain("namesake")?;
    dst.batch_execute("select pgq.set_queue_config('from', 'disable_insert', '1')")?;
    tick(&mut src, "from")?;
    site.refused("namesake.ini --once", "Writing to queue disabled")?;
    Ok(())
}

#[test]
fn a_role_that_may_only_call_functions_gets_events_moved_with_a_warning() -> TestResult {
    let site = crate::site()?;
    let (mut src, mut dst) = (site.db("src")?, site.db("dst")?);
    dst.batch_execute(
        "create role caller login in role pgq_writer;
         grant usage on schema pgq_ext to caller",
    )?;
    let as_caller = site
        .cluster
        .conninfo("dst")
        .replace("user=postgres", "user=caller");
    site.write("mover", &format!("dst_db = {as_caller}"))?;
    site.drain("mover")?;
    src.batch_execute(ODD)?;
    src.batch_execute(
        "select pgq.insert_event('from', 'n', n::text) from generate_series(1, 2500) n",
    )?;
    tick(&mut src, "from")?;
    site.drain("mover")?;
    let without_time = |lines: Vec<String>| -> Vec<String> {
        let cut = |line: &String| line[..line.rfind(',').unwrap_or_default()].to_owned();
        lines.iter().map(cut).collect()
    };
    let (sent, received) = (events_of(&mut src, "from")?, events_of(&mut dst, "to")?);
    assert_eq!(without_time(received), without_time(sent));
    let warning = "events go through pgq.insert_event, which is slower and sets their time";
    assert_eq!(
        site.log("mover").matches(warning).count(),
        1,
        "{}",
        site.log("mover")
    );

    let raw = "pgq.insert_event_raw(text, bigint, timestamptz, int, int, text, text, text, text, text, text)";
    dst.batch_execute(&format!(
        "alter function {raw} security definer; grant execute on function {raw} to caller"
    ))?;
    src.batch_execute(ODD)?;
    tick(&mut src, "from")?;
    site.drain("mover")?;
    let (sent, received) = (events_of(&mut src, "from")?, events_of(&mut dst, "to")?);
    for (received, sent) in received.iter().rev().zip(sent.iter().rev()).take(8) {
        assert!(received == sent, "{received:.99} is not {sent:.99}");
    }
    Ok(())
}

#[test]
fn servers_convert_between_their_encodings() -> TestResult {
    let site = crate::site_with_encoding("LATIN1")?;
    let (mut src, mut dst) = (site.db("src")?, site.db("dst")?);
    site.drain("mover")?;
    src.batch_execute("select pgq.insert_event('from', 'é', 'caf%e9 ÿ')")?;
    tick(&mut src, "from")?;
    site.drain("mover")?;
    assert_eq!(events_of(&mut dst, "to")?, events_of(&mut src, "from")?);
    Ok(())
}
