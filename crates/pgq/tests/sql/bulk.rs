//! Inserting many events with one call.

use std::thread;

use testkit::TestResult;

use crate::support::{arrived, cluster_with_consumer, insert, refusal, row, rows, tick};

#[test]
fn events_inserted_together_have_their_ids_in_the_order_of_the_array() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    insert(&mut db, "before")?;
    assert_eq!(
        row(
            &mut db,
            "select pgq.insert_events('q', 'type', array['b', null, 'a', ''])"
        )?,
        "{2,3,4,5}"
    );
    tick(&mut db)?;
    let batch = row(&mut db, "select pgq.next_batch('q', 'c')")?;
    let all = "ev_id, ev_retry, ev_type, ev_data, ev_extra1, ev_extra2, ev_extra3, ev_extra4";
    let read = format!("select {all} from pgq.get_batch_events({batch})");
    assert_eq!(
        rows(&mut db, &read)?[1..],
        [
            "2|NULL|type|b|NULL|NULL|NULL|NULL",
            "3|NULL|type|NULL|NULL|NULL|NULL|NULL",
            "4|NULL|type|a|NULL|NULL|NULL|NULL",
            "5|NULL|type||NULL|NULL|NULL|NULL",
        ]
    );
    assert_eq!(
        row(
            &mut db,
            "select count(distinct ev_time), count(distinct ev_txid), count(ev_owner) \
             from pgq.event_template where ev_id > 1"
        )?,
        "1|1|0"
    );
    Ok(())
}

#[test]
fn every_field_can_differ_from_event_to_event() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    let call = |arrays: &str| format!("select pgq.insert_events('q', {arrays})");
    assert_eq!(
        row(
            &mut db,
            &call("'{x,null}', '{1,2}', '{a,b}', null, '{c,null}', '{d,e}'")
        )?,
        "{1,2}"
    );
    assert_eq!(
        row(&mut db, &call("null, '{3}', null, '{f}', null, null"))?,
        "{3}"
    );
    assert_eq!(
        rows(
            &mut db,
            "select ev_id, ev_type, ev_data, ev_extra1, ev_extra2, ev_extra3, ev_extra4 \
             from pgq.event_template order by 1"
        )?,
        [
            "1|x|1|a|NULL|c|d",
            "2|NULL|2|b|NULL|NULL|e",
            "3|NULL|3|NULL|f|NULL|NULL"
        ]
    );
    for arrays in [
        "'{x}', '{1,2}', null, null, null, null",
        "null, '{1,2}', null, null, null, '{a,b,c}'",
    ] {
        assert_eq!(
            refusal(&mut db, &call(arrays))?,
            "Arrays of events differ in length"
        );
    }
    Ok(())
}

#[test]
fn no_events_are_none_and_no_array_is_a_mistake() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    assert_eq!(
        row(&mut db, "select pgq.insert_events('q', 't', '{}')")?,
        "{}"
    );
    assert_eq!(
        refusal(&mut db, "select pgq.insert_events('q', 't', null)")?,
        "Array of event data must not be NULL"
    );
    assert_eq!(
        row(&mut db, "select count(*) from pgq.event_template")?,
        "0"
    );
    Ok(())
}

#[test]
fn what_refuses_one_event_refuses_many() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    let two = "select pgq.insert_events('q', 't', '{1,2}');";
    assert_eq!(
        refusal(&mut db, "select pgq.insert_events(null, 't', '{1}')")?,
        "Queue name must not be NULL"
    );
    assert_eq!(
        refusal(&mut db, "select pgq.insert_events('nowhere', 't', '{1}')")?,
        "No such queue"
    );
    db.batch_execute("select pgq.set_queue_config('q', 'disable_insert', 'true')")?;
    for (role, allowed) in [("origin", false), ("local", false), ("replica", true)] {
        db.batch_execute(&format!("set session_replication_role = {role}"))?;
        assert_eq!(db.simple_query(two).is_ok(), allowed, "{role}");
    }
    db.batch_execute("reset session_replication_role")?;
    assert_eq!(refusal(&mut db, two)?, "Insert into queue disallowed");
    // The ticker hears of it: an id went with each refusal.
    assert_eq!(
        row(&mut db, "select last_value from pgq.event_1_id_seq")?,
        "5"
    );
    Ok(())
}

#[test]
fn the_limit_of_a_transaction_counts_events_of_both_kinds_together() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    let many = |n: usize| {
        format!("select pgq.insert_events('q', 't', array_fill('d'::text, array[{n}]));")
    };
    let one = "select pgq.insert_event('q', 't', 'd');";
    let limit = |limit: &str| format!("select pgq.set_queue_config('q', 'per_tx_limit', {limit})");
    db.batch_execute(&limit("'3'"))?;
    for allowed in [
        many(3),
        format!("{one}{}", many(2)),
        format!("{}{one}", many(2)),
    ] {
        db.batch_execute(&format!("begin; {allowed} commit"))?;
    }
    for too_many in [
        many(4),
        format!("{one}{}", many(3)),
        format!("{}{one}", many(3)),
    ] {
        assert_eq!(
            refusal(&mut db, &format!("begin; {too_many}"))?,
            "Queue 'q' allows max 3 events from one TX"
        );
        db.batch_execute("rollback")?;
    }
    let (two, three) = (many(2), many(3));
    db.batch_execute(&format!(
        "begin; savepoint s; {two} rollback to s; {three} commit"
    ))?;
    db.batch_execute(&limit("'0'"))?;
    assert_eq!(
        refusal(&mut db, &many(1))?,
        "Queue 'q' allows max 0 events from one TX"
    );
    assert_eq!(arrived(&mut db)?.len(), 12);
    Ok(())
}

#[test]
fn bulk_events_go_where_the_queue_writes_now() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    db.batch_execute("select pgq.set_queue_config('q', 'rotation_period', '0')")?;
    let tables = "select distinct tableoid::regclass from pgq.event_template order by 1";
    let call = "select pgq.insert_events('q', 't', '{1,2}')";
    db.batch_execute(call)?;
    assert_eq!(rows(&mut db, tables)?, ["pgq.event_1_0"]);
    arrived(&mut db)?;
    db.batch_execute("select pgq.maint_rotate_tables_step1('q')")?;
    db.batch_execute("select pgq.maint_rotate_tables_step2()")?;
    db.batch_execute(call)?;
    assert_eq!(rows(&mut db, tables)?, ["pgq.event_1_0", "pgq.event_1_1"]);
    assert_eq!(arrived(&mut db)?, ["1", "2"]);

    // Another queue of the same name is another queue, in a session that knew the old one.
    db.batch_execute(
        "select pgq.drop_queue('q', true); select pgq.create_queue('q'); select pgq.register_consumer('q', 'c')",
    )?;
    db.batch_execute(call)?;
    db.batch_execute("select pgq.insert_event('q', 't', '3')")?;
    assert_eq!(
        rows(
            &mut db,
            "select tableoid::regclass, ev_id, ev_data from pgq.event_template order by 2"
        )?,
        [
            "pgq.event_2_0|1|1",
            "pgq.event_2_0|2|2",
            "pgq.event_2_0|3|3"
        ]
    );
    Ok(())
}

#[test]
fn names_of_tables_and_sequences_are_quoted() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    db.batch_execute(
        "create schema \"My Events\";
         alter table pgq.event_1_0 rename to \"Odd.name_0\";
         alter table pgq.\"Odd.name_0\" set schema \"My Events\";
         alter sequence pgq.event_1_id_seq rename to \"Seq of it's\";
         update pgq.queue set queue_data_pfx = 'My Events.Odd.name', queue_event_seq = 'pgq.Seq of it''s'",
    )?;
    insert(&mut db, "one")?;
    db.batch_execute("select pgq.insert_events('q', 't', '{two}')")?;
    assert_eq!(
        rows(
            &mut db,
            "select ev_id, ev_data from \"My Events\".\"Odd.name_0\" order by 1"
        )?,
        ["1|one", "2|two"]
    );
    Ok(())
}

#[test]
fn bulk_inserts_of_two_sessions_keep_their_ids_apart() -> TestResult {
    let (cluster, mut db) = cluster_with_consumer()?;
    let ids = thread::scope(|scope| -> TestResult<Vec<String>> {
        let sessions = ["a", "b"].map(|who| {
            let mut session = cluster.connect("postgres");
            scope.spawn(move || -> TestResult<String> {
                let session = session.as_mut().map_err(|error| error.to_string())?;
                session.batch_execute(&format!(
                    "create temp table ids as select id, n from unnest(pgq.insert_events('q', 't', \
                     array(select '{who}' || n from generate_series(1, 5000) n))) with ordinality i (id, n)"
                ))?;
                row(
                    session,
                    &format!(
                        "select count(distinct id), bool_and(e.ev_data = '{who}' || n) \
                         from ids left join pgq.event_1_0 e on e.ev_id = id"
                    ),
                )
            })
        });
        sessions
            .into_iter()
            .map(|session| session.join().expect("sessions do not panic"))
            .collect()
    })?;
    assert_eq!(ids, ["5000|t", "5000|t"]);
    assert_eq!(arrived(&mut db)?.len(), 10_000);
    Ok(())
}
