//! Values of key=value pairs are encoded byte by byte, whatever their script and their size.

use testkit::{Cluster, TestResult};

use crate::support::{install, row, rows};

/// What the encoding is defined to be, at a byte a time.
const DEFINITION: &str = "
    create function encoded(i_value text) returns text language sql as $$
        select coalesce(string_agg(case when b < 128 and chr(b) ~ '[A-Za-z0-9_.-]' then chr(b) when b = 32 then '+'
                                        else '%' || lpad(to_hex(b), 2, '0') end, '' order by i), '')
          from (select i, get_byte(convert_to($1, getdatabaseencoding()), i) as b
                  from generate_series(0, octet_length($1) - 1) i) x
    $$";

#[test]
fn text_of_every_script_is_encoded_byte_by_byte() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = install(&cluster)?;
    db.batch_execute(DEFINITION)?;
    // Texts of 1 to 400 characters, mostly of ASCII to nearly all of others, few or many different ones.
    db.batch_execute(
        "select setseed(0.5);
         create table texts as
         select i, share, string_agg(chr(case when random() < share then 33 + (random() * 93)::integer
                                              when random() < 0.3 then 32
                                              when random() < 0.5 then 200 + (random() * 50)::integer
                                              else 19968 + (random() * 400)::integer end), '') as value
           from generate_series(1, 300) i, unnest('{1, 0.99, 0.9, 0.5, 0.1}'::float[]) share, generate_series(1, 400) g
          where g <= 1 + i * 7 % 400
          group by i, share",
    )?;
    let wrong = rows(
        &mut db,
        "select i, share from texts
          where pgq._urlencode(value) <> encoded(value) or pgq_gen.encode(value collate \"C\") <> encoded(value)",
    )?;
    assert_eq!(wrong, [""; 0]);
    assert_eq!(
        row(&mut db, "select count(distinct value) > 1400 from texts")?,
        "t"
    );
    Ok(())
}

#[test]
fn large_values_are_encoded_as_small_ones_are() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = install(&cluster)?;
    db.batch_execute(DEFINITION)?;
    db.batch_execute(
        "create table part as select 'a=b & c%d é+/ ' || repeat('plain text', 19) as value;
         create table t (id integer primary key, a text, b text);
         select pgq.create_queue('q');
         select pgq.create_capture('t', 'each', 'urlenc', 'row', '{q}'),
                pgq.create_capture('t', 'minimal', 'urlenc', 'row', '{q,encoding=minimal}')",
    )?;
    // More than what is looked at by one regular expression.
    let times = 250_000;
    db.batch_execute(&format!(
        "insert into t select 1, repeat(value, {times}), value from part"
    ))?;
    let mut expected = |code: &str| {
        row(
            &mut db,
            &format!(
                "select md5('id=1&a=' || repeat({code}, {times}) || '&b=' || {code}) from part"
            ),
        )
    };
    let expected = [
        expected("encoded(value)")?,
        expected(
            "replace(replace(replace(replace(value, '%', '%25'), '+', '%2b'), '&', '%26'), '=', '%3d')",
        )?,
    ];
    let found = rows(
        &mut db,
        "select md5(ev_data) from pgq.event_template order by ev_id",
    )?;
    assert_eq!(found, expected);
    Ok(())
}
