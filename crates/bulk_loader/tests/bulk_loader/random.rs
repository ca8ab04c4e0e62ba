//! Random changes of tables: in the end source and target are the same.

use postgres::Client;
use testkit::{MoverSite, TestResult, tick};

use crate::{METHODS, capture, content, site, table_with_old_rows};

/// Numbers that look random and are the same each time.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        // The constants of Knuth's MMIX.
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn one_of<'a>(&mut self, values: &[&'a str]) -> &'a str {
        let place = self.below(values.len() as u64);
        values[usize::try_from(place).expect("a place in a short list")]
    }
}

/// Tables with all kinds of keys: of each the columns, those of the key, and values for these.
const TABLES: [(&str, &str, &[&[&str]]); 6] = [
    (
        "plain",
        "id int primary key",
        &[&["1", "2", "3", "4", "5", "-7", "2147483647"]],
    ),
    (
        "scaled",
        "id numeric primary key",
        &[&["1", "1.0", "1.00", "2", "2.50", "2.5", "-0.0", "0", "'NaN'"]],
    ),
    (
        "padded",
        "id char(3) primary key",
        &[&["'a'", "'a  '", "'ab '", "'ab'", "''", "' '", "'abc'"]],
    ),
    (
        "timed",
        "id timestamptz primary key",
        &[&[
            "'2024-03-31 01:30+00'",
            "'2024-03-31 02:30+01'",
            "'infinity'",
            "'epoch'",
        ]],
    ),
    (
        "\"Several.Columns\"",
        "\"Key\" text, n smallint, primary key (n, \"Key\")",
        &[
            &["'a'", "'A'", "E'a\\tb\\\\N'", "''", "'\\N'", "'é&%+='"],
            &["1", "2"],
        ],
    ),
    (
        "floating",
        "id float8 primary key",
        &[&["0", "'-0'", "1e10", "0.1", "10000000000"]],
    ),
];

fn key_columns(table: &str) -> &'static [&'static str] {
    match table {
        "\"Several.Columns\"" => &["\"Key\"", "n"],
        _ => &["id"],
    }
}

/// One random change of a random table.
fn change(src: &mut Client, random: &mut Random) -> TestResult {
    let (table, _, keys) = TABLES[usize::try_from(random.below(TABLES.len() as u64))?];
    let key = |random: &mut Random| -> Vec<&str> {
        keys.iter().map(|values| random.one_of(values)).collect()
    };
    let values = key(random);
    let names = key_columns(table);
    let number = random.below(1000);
    let text = random.one_of(&[
        "null",
        "''",
        "'x'",
        "E'\\\\.\\n\\r\\t'",
        "repeat('long ', 50)",
    ]);
    let condition: Vec<String> = (names.iter().zip(&values))
        .map(|(name, value)| format!("{name} = {value}"))
        .collect();
    let condition = condition.join(" and ");
    let sql = match random.below(7) {
        0 | 1 => format!("delete from {table} where {condition}"),
        2 | 3 => format!(
            "insert into {table} ({}, a, b) values ({}, {number}, {text}) on conflict do nothing",
            names.join(", "),
            values.join(", ")
        ),
        4 | 5 => format!("update {table} set a = {number} where {condition}"),
        _ => format!("update {table} set a = {number}, b = {text} where {condition}"),
    };
    src.batch_execute(&sql)
        .map_err(|error| format!("{sql}: {error}"))?;
    Ok(())
}

/// Goes through rounds of random changes; source and target must be the same after each.
fn differential(
    site: &MoverSite,
    seed: u64,
    tables: &[&str],
    change: impl Fn(&mut Client, &mut Random) -> TestResult,
) -> TestResult {
    let (mut src, mut dst) = (site.db("src")?, site.db("dst")?);
    site.drain("mover")?;
    let mut random = Random(seed);
    for round in 0..24 {
        let lines = METHODS[round % METHODS.len()];
        // With no memory at all each event is applied by itself.
        let limit = if random.below(4) == 0 { 0 } else { 64 };
        let temporary = random.one_of(&["transaction", "session"]);
        site.write(
            "mover",
            &format!(
                "{lines}\nbatch_memory_limit = {limit}\ntemp_tables = {temporary}\nanalyze = 1"
            ),
        )?;
        for _ in 0..random.below(120) {
            change(&mut src, &mut random)?;
        }
        tick(&mut src, "from")?;
        site.drain("mover")?;
        for table in tables {
            assert_eq!(
                content(&mut dst, table)?,
                content(&mut src, table)?,
                "{table}, seed {seed}, round {round}, {lines}, limit {limit}"
            );
        }
    }
    Ok(())
}

#[test]
fn random_changes_leave_source_and_target_the_same() -> TestResult {
    let site = site()?;
    let (mut src, mut dst) = (site.db("src")?, site.db("dst")?);
    for (table, columns, _) in TABLES {
        let sql = format!("create table {table} (a int, b text, {columns})");
        src.batch_execute(&sql)?;
        dst.batch_execute(&sql)?;
        capture(&mut src, table, "")?;
    }
    differential(&site, 1, &TABLES.map(|(table, _, _)| table), change)
}

#[test]
fn random_changes_of_keys_do_as_well_if_events_hold_the_old_row() -> TestResult {
    let site = site()?;
    table_with_old_rows(&mut site.db("src")?, &mut site.db("dst")?)?;
    differential(&site, 2, &["t"], |src, random| {
        let (id, other, value) = (random.below(12), random.below(12), random.below(1000));
        let sql = match random.below(6) {
            0 => format!("delete from t where id = {id}"),
            1 | 2 => format!("insert into t values ({id}, '{value}') on conflict do nothing"),
            3 => format!("update t set v = '{value}' where id = {id}"),
            _ => format!(
                "update t set id = {other}, v = '{value}' where id = {id} \
                 and not exists (select from t where id = {other})"
            ),
        };
        Ok(src.batch_execute(&sql)?)
    })
}
