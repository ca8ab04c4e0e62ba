//! Rows with much in them, and many tables, through everything that they go through.

use std::fmt::Write;
use std::time::Duration;

use testkit::{Program, TestResult, wait_for};

use crate::support::{PATIENCE, Pair};

const MB: u32 = 1024 * 1024;

/// Columns of the wide table beside its key.
const COLUMNS: u32 = 300;

/// Megabytes of the values: what `LONDISTE_VALUE_MB` says.
fn megabytes() -> u32 {
    let text = std::env::var("LONDISTE_VALUE_MB").ok();
    text.and_then(|text| text.parse().ok()).unwrap_or(4)
}

/// How many tables are replicated: what `LONDISTE_TABLES` says.
fn tables() -> u64 {
    let text = std::env::var("LONDISTE_TABLES").ok();
    text.and_then(|text| text.parse().ok()).unwrap_or(25)
}

/// SQL of a text of so many bytes that begins with `start`.
fn text(start: &str, bytes: u32) -> String {
    format!("rpad('{start}', {bytes}, E'it''s \\\\ so\\n')")
}

/// Runs a program to its end; its exit code, and the most memory that was seen in its hands.
fn run(pair: &Pair, arguments: &[&str], patience: Duration) -> TestResult<(Option<i32>, u32)> {
    let mut program = Program::new("londiste", pair.dir())
        .args(["replay.ini"])
        .args(arguments)
        .spawn()?;
    let mut peak = 0;
    let status = wait_for("the program to end", patience, || {
        // It may just have ended.
        peak = program.peak_memory_kb().unwrap_or_default().max(peak);
        program.ended()
    })?;
    Ok((status.code(), peak))
}

/// Runs for minutes with `LONDISTE_VALUE_MB=100`.
#[test]
fn values_of_many_megabytes_and_rows_of_many_columns_go_through_everything() -> TestResult {
    let size = megabytes();
    let mut wide = "create table wide (id int primary key".to_owned();
    for number in 1..=COLUMNS {
        write!(
            wide,
            ", c{number} {}",
            ["int", "text", "numeric"][number as usize % 3]
        )?;
    }
    let schema = format!(
        "{wide}); create table long (id int primary key, t text, b bytea);
         alter table long alter t set storage external, alter b set storage external"
    );
    let pair = Pair::start("")?;
    let (mut provider, mut subscriber) = (pair.provider()?, pair.subscriber()?);
    for side in [&mut provider, &mut subscriber] {
        side.batch_execute(&schema)?;
    }
    let values: Vec<String> = (1..=COLUMNS)
        .map(|number| format!("i * {number}"))
        .collect();
    let fill = |from: u32, to: u32| {
        format!(
            "insert into wide select i, {} from generate_series({from}, {to}) i;",
            values.join(", ")
        )
    };
    provider.batch_execute(&fill(1, 200))?;
    provider.batch_execute(&format!(
        "insert into long values (1, {}, null), (2, 'short', null)",
        text("one", size * MB)
    ))?;
    pair.add(&["wide", "long"])?;
    let replay = pair.replay()?;
    pair.wait_ok(&["public.wide", "public.long"])?;
    let long = "select id, length(t), md5(t), length(b), md5(b) from long order by id";
    pair.assert_equal(long)?;

    provider.batch_execute(&fill(201, 400))?;
    provider
        .batch_execute("update wide set c7 = 0, c300 = -1; delete from wide where id % 10 = 0")?;
    // As text that is twice as long.
    provider.batch_execute(&format!(
        "update long set b = convert_to({}, 'utf8') where id = 2; update long set id = 3 where id = 1;
         insert into long values (4, {}, ''); delete from long where id = 3",
        text("two", size * MB),
        text("four", size * MB)
    ))?;
    pair.catch_up()?;
    pair.assert_equal(long)?;
    assert_eq!(pair.assert_equal("select * from wide order by id")?, 360);
    let of_replay = replay.peak_memory_kb()?;

    let (code, of_compare) = run(&pair, &["compare"], PATIENCE * 4)?;
    assert_eq!(code, Some(0), "{}", pair.log()?);
    subscriber.batch_execute(
        "update long set t = t || '!' where id = 4; update long set b = b || '\\x00' where id = 2;
         delete from wide where id = 7; update wide set c1 = 0 where id = 8; insert into wide (id) values (1000)",
    )?;
    let (code, of_difference) = run(&pair, &["compare"], PATIENCE * 4)?;
    assert_eq!(code, Some(3), "{}", pair.log()?);
    let (code, of_file) = run(&pair, &["repair"], PATIENCE * 4)?;
    assert_eq!(code, Some(0), "{}", pair.log()?);
    let file = std::fs::read_to_string(pair.path("fix.public.long.sql"))?;
    assert_eq!(file.matches("\nupdate ").count(), 2);
    let (code, of_repair) = run(&pair, &["repair", "--apply"], PATIENCE * 4)?;
    assert_eq!(code, Some(0), "{}", pair.log()?);
    pair.assert_equal(long)?;
    pair.assert_equal("select * from wide order by id")?;
    // The file finds the rows as they are now, and not as it expects them.
    subscriber.batch_execute("update long set t = t || '?' where id = 4")?;
    let other = "select md5(t) from long where id = 4";
    let before: String = subscriber.query_one(other, &[])?.get(0);
    subscriber.batch_execute(&file)?;
    assert_eq!(
        subscriber.query_one(other, &[])?.get::<_, String>(0),
        before
    );
    subscriber.batch_execute(
        "update long set t = left(t, -1) || '!' where id = 4; delete from long where id = 2",
    )?;
    let (code, _) = run(&pair, &["repair"], PATIENCE * 4)?;
    assert_eq!(code, Some(0), "{}", pair.log()?);
    subscriber.batch_execute(&std::fs::read_to_string(pair.path("fix.public.long.sql"))?)?;
    pair.assert_equal(long)?;
    println!(
        "values of {size} MB: replay took {} MB, compare {} and {} MB, repair {} and {} MB",
        of_replay / 1024,
        of_compare / 1024,
        of_difference / 1024,
        of_file / 1024,
        of_repair / 1024
    );
    // The text of the bytea is the largest of all, and what is read ahead stands beside it.
    let limit = |times: u32| 64 * 1024 + times * size * 1024;
    assert!(of_replay < limit(16), "{of_replay} kB");
    assert!(of_compare < limit(1), "{of_compare} kB");
    assert!(of_difference < limit(1), "{of_difference} kB");
    assert!(of_file < limit(5), "{of_file} kB");
    assert!(of_repair < limit(8), "{of_repair} kB");
    Ok(())
}

/// Takes minutes and some gigabytes, so it runs with `LONDISTE_VALUE_MB=100` only.
#[test]
fn a_row_that_no_message_can_hold_is_told_and_others_are_copied() -> TestResult {
    if megabytes() < 100 {
        return Ok(());
    }
    let pair = Pair::start(
        "create table fits (id int primary key, a text, b text); create table large (like fits including all)",
    )?;
    let mut provider = pair.provider()?;
    let row = |table: &str, megabytes: u32| {
        let text = |letter: char| format!("repeat('{letter}', {megabytes} * {MB})");
        format!(
            "insert into {table} values (1, {}, {})",
            text('a'),
            text('b')
        )
    };
    provider.batch_execute(&row("fits", 480))?;
    provider.batch_execute(&row("large", 520))?;
    pair.add(&["fits", "large"])?;
    let _replay = pair.replay()?;
    pair.wait_ok(&["public.fits"])?;
    let told = wait_for("status to tell of the row", PATIENCE * 4, || {
        let text = pair.londiste(&["status"])?.stdout;
        let line = text
            .lines()
            .find(|line| line.contains("the copy of public.large fails since"));
        Ok(line.map(str::to_owned))
    })
    .map_err(|error| pair.explain(error))?;
    println!("{told}");
    provider.batch_execute("update large set b = ''")?;
    pair.wait_ok(&["public.large"])?;
    pair.catch_up()?;
    for table in ["fits", "large"] {
        pair.assert_equal(&format!(
            "select id, length(a), md5(a), md5(b) from {table}"
        ))?;
    }
    Ok(())
}

/// What all tables hold, by a function that looks for them.
const EVERYTHING: &str = "
    create function everything() returns table (name text, id int, v text) language plpgsql as $$
    begin
        for name in select relname from pg_class where relname ~ '^many' and relkind = 'r' order by relname loop
            return query execute format('select %1$L, id, v from %1$I', name);
        end loop;
    end $$";

/// Runs for minutes with `LONDISTE_TABLES=10000`.
#[test]
fn many_tables_are_added_looked_at_and_replicated() -> TestResult {
    let count = tables();
    // Registering takes longest: 30 ms a table were seen.
    let patience = PATIENCE * 4 + Duration::from_millis(100 * count);
    let pair = Pair::start(EVERYTHING)?;
    let each = |side: &mut postgres::Client, statement: &str| -> TestResult {
        // In several transactions, for the locks.
        side.batch_execute(&format!(
            "do $$ begin for i in 1..{count} loop execute format('{statement}', i); commit; end loop; end $$"
        ))?;
        Ok(())
    };
    let (mut provider, mut subscriber) = (pair.provider()?, pair.subscriber()?);
    for side in [&mut provider, &mut subscriber] {
        each(side, "create table many%s (id int primary key, v text)")?;
    }
    let mut peaks = Vec::new();
    let mut succeed = |arguments: &[&str]| -> TestResult {
        let (code, peak) = run(&pair, arguments, patience)?;
        assert_eq!(code, Some(0), "{arguments:?}: {}", pair.log()?);
        peaks.push((arguments.join(" "), peak));
        Ok(())
    };
    succeed(&["provider", "add", "--all"])?;
    succeed(&["subscriber", "add", "--all", "--expect-sync"])?;
    let replay = pair.replay()?;
    succeed(&["status"])?;
    each(&mut provider, "insert into many%1$s values (%1$s, ''new'')")?;
    each(&mut provider, "update many%s set v = v || ''!''")?;
    pair.catch_up_within(patience)?;
    let rows = pair.assert_equal("select * from everything()")?;
    assert_eq!(rows, count);
    succeed(&["status"])?;
    succeed(&["compare"])?;
    peaks.push(("replay".to_owned(), replay.peak_memory_kb()?));
    println!("{count} tables, kB: {peaks:?}");
    let limit = u32::try_from(64 * 1024 + 20 * count)?;
    assert!(peaks.iter().all(|(_, peak)| *peak < limit), "{peaks:?}");
    pair.assert_quiet()
}
