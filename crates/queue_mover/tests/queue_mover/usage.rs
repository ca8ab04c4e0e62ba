//! Options, signals, reloading, and what only an operator can repair.

use std::time::Duration;

use testkit::{Job, TestResult, create_queue, events_of, tick, wait_until};

/// Longest wait for anything that has to happen.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_daemon_moves_reloads_and_stops() -> TestResult {
    let site = crate::site()?;
    let (mut src, mut dst) = (site.db("src")?, site.db("dst")?);
    let job = Job::new(site.path("mover.pid"));
    site.program("mover.ini -d").succeed()?;
    job.wait_alive(PATIENCE)?;
    let arrive = |src: &mut postgres::Client, dst: &mut postgres::Client, queue: &str, n: usize| {
        wait_until("the events to arrive", PATIENCE, || {
            tick(src, "from")?;
            Ok(events_of(dst, queue)?.len() == n)
        })
    };
    wait_until("the consumer to be registered", PATIENCE, || {
        let registered = "select from pgq.get_consumer_info('from', 'mover')";
        Ok(!src.query(registered, &[])?.is_empty())
    })?;
    src.batch_execute("select pgq.insert_event('from', 'a', '1')")?;
    arrive(&mut src, &mut dst, "to", 1)?;

    // A second process is refused: by the pidfile, and without it by the lock.
    site.refused("mover.ini", "another process running?")?;
    site.refused(
        "mover.ini --set pidfile= --set logfile=",
        "consumer pgq_ext.mover is run by another process",
    )?;
    site.refused("mover.ini --dry-run", "is run by another process")?;

    // A wrong configuration leaves the old one in force, a right one counts from the next batch on.
    site.write("mover", "loop_delay = soon")?;
    site.program("mover.ini -r --set loop_delay=1").succeed()?;
    wait_until("the refusal", PATIENCE, || {
        Ok(site.log("mover").contains("the old one stays"))
    })?;
    src.batch_execute("select pgq.insert_event('from', 'a', '2')")?;
    arrive(&mut src, &mut dst, "to", 2)?;
    create_queue(&mut dst, "other")?;
    site.write("mover", "dst_queue_name = other")?;
    site.program("mover.ini -r").succeed()?;
    wait_until("the reload", PATIENCE, || {
        Ok(site.log("mover").contains("Config reloaded"))
    })?;
    src.batch_execute("select pgq.insert_event('from', 'a', '3')")?;
    arrive(&mut src, &mut dst, "other", 1)?;

    site.program("mover.ini -s").succeed()?;
    job.wait_gone(PATIENCE)?;
    assert!(!site.path("mover.pid").exists());
    site.program("mover.ini -d").succeed()?;
    job.wait_alive(PATIENCE)?;
    site.program("mover.ini -k").succeed()?;
    job.wait_gone(PATIENCE)?;
    // Nothing runs: still a success.
    site.program("mover.ini -s").succeed()?;
    Ok(())
}

#[test]
fn a_lost_position_blocks_until_it_is_rewound_or_reset() -> TestResult {
    let site = crate::site()?;
    let (mut src, mut dst) = (site.db("src")?, site.db("dst")?);
    site.drain("mover")?;
    let put = |src: &mut postgres::Client, data: &str| -> TestResult {
        src.execute("select pgq.insert_event('from', 'a', $1)", &[&data])?;
        tick(src, "from")
    };
    put(&mut src, "1")?;
    site.drain("mover")?;
    let backup: i64 = dst
        .query_one("select pgq_ext.get_last_tick('mover')", &[])?
        .get(0);
    put(&mut src, "2")?;
    site.drain("mover")?;

    // The target comes from a backup: without the second event, and with the position before it.
    dst.batch_execute("delete from pgq.event_template where ev_data = '2'")?;
    dst.execute("select pgq_ext.set_last_tick('mover', $1)", &[&backup])?;
    put(&mut src, "3")?;
    site.refused("mover.ini --once", "Lost position: batch ")?;
    site.program("mover.ini --rewind").succeed()?;
    site.drain("mover")?;
    assert_eq!(events_of(&mut dst, "to")?, events_of(&mut src, "from")?);

    // The source is trusted instead: what is in between is nobody's.
    dst.execute("select pgq_ext.set_last_tick('mover', 1000)", &[])?;
    put(&mut src, "4")?;
    site.refused("mover.ini --once", "dst has 1000")?;
    site.program("mover.ini --reset").succeed()?;
    site.drain("mover")?;
    assert_eq!(events_of(&mut dst, "to")?.len(), 4);

    // A registration that is gone is not made again at the head.
    src.batch_execute("select pgq.unregister_consumer('from', 'mover')")?;
    put(&mut src, "5")?;
    site.refused("mover.ini", "--rewind registers it at tick")?;
    site.program("mover.ini --rewind").succeed()?;
    site.drain("mover")?;
    assert_eq!(events_of(&mut dst, "to")?, events_of(&mut src, "from")?);

    site.program("mover.ini --unregister").succeed()?;
    let left = "select pgq_ext.get_last_tick('mover')";
    assert_eq!(dst.query_one(left, &[])?.get::<_, Option<i64>>(0), None);
    site.write("mover", "auto_register = 0")?;
    site.refused("mover.ini", "--register does it")?;
    Ok(())
}

#[test]
fn a_wrong_command_line_or_configuration_says_what_is_wrong() -> TestResult {
    let dir = tempfile::tempdir()?;
    let run = |line: &str| {
        testkit::Program::new("queue_mover", dir.path())
            .args(line.split_whitespace())
            .output()
    };
    let help = run("--help")?;
    assert!(
        help.stdout
            .starts_with("Move the events of one queue into another\n")
    );
    for option in [
        "--rewind",
        "--reset",
        "--register",
        "--unregister",
        "--dry-run",
    ] {
        assert!(help.stdout.contains(option), "{option}");
    }
    assert_eq!(run("--rewind --reset x.ini")?.status.code(), Some(2));
    for (text, why) in [
        ("", "no section 'queue_mover'"),
        ("[queue_mover]\n", "Config value not set: pgq_queue_name"),
        (
            "[queue_mover]\npgq_queu_name = q\nsrc_db = dbname=a\n",
            "unknown key 'pgq_queu_name' in section [queue_mover], nearest is 'pgq_queue_name'\n",
        ),
        (
            "[queue_mover]\npgq_queue_name = q\nscr_db = dbname=a\npassword_of = secret\n",
            "unknown key 'scr_db' in section [queue_mover], nearest is 'src_db'\n\
             unknown key 'password_of' in section [queue_mover]\nConfig value not set: src_db\n",
        ),
        (
            "[queue_mover3]\nqueue_name = q\n",
            "Config value not set: src_db",
        ),
        (
            "[queue_mover]\nqueue_name = q\nsrc_db = dbname=a\ndst_db = dbname=b\n",
            "Config value not set: dst_queue_name",
        ),
        (
            "[queue_mover]\nqueue_name = q\nsrc_db = nonsense\ndst_db = password=secret\n\
             dst_queue_name = x\n",
            "src_db is no connect string",
        ),
    ] {
        std::fs::write(dir.path().join("x.ini"), text)?;
        let output = run("x.ini")?;
        assert_eq!(output.status.code(), Some(1), "{}", output.stderr);
        assert!(output.stderr.contains(why), "{text}: {}", output.stderr);
        assert!(!output.stderr.contains("secret"), "{}", output.stderr);
    }
    assert_eq!(run("")?.status.code(), Some(1));
    Ok(())
}
