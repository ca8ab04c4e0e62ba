//! Several jobs at once: two queues of a provider, with names that are no plain words.

use std::fs;

use testkit::{Program, TestResult, wait_until};

use crate::support::{PATIENCE, Pair};

/// Job, queue, and the schema of its table.
fn jobs() -> [(&'static str, String, &'static str); 2] {
    [
        ("select", "A.b C".to_owned(), "first"),
        ("job two", "Queue.".repeat(15), "second"),
    ]
}

fn londiste(pair: &Pair, job: &str, line: &str) -> Program {
    Program::new("londiste", pair.dir())
        .args([format!("{job}.ini")])
        .args(line.split(' '))
}

/// Triggers on the tables, those of foreign keys left out.
fn triggers(pair: &Pair) -> TestResult<Vec<String>> {
    let sql = "select tgname::text from pg_trigger where tgrelid in ('first.t'::regclass, 'second.t'::regclass) \
               and not tgisinternal order by 1";
    let rows = pair.provider()?.query(sql, &[])?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

#[test]
fn two_jobs_with_odd_queues_share_a_subscriber() -> TestResult {
    let pair = Pair::start(
        "create schema first; create table first.t (id int primary key, v text);
         create schema second; create table second.t (id int primary key, v text)",
    )?;
    let plain = fs::read_to_string(pair.path("replay.ini"))?;
    let mut replays = Vec::new();
    for (job, queue, schema) in jobs() {
        let own = plain
            .replace("= q\n", &format!("= {queue}\n"))
            .replace("= replay\n", &format!("= {job}\n"))
            .replace("/replay.", &format!("/{job}."));
        fs::write(pair.path(&format!("{job}.ini")), own)?;
        londiste(&pair, job, "provider install").succeed()?;
        londiste(&pair, job, &format!("provider add {schema}.t")).succeed()?;
        londiste(&pair, job, &format!("subscriber add {schema}.t")).succeed()?;
        replays.push(londiste(&pair, job, "replay").spawn()?);
        // Each knows its own.
        let tables = londiste(&pair, job, "subscriber tables").succeed()?;
        assert!(
            tables.stdout.contains(&format!("{schema}.t")),
            "{}",
            tables.stdout
        );
        assert_eq!(tables.stdout.lines().count(), 2, "{}", tables.stdout);
    }
    let arrives = |change: &str| -> TestResult {
        let (mut here, mut there) = (pair.provider()?, pair.subscriber()?);
        for schema in ["first", "second"] {
            here.batch_execute(&change.replace("T ", &format!("{schema}.t ")))?;
        }
        for schema in ["first", "second"] {
            let rows = format!("select * from {schema}.t order by id");
            wait_until(&format!("{change:?} on {schema}.t"), PATIENCE, || {
                let compared = testkit::compare(&mut here, &mut there, &rows)?;
                Ok(compared.difference.is_none() && compared.left_rows == compared.right_rows)
            })?;
        }
        Ok(())
    };
    arrives("insert into T select i, 'x' from generate_series(1, 20) i")?;
    let before = triggers(&pair)?;
    assert_eq!(before.len(), 2, "{before:?}");
    for (job, ..) in jobs() {
        londiste(&pair, job, "provider refresh --all").succeed()?;
    }
    assert_eq!(triggers(&pair)?, before);
    arrives("update T set v = 'y' where id < 5; delete from T where id > 15")?;
    // What one gives up is the other's no less.
    londiste(&pair, "select", "provider remove first.t").succeed()?;
    wait_until("the table to be unsubscribed", PATIENCE, || {
        Ok(pair.state("first.t")?.is_empty())
    })?;
    assert_eq!(pair.state("second.t")?, "ok");
    assert_eq!(triggers(&pair)?.len(), 1);
    londiste(&pair, "job two", "provider remove --all").succeed()?;
    assert_eq!(triggers(&pair)?, [""; 0]);
    for (job, ..) in jobs() {
        let problems = testkit::log_problems(&pair.path(&format!("{job}.log")), &[])?;
        assert!(problems.is_empty(), "{problems:#?}");
    }
    Ok(())
}
