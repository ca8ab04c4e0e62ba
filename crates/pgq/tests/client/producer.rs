//! Events put in by the producers' functions arrive whole and in order.

use pgq::producer::{self, NewEvent};
use pgq::{Error, QueueName, batch};
use postgres::types::Type;
use skytools::db::Text;
use testkit::{Cluster, TestResult};

use crate::support::{next, queue, tick, with_consumer};

#[test]
fn events_put_in_at_once_arrive_in_their_order_with_every_field() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = with_consumer(&cluster, "src")?;
    let mut events = vec![
        NewEvent::default(),
        NewEvent::new("kind", "it's {\"a\", \\b}"),
        NewEvent::new("", ""),
        NewEvent {
            extra: [None, Some("NULL".into()), None, Some("x4".into())],
            ..NewEvent::new("null", "null")
        },
    ];
    events.extend((0..1000).map(|n| NewEvent::new("n", n.to_string().as_str())));
    let ids = producer::insert_events(&mut *db, &queue(), &events)?;
    assert!(producer::insert_events(&mut *db, &queue(), &[])?.is_empty());
    tick(&mut db)?;
    let batch = next(&mut db)?;
    let arrived = batch::events(&mut *db, batch.id, None)?;
    assert_eq!(
        ids,
        arrived.iter().map(|event| event.id).collect::<Vec<_>>()
    );
    let back: Vec<NewEvent> = arrived
        .into_iter()
        .map(|event| NewEvent {
            kind: event.kind,
            data: event.data,
            extra: event.extra,
        })
        .collect();
    assert_eq!(back, events);
    Ok(())
}

#[test]
fn events_put_in_at_once_need_not_be_utf8() -> TestResult {
    let cluster = Cluster::start()?;
    cluster
        .connect("postgres")?
        .batch_execute("create database raw encoding 'SQL_ASCII' locale 'C' template template0")?;
    let mut db = crate::support::open(&cluster.conninfo("raw"))?;
    let mut tx = db.begin()?;
    pgq::schema::install(&mut tx)?;
    tx.commit()?;
    pgq::admin::create_queue(&mut *db, &queue())?;
    let event = NewEvent::new("kind", Text::from(vec![0xff, b'{', 0xe4]));
    producer::insert_events(&mut *db, &queue(), std::slice::from_ref(&event))?;
    let row = db.query_typed_one(
        "select ev_data from pgq.event_template where ev_type = $1",
        &[(&"kind", Type::TEXT)],
    )?;
    assert_eq!(row.get::<_, Option<Text>>(0), event.data);
    Ok(())
}

#[test]
fn an_unknown_queue_refuses_events() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = with_consumer(&cluster, "src")?;
    let nowhere = QueueName::from("nowhere");
    let event = NewEvent::new("kind", "data");
    for result in [
        producer::insert_event(&mut *db, &nowhere, &event).map(|_| ()),
        producer::insert_events(&mut *db, &nowhere, &[event]).map(|_| ()),
    ] {
        let error = result.expect_err("there is no such queue");
        assert!(matches!(error, Error::Db(_)));
        let text = skytools::app::chain(&error);
        assert!(text.contains("No such queue"), "{text}");
    }
    Ok(())
}
