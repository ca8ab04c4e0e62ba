//! Batches: what is in them, reading them in pieces, finishing, retrying.

use std::time::Duration;

use crate::support::{consumer, data, next, produce, queue, tick, with_consumer, with_queue};
use pgq::batch::{self, BatchWish, EventCursor};
use pgq::producer::{BulkInsert, Field};
use pgq::{BatchId, ConsumerName, admin, maintenance};
use postgres::types::Type;
use testkit::{Cluster, TestResult};

#[test]
fn a_batch_ends_at_its_tick() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = with_consumer(&cluster, "src")?;
    assert_eq!(batch::next_batch(&mut *db, &queue(), &consumer())?, None);
    produce(&mut db, &["before"])?;
    db.execute_typed(
        "select pgq.insert_event($1, 'kind', 'after')",
        &[(&queue(), Type::TEXT)],
    )?;
    let batch = next(&mut db)?;
    assert!(batch.prev_tick < batch.tick);
    assert_eq!(data(&batch::events(&mut *db, batch.id, None)?), ["before"]);
    assert_eq!(next(&mut db)?, batch, "it is the same until it is finished");
    let delete = "with gone as (delete from pgq.tick where tick_id = $1 returning *) select row_to_json(gone)::text from gone";
    let gone: String = db
        .query_typed_one(delete, &[(&batch.tick, Type::INT8)])?
        .get(0);
    let error = batch::next_batch(&mut *db, &queue(), &consumer()).unwrap_err();
    assert!(
        error.to_string().ends_with("is gone from the queue"),
        "{error}"
    );
    db.execute_typed(
        "insert into pgq.tick select * from json_populate_record(null::pgq.tick, $1::text::json)",
        &[(&gone, Type::TEXT)],
    )?;
    assert!(batch::finish_batch(&mut *db, batch.id)?);
    assert!(!batch::finish_batch(&mut *db, batch.id)?);
    Ok(())
}

#[test]
fn an_event_arrives_as_it_was_put_in() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = with_consumer(&cluster, "src")?;
    db.batch_execute("set timezone to 'Asia/Kathmandu'")?;
    db.execute_typed(
        "select pgq.insert_event($1, null, E'tab\\t', 'x1', null, '', E'back\\\\')",
        &[(&queue(), Type::TEXT)],
    )?;
    tick(&mut db)?;
    let batch = next(&mut db)?;
    let events = batch::events(&mut *db, batch.id, None)?;
    let [event] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!((&event.kind, event.retry), (&None, None));
    assert_eq!(event.data, Some("tab\t".into()));
    let extra = [
        Some("x1".into()),
        None,
        Some("".into()),
        Some("back\\".into()),
    ];
    assert_eq!(event.extra, extra);
    let row = db.query_typed_one(
        "select ev_id, ev_txid from pgq.event_template where ev_time = $1::timestamptz",
        &[(&event.time.to_string(), Type::TEXT)],
    )?;
    assert_eq!((row.get(0), row.get(1)), (event.id, event.txid));
    Ok(())
}

#[test]
fn a_cursor_reads_everything_whatever_its_chunks() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = with_consumer(&cluster, "src")?;
    produce(&mut db, &["a", "b", "c"])?;
    let batch = next(&mut db)?;
    for chunk in 0..5 {
        let mut tx = db.begin()?;
        let mut cursor = EventCursor::open(&mut tx, batch.id, chunk, None)?;
        let mut all = Vec::new();
        loop {
            let events = cursor.fetch(&mut tx)?;
            if events.is_empty() {
                break;
            }
            if chunk > 0 {
                assert!(events.len() <= chunk as usize);
            }
            all.extend(data(&events));
        }
        assert_eq!(all, ["a", "b", "c"], "chunk {chunk}");
        assert!(cursor.fetch(&mut tx)?.is_empty(), "it stays at its end");
        let open = tx.query_typed_one(
            "select count(*) from pg_cursors where name = 'batch_walker'",
            &[],
        )?;
        assert_eq!(
            open.get::<_, i64>(0),
            0,
            "chunk {chunk} left its cursor open"
        );
        tx.commit()?;
    }
    Ok(())
}

#[test]
fn a_filter_applies_to_both_ways_of_reading() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = with_consumer(&cluster, "src")?;
    produce(&mut db, &["a", "b", "c"])?;
    let batch = next(&mut db)?;
    for chunk in [0, 1, 300] {
        for (filter, expected) in [
            ("ev_data <> 'b' -- comment", &["a", "c"][..]),
            ("false", &[]),
            ("ev_data = 'a' or ev_data = 'b'", &["a", "b"]),
        ] {
            let mut tx = db.begin()?;
            let mut cursor = EventCursor::open(&mut tx, batch.id, chunk, Some(filter))?;
            let mut all = Vec::new();
            loop {
                let events = cursor.fetch(&mut tx)?;
                if events.is_empty() {
                    break;
                }
                all.extend(data(&events));
            }
            assert_eq!(all, expected, "chunk {chunk}, filter {filter}");
        }
    }
    Ok(())
}

#[test]
fn a_batch_that_is_not_open_cannot_be_read() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = with_consumer(&cluster, "src")?;
    for chunk in [0, 10] {
        let mut tx = db.begin()?;
        let error = EventCursor::open(&mut tx, BatchId::from(77), chunk, None).unwrap_err();
        assert!(skytools::app::chain(&error).contains("batch not found"));
    }
    Ok(())
}

#[test]
fn an_unknown_consumer_is_told_so() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = with_queue(&cluster, "src")?;
    let nobody = ConsumerName::from("nobody");
    let error = batch::next_batch(&mut *db, &queue(), &nobody).unwrap_err();
    let text = skytools::app::chain(&error);
    assert!(
        text.contains("Not subscriber to queue: Test \"queue\"/nobody"),
        "{text}"
    );
    Ok(())
}

#[test]
fn a_retried_event_comes_back_and_a_failed_one_does_not() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = with_consumer(&cluster, "src")?;
    produce(&mut db, &["retry", "fail", "done"])?;
    let batch = next(&mut db)?;
    let events = batch::events(&mut *db, batch.id, None)?;
    assert!(batch::event_retry(
        &mut *db,
        batch.id,
        events[0].id,
        Duration::ZERO
    )?);
    assert!(!batch::event_retry(
        &mut *db,
        batch.id,
        events[0].id,
        Duration::ZERO
    )?);
    assert!(batch::event_failed(
        &mut *db,
        batch.id,
        events[1].id,
        "it's bad"
    )?);
    assert!(batch::finish_batch(&mut *db, batch.id)?);

    assert_eq!(maintenance::retry_events(&mut *db)?, 1);
    assert_eq!(maintenance::retry_events(&mut *db)?, 0);
    tick(&mut db)?;
    let batch = next(&mut db)?;
    let again = batch::events(&mut *db, batch.id, None)?;
    assert_eq!(data(&again), ["retry"]);
    assert_eq!(again[0].id, events[0].id);
    assert_eq!((again[0].retry, &again[0].time), (Some(1), &events[0].time));
    let row = db.query_typed_one(
        "select ev_data, ev_failed_reason from pgq.failed_queue",
        &[],
    )?;
    assert_eq!((row.get(0), row.get(1)), ("fail", "it's bad"));
    Ok(())
}

#[test]
fn small_batches_can_be_waited_out() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = with_consumer(&cluster, "src")?;
    produce(&mut db, &["a"])?;
    let mut ask = |wish: &BatchWish| batch::next_batch_like(&mut *db, &queue(), &consumer(), wish);
    let many = BatchWish {
        min_count: Some(2),
        ..BatchWish::default()
    };
    let old = BatchWish {
        keep_lag: Some("1 hour".to_owned()),
        ..BatchWish::default()
    };
    let long = BatchWish {
        min_interval: Some("1 hour".to_owned()),
        ..BatchWish::default()
    };
    for wish in [&many, &old, &long] {
        assert_eq!(ask(wish)?, None, "{wish:?}");
    }
    assert!(ask(&BatchWish::default())?.is_some());
    let bad = BatchWish {
        keep_lag: Some("soon".to_owned()),
        ..BatchWish::default()
    };
    assert!(ask(&bad).is_err());
    Ok(())
}

#[test]
fn event_data_need_not_be_utf8() -> TestResult {
    let cluster = Cluster::start()?;
    cluster.connect("postgres")?.batch_execute(
        "create database ascii encoding 'SQL_ASCII' locale 'C' template template0",
    )?;
    let mut db = crate::support::open(&cluster.conninfo("ascii"))?;
    let mut tx = db.begin()?;
    pgq::schema::install(&mut tx)?;
    tx.commit()?;
    db.batch_execute("set client_encoding to sql_ascii")?;
    admin::create_queue(&mut *db, &queue())?;
    admin::set_queue_config(&mut *db, &queue(), "ticker_max_lag", Some("0"))?;
    admin::register_consumer(&mut *db, &queue(), &consumer())?;
    let event = pgq::producer::NewEvent {
        data: Some(vec![b'a', 0xff, 0xe4].into()),
        ..Default::default()
    };
    pgq::producer::insert_event(&mut *db, &queue(), &event)?;
    tick(&mut db)?;
    let batch = next(&mut db)?;
    let events = batch::events(&mut *db, batch.id, None)?;
    assert_eq!(events[0].data, event.data);
    Ok(())
}

#[test]
fn a_bulk_insert_arrives_with_its_microseconds() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = with_consumer(&cluster, "src")?;
    let mut tx = db.begin()?;
    let fields = [Field::Data, Field::Time, Field::Extra4];
    let mut bulk = BulkInsert::begin(&mut tx, &queue(), &fields)?;
    let time = Some(&b"2024-02-29 12:00:00.123456+05:30"[..]);
    bulk.push(&[Some(b"a\tb\\"), time, None])?;
    bulk.push(&[None, time, Some(b"x")])?;
    assert_eq!(bulk.finish()?, 2);
    tx.commit()?;
    tick(&mut db)?;
    let batch = next(&mut db)?;
    let events = batch::events(&mut *db, batch.id, None)?;
    assert_eq!(events[0].data, Some("a\tb\\".into()));
    assert_eq!(events[0].time.to_string(), "2024-02-29 06:30:00.123456+00");
    assert_eq!(
        (&events[1].data, &events[1].extra[3]),
        (&None, &Some("x".into()))
    );
    Ok(())
}

#[test]
fn a_bulk_insert_that_is_not_finished_puts_nothing_in() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = with_consumer(&cluster, "src")?;
    let mut tx = db.begin()?;
    assert!(BulkInsert::begin(&mut tx, &queue(), &[Field::Data]).is_err());
    let mut bulk = BulkInsert::begin(&mut tx, &queue(), &[Field::Time])?;
    bulk.push(&[Some(b"now")])?;
    drop(bulk);
    assert!(tx.commit().is_err());
    let row = db.query_typed_one("select count(*) from pgq.event_template", &[])?;
    assert_eq!(row.get::<_, i64>(0), 0);
    Ok(())
}

#[test]
fn a_bulk_insert_with_bad_values_says_what_is_wrong() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = with_consumer(&cluster, "src")?;
    let mut tx = db.begin()?;
    let mut bulk = BulkInsert::begin(&mut tx, &queue(), &[Field::Time])?;
    bulk.push(&[Some(b"yesterday evening")])?;
    let error = bulk.finish().unwrap_err();
    let text = skytools::app::chain(&error);
    assert!(
        text.contains("invalid input syntax for type timestamp"),
        "{text}"
    );
    Ok(())
}
