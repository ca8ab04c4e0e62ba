//! Events for queues that do not exist, or are not for them.

use postgres::Client;
use testkit::{MoverSite, TestResult, create_queue, events_of, tick};

fn put(src: &mut Client, queues: &[Option<&str>]) -> TestResult {
    for queue in queues {
        src.execute(
            "select pgq.insert_event('from', 'x', 'y', $1, null, null, null)",
            &[queue],
        )?;
    }
    tick(src, "from")
}

#[test]
fn each_policy_does_what_it_says() -> TestResult {
    let site = MoverSite::start("queue_splitter", "")?;
    let (mut src, mut dst) = (site.db("src")?, site.db("dst")?);
    create_queue(&mut dst, "known")?;
    let policies = ["fail", "skip", "create", "default:known", "default:nowhere"];
    for policy in policies {
        let name = policy.replace(':', "_");
        site.write(&name, &format!("missing_queue = {policy}"))?;
        site.drain(&name)?;
    }
    site.write("wrong", "missing_queue = ignore")?;
    site.refused(
        "wrong.ini",
        "missing_queue is none of fail, skip, create, default:QUEUE",
    )?;
    put(&mut src, &[Some("known"), Some("new"), Some("new"), None])?;
    let known = |dst: &mut Client| -> TestResult<usize> { Ok(events_of(dst, "known")?.len()) };

    site.refused(
        "fail.ini --once",
        "is for queue new, which dst_db does not have",
    )?;
    assert_eq!(known(&mut dst)?, 0);
    site.drain("skip")?;
    assert_eq!(known(&mut dst)?, 1);
    let log = site.log("skip");
    assert!(
        log.contains("WARNING 2 events for queue new are skipped"),
        "{log}"
    );
    assert!(
        log.contains("WARNING 1 events for queue NULL are skipped"),
        "{log}"
    );
    assert!(
        log.contains("{count: 4, ") && log.contains("inserted: 1, skipped: 3"),
        "{log}"
    );

    site.drain("default_known")?;
    assert_eq!(known(&mut dst)?, 5);
    site.refused(
        "default_nowhere.ini --once",
        "queue nowhere of missing_queue does not exist",
    )?;

    // The queue is made, and stays; an event without a name is still for nobody.
    let shown = site.program("create.ini --dry-run").output()?;
    assert!(
        shown
            .stderr
            .contains("is for no queue: its ev_extra1 is null"),
        "{}",
        shown.stderr
    );
    assert!(
        dst.query("select from pgq.queue where queue_name = 'new'", &[])?
            .is_empty()
    );
    site.refused(
        "create.ini --once",
        "is for no queue: its ev_extra1 is null",
    )?;
    src.batch_execute("delete from pgq.event_template where ev_extra1 is null")?;
    site.drain("create")?;
    assert_eq!(events_of(&mut dst, "new")?.len(), 2);
    // What failed goes on now.
    site.drain("fail")?;
    assert_eq!(events_of(&mut dst, "new")?.len(), 4);
    Ok(())
}

#[test]
fn what_is_no_text_names_no_queue() -> TestResult {
    let site = MoverSite::with_encoding("queue_splitter", "", "SQL_ASCII")?;
    let mut src = site.db("src")?;
    let inside = format!("dst_db = {}", site.cluster.conninfo("src"));
    for (name, lines) in [
        ("skip", "missing_queue = skip"),
        ("create", "missing_queue = create"),
        ("inside", &format!("missing_queue = create\n{inside}")),
    ] {
        site.write(name, lines)?;
        site.drain(name)?;
    }
    src.batch_execute(
        r"select pgq.insert_event('from', 'x', 'y', q, null, null, null)
            from unnest(array[E'caf\351', E'caf\303\251']) q",
    )?;
    tick(&mut src, "from")?;
    for name in ["create", "inside"] {
        site.refused(
            &format!("{name}.ini --once"),
            "is for no queue: its ev_extra1 is not UTF-8; set missing_queue",
        )?;
    }
    site.drain("skip")?;
    let log = site.log("skip");
    assert!(log.contains("inserted: 1, skipped: 1"), "{log}");
    assert_eq!(events_of(&mut site.db("dst")?, "café")?.len(), 1);
    Ok(())
}

#[test]
fn an_event_for_the_queue_that_is_read_ends_the_program() -> TestResult {
    let site = MoverSite::start("queue_splitter", "")?;
    let mut src = site.db("src")?;
    create_queue(&mut src, "beside")?;
    site.write(
        "inside",
        &format!("dst_db = {}", site.cluster.conninfo("src")),
    )?;
    site.drain("inside")?;
    put(&mut src, &[Some("beside")])?;
    site.drain("inside")?;
    assert_eq!(events_of(&mut src, "beside")?.len(), 1);
    put(&mut src, &[Some("beside"), Some("from")])?;
    site.refused("inside.ini", "is for queue from, which it comes from")?;
    assert_eq!(events_of(&mut src, "beside")?.len(), 1);
    Ok(())
}
