//! The C libraries of PgQ 3 in place of PL/pgSQL, and back.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::Duration;

use testkit::{TestResult, wait_until};

use crate::support::{cluster_with_consumer, has_c_library, insert, row, rows, run, tick};

const FORMATS: [(&str, &str); 4] = [
    ("sqltriga", "'q'"),
    ("logutriga", "'q'"),
    ("jsontriga", "'q'"),
    ("logtriga", "'q', 'kv', 't'"),
];

#[test]
fn the_libraries_in_c_come_and_go_under_triggers_that_fire_all_the_while() -> TestResult {
    let (cluster, mut db) = cluster_with_consumer()?;
    if !has_c_library(&cluster) {
        return Ok(());
    }
    db.batch_execute("create table t (id int primary key, v text)")?;
    for (function, arguments) in FORMATS {
        db.batch_execute(&format!(
            "create trigger {function} after insert or update on t for each row execute function pgq.{function}({arguments})"
        ))?;
    }
    let acl = "select string_agg(p.oid::regprocedure || ' ' || p.proacl::text, '; ' order by p.oid) from pg_proc p \
               where p.pronamespace = 'pgq'::regnamespace and p.prorettype = 'trigger'::regtype";
    let before = row(&mut db, acl)?;
    let languages = "select string_agg(distinct l.lanname, ' ') from pg_proc p join pg_language l on l.oid = p.prolang \
                     where p.pronamespace = 'pgq'::regnamespace and p.proname in \
                     ('sqltriga', 'logutriga', 'jsontriga', 'logtriga', 'insert_event_raw')";
    let (stop, written) = (AtomicBool::new(false), AtomicI32::new(0));
    let count = std::thread::scope(|scope| -> TestResult<i32> {
        let writer = scope.spawn(|| -> TestResult<i32> {
            let mut db = cluster.connect("postgres")?;
            let insert = db.prepare("insert into t values ($1, 'a b')")?;
            let update = db.prepare("update t set v = 'it''s' where id = $1")?;
            let mut id = 0;
            while !stop.load(Ordering::Relaxed) {
                id += 1;
                db.execute(&insert, &[&id])?;
                db.execute(&update, &[&id])?;
                written.store(id, Ordering::Relaxed);
            }
            Ok(id)
        });
        let mut swaps = || -> TestResult {
            let more = || -> TestResult {
                let target = written.load(Ordering::Relaxed) + 5;
                wait_until("rows", Duration::from_secs(60), || {
                    Ok(writer.is_finished() || written.load(Ordering::Relaxed) >= target)
                })
            };
            let dist = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sql/dist");
            for _ in 0..3 {
                for (files, language) in [
                    (&["pgq_lowlevel.sql", "pgq_triggers.sql"][..], "c"),
                    (&["pgq_plpgsql.sql"], "plpgsql"),
                ] {
                    more()?;
                    for file in files {
                        db.batch_execute(&fs::read_to_string(dist.join(file))?)?;
                    }
                    assert_eq!(row(&mut db, languages)?, language);
                    more()?;
                }
            }
            Ok(())
        };
        let swapped = swaps();
        stop.store(true, Ordering::Relaxed);
        let count = writer.join().expect("the writer does not panic")?;
        swapped.map(|()| count)
    })?;
    assert_eq!(row(&mut db, acl)?, before);

    // Every change once in each format, whoever wrote it.
    tick(&mut db)?;
    let batch = row(&mut db, "select pgq.next_batch('q', 'c')")?;
    let found = rows(
        &mut db,
        &format!(
            "select ev_type, ev_data, ev_extra1 from pgq.get_batch_events({batch}) order by 1, 2, 3"
        ),
    )?;
    let mut expected = Vec::new();
    for id in 1..=count {
        // sqltriga and logtriga write the same.
        for _ in 0..2 {
            expected.push(format!("I|(id,v) values ('{id}','a b')|public.t"));
            expected.push(format!("U|v='it''s' where id='{id}'|public.t"));
        }
        expected.push(format!("I:id|id={id}&v=a+b|public.t"));
        expected.push(format!("U:id|id={id}&v=it%27s|public.t"));
        for (op, v) in [("INSERT", "a b"), ("UPDATE", "it's")] {
            expected.push(format!(
                "{{\"op\":\"{op}\",\"table\":[\"public\",\"t\"],\"pkey\":[\"id\"]}}|{{\"id\":{id},\"v\":\"{v}\"}}|public.t"
            ));
        }
    }
    let sorted = |mut lines: Vec<String>| {
        lines.sort();
        lines
    };
    assert_eq!(sorted(found), sorted(expected));
    Ok(())
}

#[test]
fn events_are_inserted_by_the_library_and_an_installation_takes_that_back() -> TestResult {
    let (cluster, mut db) = cluster_with_consumer()?;
    if !has_c_library(&cluster) {
        return Ok(());
    }
    run(&mut db, &["pgq/swap/lowlevel.sql"])?;
    insert(&mut db, "c")?;
    let language = "select l.lanname from pg_proc p join pg_language l on l.oid = p.prolang \
                    where p.oid = 'pgq.insert_event_raw'::regproc";
    assert_eq!(row(&mut db, language)?, "c");
    run(&mut db, &["pgq/install.sql"])?;
    assert_eq!(row(&mut db, language)?, "plpgsql");
    insert(&mut db, "plpgsql")?;
    assert_eq!(crate::support::arrived(&mut db)?, ["c", "plpgsql"]);
    Ok(())
}
