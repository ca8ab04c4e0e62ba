//! Sending, receiving and acknowledging, for who has only SQL.

use testkit::TestResult;

use crate::support::{arrived, cluster_with_consumer, insert, refusal, row, rows, tick};

const COLUMNS: &str = "ev_id, ev_retry, ev_type, ev_data, left_in_batch";

#[test]
fn what_is_sent_is_received_and_acknowledged_once() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    assert_eq!(
        row(&mut db, "select pgq.send('q', 'greeting', 'hello')")?,
        "1"
    );
    assert_eq!(row(&mut db, "select pgq.send('q', 'plain')")?, "2");
    let receive = format!("select batch_id, {COLUMNS} from pgq.receive('q', 'c')");
    assert!(rows(&mut db, &receive)?.is_empty(), "before the tick");
    tick(&mut db)?;
    let expected = ["1|1|NULL|greeting|hello|1", "1|2|NULL|NULL|plain|0"];
    assert_eq!(rows(&mut db, &receive)?, expected);
    assert_eq!(
        rows(&mut db, &receive)?,
        expected,
        "until it is acknowledged"
    );
    assert_eq!(row(&mut db, "select pgq.ack(1)")?, "1");
    assert_eq!(row(&mut db, "select pgq.ack(1)")?, "0");
    assert!(rows(&mut db, &receive)?.is_empty());
    assert_eq!(
        refusal(&mut db, "select pgq.send('nowhere', 'x')")?,
        "No such queue"
    );
    let error = db
        .batch_execute("select pgq.receive('q', 'nobody')")
        .expect_err("not registered");
    let error = error.as_db_error().expect("the server refused");
    assert_eq!(error.message(), "Not subscriber to queue: q/nobody");
    assert_eq!(
        error.hint(),
        Some("To register it: select pgq.register_consumer('q', 'nobody')")
    );
    Ok(())
}

#[test]
fn batches_without_events_are_finished_on_the_way() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    for _ in 0..5 {
        tick(&mut db)?;
    }
    assert!(rows(&mut db, "select * from pgq.receive('q', 'c')")?.is_empty());
    assert_eq!(
        row(
            &mut db,
            "select last_tick, current_batch from pgq.get_consumer_info('q', 'c')"
        )?,
        "6|NULL"
    );
    tick(&mut db)?;
    insert(&mut db, "a")?;
    tick(&mut db)?;
    assert_eq!(
        rows(&mut db, "select ev_data from pgq.receive('q', 'c', 10)")?,
        ["a"]
    );
    assert_eq!(
        row(
            &mut db,
            "select last_tick, next_tick from pgq.get_consumer_info('q', 'c')"
        )?,
        "7|8"
    );
    Ok(())
}

#[test]
fn a_part_of_a_batch_says_what_is_left_and_cannot_pass_for_the_whole() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    db.batch_execute("select pgq.insert_events('q', 't', '{a,b,c,d,e}')")?;
    tick(&mut db)?;
    let page = |call: &str| format!("select ev_id, left_in_batch from pgq.{call}");
    assert_eq!(
        rows(&mut db, &page("receive('q', 'c', 2)"))?,
        ["1|4", "2|3"]
    );
    let error = db
        .batch_execute("select pgq.ack(1, 2)")
        .expect_err("three are left");
    let error = error.as_db_error().expect("the server refused");
    assert_eq!(error.message(), "batch 1 has 3 more events after event 2");
    assert_eq!(
        error.hint(),
        Some("To get them: select * from pgq.receive_more(1, 2, null)")
    );
    assert_eq!(
        rows(&mut db, &page("receive_more(1, 2, 2)"))?,
        ["3|2", "4|1"]
    );
    assert_eq!(rows(&mut db, &page("receive_more(1, 4, null)"))?, ["5|0"]);
    assert!(rows(&mut db, &page("receive_more(1, 5, null)"))?.is_empty());
    assert_eq!(row(&mut db, "select pgq.ack(1, 5)")?, "1");
    assert_eq!(row(&mut db, "select pgq.ack(1, 5)")?, "0");
    assert_eq!(
        refusal(&mut db, "select pgq.receive_more(1, 5, null)")?,
        "batch not found"
    );
    assert_eq!(
        refusal(&mut db, "select pgq.ack(1, null)")?,
        "Invalid NULL value"
    );
    for limit in ["0", "-1"] {
        assert_eq!(
            refusal(&mut db, &format!("select pgq.receive('q', 'c', {limit})"))?,
            format!("cannot receive {limit} events")
        );
    }
    Ok(())
}

#[test]
fn an_event_that_was_refused_comes_again_after_its_batch_is_acknowledged() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    db.batch_execute("select pgq.insert_events('q', 't', '{a,b}')")?;
    tick(&mut db)?;
    rows(&mut db, "select * from pgq.receive('q', 'c')")?;
    assert_eq!(
        row(&mut db, "select pgq.nack(1, 2, '0', 'why'), pgq.ack(1)")?,
        "retry|1"
    );
    db.batch_execute("select pgq.maint_retry_events()")?;
    assert_eq!(arrived(&mut db)?, ["b"]);
    Ok(())
}

#[test]
fn the_roles_of_producer_and_consumer_suffice() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    db.batch_execute("set role pgq_writer")?;
    assert_eq!(row(&mut db, "select pgq.send('q', 'a')")?, "1");
    assert!(refusal(&mut db, "select pgq.receive('q', 'c')")?.contains("permission denied"));
    db.batch_execute("reset role")?;
    tick(&mut db)?;
    db.batch_execute("set role pgq_reader")?;
    assert!(refusal(&mut db, "select pgq.send('q', 'a')")?.contains("permission denied"));
    assert_eq!(
        rows(&mut db, "select ev_data from pgq.receive('q', 'c', 1)")?,
        ["a"]
    );
    assert_eq!(row(&mut db, "select pgq.ack(1, 1)")?, "1");
    Ok(())
}
