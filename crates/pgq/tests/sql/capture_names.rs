//! Arguments of captures name columns, which are renamed, dropped and made anew later, while sessions with plans and
//! transactions with an older snapshot go on writing.

use postgres::Client;
use testkit::{Cluster, TestResult};

use crate::capture_guards::FORBID_SLOW_WAY;
use crate::captures::{events, queue_and_table};
use crate::support::{
    cluster_without_pgq, copy_database, has_program, install, refusal, row, rows,
};

/// A session with plans, and one whose snapshot is older than what comes.
fn sessions(cluster: &Cluster, warm_up: &str) -> TestResult<[(&'static str, Client); 2]> {
    let mut warm = cluster.connect("postgres")?;
    warm.batch_execute(warm_up)?;
    let mut old = cluster.connect("postgres")?;
    old.batch_execute(warm_up)?;
    old.batch_execute("begin isolation level repeatable read; select count(*) from pgq.queue")?;
    Ok([("warm", warm), ("old", old)])
}

#[test]
fn arguments_follow_columns_that_are_renamed() -> TestResult {
    let (cluster, mut db) = queue_and_table()?;
    let dml = |id: &str, hidden: &str, a: &str| {
        format!(
            "insert into w ({id}, {hidden}, {a}, n) values (1, 'h', 5, 1);
             update w set n = 2 where {id} = 1; update w set {hidden} = 'i' where {id} = 1;
             delete from w where {id} = 1"
        )
    };
    let sql = |id: &str, a: &str| {
        vec![
            format!("I|({id},{a},n) values ('1','5','1')|public.w|6"),
            format!("U|n='2' where {id}='1'|public.w|6"),
            format!("D|{id}='1'|public.w|6"),
        ]
    };
    let json = |id: &str, a: &str| {
        [("INSERT", 1), ("UPDATE", 2), ("DELETE", 2)]
            .map(|(op, n)| {
                format!(
                    r#"{{"op":"{op}","table":["public","w"],"pkey":["{id}"]}}|{{"{id}":1,"{a}":5,"n":{n}}}|public.w|6"#
                )
            })
            .to_vec()
    };
    let urlenc = |id: &str, a: &str| {
        [('I', 1), ('U', 2), ('D', 2)]
            .map(|(op, n)| format!("{op}:{id}|{id}=1&{a}=5&n={n}|public.w|6"))
            .to_vec()
    };
    let logged = |db: &mut Client, level: &str| -> TestResult<Vec<String>> {
        let events = rows(
            db,
            "select ev_type, ev_data, ev_extra1, coalesce(ev_extra3, '6') from pgq.event_template order by ev_id",
        )?;
        db.batch_execute("truncate pgq.event_1_0")?;
        assert!(!events.is_empty(), "{level}");
        Ok(events)
    };
    for (format, expected) in [
        ("sql", &sql as &dyn Fn(&str, &str) -> Vec<String>),
        ("json", &json),
        ("urlenc", &urlenc),
    ] {
        for level in ["row", "statement", "generic"] {
            // An expression needs a trigger for rows.
            let options = match level {
                "statement" => "'pkey=id', 'ignore=hidden'",
                _ => "'pkey=id', 'ignore=hidden', 'ev_extra3=a + 1', 'when=a > 0'",
            };
            let create = format!(
                "select pgq.create_capture('w', 'c', '{format}', '{level}', array['q', {options}])"
            );
            db.batch_execute(&format!(
                "drop table if exists w;
                 create table w (gone int, id int not null, hidden text, a int, n int);
                 alter table w drop gone;
                 {create}"
            ))?;
            let mut sessions = sessions(&cluster, &dml("id", "hidden", "a"))?;
            logged(&mut db, level)?;
            db.batch_execute(
                "alter table w rename id to number; alter table w rename hidden to shy; alter table w rename a to b;
                 -- They are none of those that the arguments mean.
                 alter table w add a int, add id int;
                 alter table w drop a, drop id",
            )?;
            for refreshed in [false, true] {
                for (who, session) in &mut sessions {
                    session
                        .batch_execute(&format!("{}; commit", dml("number", "shy", "b")))
                        .map_err(|error| {
                            format!("{format}, {level}, {who}, {refreshed}: {error:?}")
                        })?;
                    assert_eq!(
                        logged(&mut db, level)?,
                        expected("number", "b"),
                        "{format}, {level}, {who}, {refreshed}"
                    );
                }
                db.batch_execute("select pgq.refresh_captures()")?;
            }
            db.batch_execute(&format!("begin; {FORBID_SLOW_WAY}"))?;
            db.batch_execute(&dml("number", "shy", "b"))?;
            db.batch_execute("rollback")?;
            // The same arguments are the same capture.
            assert_eq!(row(&mut db, &create)?, "0");

            // They go on to follow, also when the names come back to other columns.
            db.batch_execute(
                "alter table w rename number to x; alter table w rename n to number; alter table w rename x to n;
                 alter table w rename shy to id",
            )?;
            for refreshed in [false, true] {
                for (who, session) in &mut sessions {
                    session.batch_execute(
                        "insert into w (n, id, b, number) values (1, 'h', 5, 1);
                         update w set id = 'i' where n = 1; delete from w where n = 1",
                    )?;
                    let events = logged(&mut db, level)?;
                    assert_eq!(
                        events.len(),
                        2,
                        "{format}, {level}, {who}, {refreshed}: {events:?}"
                    );
                    assert!(!events[0].contains("h"), "{events:?}");
                }
                db.batch_execute("select pgq.refresh_captures()")?;
            }
        }
    }
    Ok(())
}

#[test]
fn a_column_that_takes_the_name_of_a_renamed_key_is_no_key() -> TestResult {
    let (cluster, mut db) = queue_and_table()?;
    for level in ["row", "statement", "generic"] {
        db.batch_execute(&format!(
            "drop table if exists w; create table w (id int not null, a text);
             select pgq.create_capture('w', 'c', 'sql', '{level}', array['q', 'pkey=id'])"
        ))?;
        let mut sessions = sessions(&cluster, "insert into w values (0)")?;
        db.batch_execute("alter table w rename id to old_id; alter table w add id int")?;
        events(&mut db)?;
        for refreshed in [false, true] {
            for (who, session) in &mut sessions {
                session.batch_execute(
                    "insert into w values (1, 'x', 7); update w set id = 8 where old_id = 1;
                     delete from w where old_id = 1; commit",
                )?;
                assert_eq!(
                    events(&mut db)?,
                    [
                        "I|(old_id,a,id) values ('1','x','7')|public.w",
                        "U|id='8' where old_id='1'|public.w",
                        "D|old_id='1'|public.w"
                    ],
                    "{level}, {who}, {refreshed}"
                );
            }
            db.batch_execute("select pgq.refresh_captures()")?;
        }
    }
    Ok(())
}

#[test]
fn the_primary_key_takes_the_place_of_a_key_column_that_is_dropped() -> TestResult {
    let (cluster, mut db) = queue_and_table()?;
    for level in ["row", "statement", "generic"] {
        db.batch_execute(&format!(
            "drop table if exists w; create table w (id int primary key, a text, b text);
             select pgq.create_capture('w', 'c', 'sql', '{level}', array['q', 'pkey=a,b'])"
        ))?;
        let mut sessions = sessions(
            &cluster,
            "insert into w values (0, 'x', 'y'); delete from w",
        )?;
        db.batch_execute("alter table w drop b")?;
        events(&mut db)?;
        for refreshed in [false, true] {
            for (who, session) in &mut sessions {
                session.batch_execute(
                    "insert into w values (1, 'x'); update w set a = 'z'; delete from w; commit",
                )?;
                assert_eq!(
                    events(&mut db)?,
                    [
                        "I|(id,a) values ('1','x')|public.w",
                        "U|a='z' where id='1'|public.w",
                        "D|id='1'|public.w"
                    ],
                    "{level}, {who}, {refreshed}"
                );
            }
            db.batch_execute("select pgq.refresh_captures()")?;
        }
        // Without one it is a table without a key.
        db.batch_execute("alter table w drop constraint w_pkey; insert into w values (1, 'x')")?;
        let refused = "Update/Delete on table without pkey";
        assert_eq!(
            refusal(&mut db, "update w set a = 'z'")?,
            refused,
            "{level}"
        );
        assert_eq!(refusal(&mut db, "delete from w")?, refused, "{level}");
        // A column under the name of the dropped one is what was meant.
        db.batch_execute(
            "alter table w add b int not null default 3; select pgq.refresh_captures()",
        )?;
        events(&mut db)?;
        db.batch_execute("delete from w")?;
        assert_eq!(events(&mut db)?, ["D|a='x' and b='3'|public.w"], "{level}");
        assert_eq!(
            refusal(
                &mut db,
                &format!(
                    "select pgq.create_capture('w', 'd', 'sql', '{level}', array['q', 'pkey=nope'])"
                )
            )?,
            "pkey= names \"nope\", which is no column of the table"
        );
    }
    Ok(())
}

#[test]
fn triggers_made_by_hand_follow_columns_once_maintenance_has_seen_them() -> TestResult {
    let (_cluster, mut db) = queue_and_table()?;
    db.batch_execute(
        "create table w (id int not null, a text);
         create trigger known after insert or update or delete on w
             for each row execute function pgq.logutriga('q', 'pkey= id');
         create trigger mistyped after insert or update or delete on t
             for each row execute function pgq.logutriga('q', 'pkey=ID')",
    )?;
    assert_eq!(
        refusal(&mut db, "insert into t values (1)")?,
        "pkey= names \"ID\", which is no column of the table"
    );
    db.batch_execute("select pgq.refresh_captures(); insert into w values (1)")?;
    // As it was written, with the blank, as long as it says what the key is.
    assert_eq!(events(&mut db)?, ["I: id|id=1&a|public.w"]);
    db.batch_execute("alter table w rename id to number; update w set a = 'x'")?;
    assert_eq!(events(&mut db)?, ["U:number|number=1&a=x|public.w"]);
    assert!(refusal(&mut db, "insert into t values (1)")?.starts_with("pkey= names \"ID\""));
    Ok(())
}

#[test]
fn a_restored_capture_goes_on_to_follow_its_columns() -> TestResult {
    let from = Cluster::start()?;
    if !has_program(&from, "pg_dump") || !has_program(&from, "psql") {
        return Ok(());
    }
    let mut db = install(&from)?;
    db.batch_execute(
        "create table before (id int primary key); drop table before;
         select pgq.create_queue('q');
         create table w (gone int, id int not null, secret text, a text);
         select pgq.create_capture('w', 'c', 'sql', 'row', array['q', 'pkey=id', 'ignore=secret']);
         alter table w drop gone;
         alter table w rename id to number; alter table w rename secret to hidden;
         select pgq.refresh_captures()",
    )?;
    let to = cluster_without_pgq()?;
    copy_database(&from, &to)?;
    let mut copy = to.connect("postgres")?;
    copy.batch_execute(
        "select pgq.refresh_captures();
         insert into w values (1, 's', 'x'); update w set a = 'y'; delete from w",
    )?;
    assert_eq!(
        events(&mut copy)?,
        [
            "I|(number,a) values ('1','x')|public.w",
            "U|a='y' where number='1'|public.w",
            "D|number='1'|public.w"
        ]
    );
    Ok(())
}
