//! What arrives.

use testkit::{MoverSite, TestResult, tick};

use crate::{put, put_event, rows, site};

/// A table of odd names, and values that have to be escaped everywhere.
const ODD: &str = r#"
    create table "Order" (id int primary key, "Mixed Case" text, "select" text, "1a" bytea, "a.b""c" text,
                          "ä=&%+" text, n numeric, t timestamptz)"#;

const VALUES: &str = r#"
    insert into "Order" values
        (1, null, '', '\x00ff5c', E'tab\t lf\n cr\r backslash\\ quote'' "', '%+&= 100%', 1.00, '2024-05-31 23:59:59.999999+03'),
        (2, '\N', '\.', '', 'null', ' leading and trailing ', 'NaN', 'infinity'),
        (3, 'öäü €', '😀', null, E'\u0001\u007f', repeat('x', 3000000), -0.000001, '0044-03-15 12:00:00+00 BC')"#;

#[test]
fn values_arrive_byte_by_byte() -> TestResult {
    let (site, mut src, mut dst) = site("dest_table = arc.Order", "create schema arc")?;
    src.batch_execute(ODD)?;
    dst.batch_execute(&ODD.replace("\"Order\"", "arc.\"Order\""))?;
    src.batch_execute(
        "create trigger t after insert on \"Order\" for each row execute function pgq.logutriga('from')",
    )?;
    src.batch_execute(VALUES)?;
    tick(&mut src, "from")?;
    site.drain("mover")?;
    assert_eq!(
        rows(&mut dst, "arc.\"Order\"")?,
        rows(&mut src, "\"Order\"")?
    );
    let log = site.log("mover");
    assert!(
        log.contains("{count: 3, ") && log.contains("inserted: 3, "),
        "{log}"
    );
    Ok(())
}

#[test]
fn an_update_and_a_delete_append_their_row_too() -> TestResult {
    let (site, mut src, mut dst) = site("dest_table = t", "create table t (id int, v text)")?;
    src.batch_execute(
        "create table t (id int primary key, v text);
         create trigger t after insert or update or delete on t
             for each row execute function pgq.logutriga('from');
         create table j (id int primary key, v text);
         create trigger t after insert on j for each row execute function pgq.jsontriga('from');
         insert into t values (1, 'a');
         update t set v = 'b';
         delete from t;
         insert into j values (2, E'\\t\"')",
    )?;
    tick(&mut src, "from")?;
    site.drain("mover")?;
    assert_eq!(
        rows(&mut dst, "t")?,
        ["(1,a)", "(1,b)", "(1,b)", "(2,\"\t\"\"\")"]
    );

    site.write(
        "some",
        "event_types = I, D\npgq_consumer_id = some\ntable_filter = t",
    )?;
    dst.batch_execute("truncate t")?;
    site.drain("some")?;
    src.batch_execute("insert into t values (3, 'c'); update t set v = 'd'; delete from t; insert into j values (4)")?;
    tick(&mut src, "from")?;
    site.drain("some")?;
    assert_eq!(rows(&mut dst, "t")?, ["(3,c)", "(3,d)"]);
    assert!(
        site.log("some").contains("{count: 3, "),
        "{}",
        site.log("some")
    );
    assert!(
        site.log("some").contains("inserted: 2, skipped: 1"),
        "{}",
        site.log("some")
    );
    Ok(())
}

#[test]
fn columns_that_come_and_go_lose_nothing() -> TestResult {
    let target = "create table t (id int, a text default 'default', b text default 'default', \
                  c int generated always as (id * 2) stored)";
    let (site, mut src, mut dst) = site("dest_table = t", target)?;
    put(
        &mut src,
        &[
            "id=1&a=x&b=y",
            "id=2&a=x",
            "id=3",
            "b=z&id=4&a",
            "id=5&a=x&b=y",
            "a=&id=6&c=7",
            "id=7&id=8&&b=p=q",
        ],
    )?;
    site.drain("mover")?;
    assert_eq!(
        rows(&mut dst, "t")?,
        [
            "(1,x,y,2)",
            "(2,x,default,4)",
            "(3,default,default,6)",
            "(4,,z,8)",
            "(5,x,y,10)",
            "(6,\"\",default,12)",
            "(8,default,p=q,16)",
        ]
    );
    Ok(())
}

#[test]
fn fields_choose_and_rename_columns() -> TestResult {
    let target =
        "create table t (id int, customer text default 'nobody', extra text default 'none')";
    let (site, mut src, mut dst) = site("dest_table = t\nfields = id, name : customer", target)?;
    for (job, keys) in [
        ("nulls", "missing_field = null"),
        ("all", "fields = *, name:customer"),
    ] {
        site.write(job, &format!("{keys}\npgq_consumer_id = {job}"))?;
        site.drain(job)?;
    }
    put(&mut src, &["id=1&extra=x&name=ann"])?;
    site.drain("mover")?;
    put(&mut src, &["extra=y&id=2"])?;
    site.refused("mover.ini --once", "column name is not in the row")?;
    assert_eq!(rows(&mut dst, "t")?, ["(1,ann,none)"]);
    dst.batch_execute("truncate t")?;
    site.drain("nulls")?;
    assert_eq!(rows(&mut dst, "t")?, ["(1,ann,none)", "(2,,none)"]);
    dst.batch_execute("truncate t")?;
    site.drain("all")?;
    assert_eq!(rows(&mut dst, "t")?, ["(1,ann,x)", "(2,nobody,y)"]);
    Ok(())
}

#[test]
fn rows_of_another_encoding_are_converted() -> TestResult {
    let site = MoverSite::with_encoding("table_dispatcher", "dest_table = t", "LATIN1")?;
    let (mut src, mut dst) = (site.db("src")?, site.db("dst")?);
    let table = "create table t (id int primary key, \"größe\" text)";
    dst.batch_execute(table)?;
    site.drain("mover")?;
    src.batch_execute(table)?;
    src.batch_execute(
        "create trigger t after insert on t for each row execute function pgq.logutriga('from');
         insert into t values (1, 'café'), (2, 'plain')",
    )?;
    tick(&mut src, "from")?;
    site.drain("mover")?;
    assert_eq!(rows(&mut dst, "t")?, rows(&mut src, "t")?);
    Ok(())
}

#[test]
fn nothing_and_much_arrive() -> TestResult {
    let (site, mut src, mut dst) = site("dest_table = t", "create table t (id int, v text)")?;
    // Without events the table is not looked at.
    dst.batch_execute("alter table t rename to hidden")?;
    tick(&mut src, "from")?;
    site.drain("mover")?;
    put_event(&mut src, "I:id", Some("id=0"))?;
    tick(&mut src, "from")?;
    site.refused(
        "mover.ini --once",
        "table public.t does not exist; create it, or set part_template",
    )?;
    dst.batch_execute("alter table hidden rename to t")?;
    site.drain("mover")?;
    // Several pieces, of two kinds that alternate.
    src.batch_execute(
        "select pgq.insert_event('from', 'I:id', 'id=' || n || case n % 2 when 0 then '&v=' || repeat('v', 100)
                                                                          else '' end)
           from generate_series(1, 20000) n",
    )?;
    tick(&mut src, "from")?;
    site.drain("mover")?;
    let row = dst.query_one(
        "select count(*), count(distinct id), sum(length(v)) from t",
        &[],
    )?;
    let found: (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
    assert_eq!(found, (20001, 20001, 1_000_000));
    Ok(())
}
