//! Captures of tables of odd shapes: without columns, with more than a function has arguments, with virtual ones.

use testkit::TestResult;

use crate::captures::{events, queue_and_table};
use crate::support::{refusal, row};

#[test]
fn virtual_columns_are_left_to_triggers_for_rows() -> TestResult {
    let (_cluster, mut db) = queue_and_table()?;
    if row(
        &mut db,
        "select current_setting('server_version_num')::int >= 180000",
    )? == "f"
    {
        return Ok(());
    }
    db.batch_execute(
        "create table v (id int primary key, twice int generated always as (id * 2) virtual)",
    )?;
    let create = |level| {
        format!("select pgq.create_capture('v', 'c', 'sql', '{level}', array['q', 'ignore=twice'])")
    };
    assert_eq!(
        refusal(&mut db, &create("statement"))?,
        "cannot capture statements on public.v: transition tables do not hold the virtual columns that the table has"
    );
    row(&mut db, &create("row"))?;
    db.batch_execute("insert into v values (1); delete from v")?;
    assert_eq!(
        events(&mut db)?,
        ["I|(id) values ('1')|public.v", "D|id='1'|public.v"]
    );
    Ok(())
}

#[test]
fn a_table_without_columns_is_captured() -> TestResult {
    let (_cluster, mut db) = queue_and_table()?;
    db.batch_execute("create table bare ()")?;
    let insert = "insert into bare default values";
    let expected =
        [r#"{"op":"INSERT","table":["public","bare"],"pkey":[]}|{}|public.bare"#.to_owned()];
    for level in ["generic", "row", "statement"] {
        db.batch_execute(&format!(
            "select pgq.create_capture('bare', 'c', 'json', '{level}', array['q'])"
        ))?;
        db.batch_execute(insert)?;
        assert_eq!(events(&mut db)?, expected, "{level}");
        // A queue with a limit is served in the slow way.
        db.batch_execute("update pgq.queue set queue_per_tx_limit = 10")?;
        for isolation in ["read committed", "repeatable read"] {
            db.batch_execute(&format!(
                "begin isolation level {isolation}; {insert}; commit"
            ))?;
            assert_eq!(events(&mut db)?, expected, "{level}, {isolation}");
        }
        db.batch_execute("update pgq.queue set queue_per_tx_limit = null")?;
    }
    Ok(())
}

#[test]
fn a_key_may_have_more_columns_than_a_function_has_arguments() -> TestResult {
    let (_cluster, mut db) = queue_and_table()?;
    let columns = |suffix: &str| -> String {
        let all: Vec<String> = (1..=120).map(|nr| format!("c{nr}{suffix}")).collect();
        all.join(", ")
    };
    db.batch_execute(&format!(
        "create table broad (id int primary key, {})",
        columns(" int not null default 7")
    ))?;
    let key = columns("").replace(' ', "");
    let condition: Vec<String> = (1..=120).map(|nr| format!("c{nr}='7'")).collect();
    for level in ["row", "statement", "generic"] {
        row(
            &mut db,
            &format!(
                "select pgq.create_capture('broad', 'c', 'sql', '{level}', array['q', 'pkey={key}'])"
            ),
        )?;
        db.batch_execute(
            "insert into broad values (1); update broad set id = 2; delete from broad",
        )?;
        let logged = events(&mut db)?;
        assert_eq!(
            logged[1..],
            [
                format!("U|id='2' where {}|public.broad", condition.join(" and ")),
                format!("D|{}|public.broad", condition.join(" and "))
            ],
            "{level}"
        );
        row(&mut db, "select pgq.drop_capture('broad', 'c')")?;
    }
    Ok(())
}

#[test]
fn a_row_may_have_more_columns_than_a_function_has_arguments() -> TestResult {
    let (_cluster, mut db) = queue_and_table()?;
    db.batch_execute(
        "do $$ begin
            execute 'create table many (k int primary key, ' || (
                select string_agg(format('%I %s', '%c' || i, case i % 3 when 0 then 'int' when 1 then 'text' else 'date' end), ', ')
                  from generate_series(1, 250) i) || ')';
         end $$",
    )?;
    for (format, function) in [
        ("sql", "sqltriga"),
        ("urlenc", "logutriga"),
        ("json", "jsontriga"),
    ] {
        db.batch_execute(&format!(
            r#"truncate many;
             truncate pgq.event_template;
             select pgq.create_capture('many', 'one', '{format}', 'row', array['q']);
             create trigger two after insert or update or delete on many
                 for each row execute function pgq.{function}('q');
             -- Columns without a value, all with one, and some.
             insert into many (k) values (1);
             do $$ begin
                 execute 'insert into many select 2, ' || (
                     select string_agg(case i % 3 when 0 then i::text when 1 then quote_literal('%1$s & ' || i) else 'current_date' end, ', ')
                       from generate_series(1, 250) i);
             end $$;
             insert into many select 3, m."%c1" from many m where k = 2;
             update many set "%c90" = null, "%c91" = 'z', "%c250" = 'w';
             update many set "%c90" = null;
             delete from many;
             drop trigger two on many"#
        ))?;
        let wrong = row(
            &mut db,
            // An update that changes nothing repeats whole rows.
            "select count(*) filter (where n % 2 <> 0) from (
                select count(*) as n from pgq.event_template group by ev_type, ev_data, ev_extra1) e",
        )?;
        let events = row(&mut db, "select count(*) from pgq.event_template")?;
        assert_eq!([wrong, events], ["0", "24"], "{format}");
    }
    Ok(())
}
