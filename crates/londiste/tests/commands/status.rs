//! `status`: one look says whether replication is healthy.

use std::time::Duration;

use serde_json::Value;
use testkit::{TestResult, wait_until};

use crate::support::{Pair, value};

const PATIENCE: Duration = Duration::from_secs(30);

fn published() -> TestResult<Pair> {
    let mut pair = Pair::installed()?;
    pair.both("create table users (id int primary key, name text)")?;
    pair.ok("provider add users")?;
    pair.ok("subscriber add users")?;
    Ok(pair)
}

fn status(pair: &Pair) -> TestResult<Value> {
    Ok(serde_json::from_str(&pair.ok("status --json")?.stdout)?)
}

fn messages(status: &Value) -> Vec<String> {
    let problems = status["problems"].as_array().expect("a list");
    let text = |field: &Value| field.as_str().expect("a text").to_owned();
    problems
        .iter()
        .map(|problem| {
            format!(
                "{}: {} -> {}",
                text(&problem["severity"]),
                text(&problem["message"]),
                text(&problem["advice"])
            )
        })
        .collect()
}

#[test]
fn a_job_that_works_is_healthy() -> TestResult {
    let pair = published()?;
    let _ticker = pair.ticker()?;
    let _replay = pair.start("replay")?;
    pair.ok("subscriber wait-sync --timeout 60")?;
    let shown = status(&pair)?;
    assert_eq!(shown["subscriber"]["tables"][0]["state"], "ok");
    assert!(shown["subscriber"]["tables"][0]["state_age_seconds"].as_f64() < Some(60.0));
    assert_eq!(shown["subscriber"]["replay_runs"], true);
    assert!(shown["subscriber"]["replay_pid"].as_i64() > Some(1));
    assert!(shown["provider"]["consumer"]["lag_seconds"].as_f64() < Some(60.0));
    let ours: Vec<String> = messages(&shown)
        .into_iter()
        .filter(|message| message.contains("londiste"))
        .collect();
    assert_eq!(ours, [""; 0]);

    let text = pair.ok("subscriber status")?.stdout;
    for part in [
        "Job: replic   Queue: replic   ",
        "\nProvider    Postgres ",
        "\n  ticker    last tick ",
        "\n  consumer  at tick ",
        "\n  replay    at tick ",
        "; runs, pid ",
        "public.users                                       ok   ",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    Ok(())
}

#[test]
fn what_is_wrong_is_named_with_what_to_type() -> TestResult {
    let mut pair = published()?;
    pair.both("create table more (id int primary key)")?;
    pair.ok("provider add more")?;
    pair.provider
        .batch_execute("create table dropped (id int primary key)")?;
    pair.ok("provider add dropped")?;
    pair.provider.batch_execute("drop table dropped")?;
    pair.provider
        .batch_execute("alter table users disable trigger _londiste_replic")?;
    let run = pair.run("status --check")?;
    assert_eq!(run.code, Some(3));
    assert!(run.stdout.contains("   NOT HEALTHY\n"), "{}", run.stdout);
    let found = messages(&status(&pair)?);
    for (start, end) in [
        (
            "error: replay does not run -> londiste ",
            "/replic.ini replay -d",
        ),
        (
            "error: consumer replic is not registered on the queue -> ",
            "/replic.ini replay -d",
        ),
        (
            "warning: public.users is not captured as it should be: trigger _londiste_replic is disabled -> ",
            "/replic.ini provider refresh public.users",
        ),
        (
            "warning: public.dropped is not captured as it should be: the table does not exist -> ",
            "/replic.ini provider remove public.dropped",
        ),
        (
            "note: 2 published tables are not subscribed -> ",
            "/replic.ini subscriber missing",
        ),
        (
            "note: 1 tables wait to be copied -> ",
            "/replic.ini subscriber wait-sync",
        ),
    ] {
        assert!(
            found
                .iter()
                .any(|line| line.starts_with(start) && line.ends_with(end)),
            "{start}…{end}: {found:#?}"
        );
    }
    Ok(())
}

#[test]
fn an_error_of_replay_is_shown_with_its_age_until_it_is_over() -> TestResult {
    let mut pair = published()?;
    let _ticker = pair.ticker()?;
    pair.configure("exception_sleep = 0.2")?;
    let _replay = pair.start("replay")?;
    pair.ok("subscriber wait-sync --timeout 60")?;
    pair.provider
        .batch_execute("alter table users add extra int; insert into users values (1, 'x', 2)")?;
    let fails = "error: replay fails since ";
    wait_until("the error to be shown", PATIENCE, || {
        let found = messages(&status(&pair)?);
        Ok(found.iter().any(|line| {
            line.starts_with(fails)
                && line.contains("column \"extra\" of relation \"users\" does not exist")
        }))
    })?;
    let times = "select times from londiste.job_error";
    wait_until("another try", PATIENCE, || {
        Ok(value::<i64>(&mut pair.subscriber, times)? > 1)
    })?;

    pair.subscriber
        .batch_execute("alter table users add extra int")?;
    wait_until("the error to be over", PATIENCE, || {
        let found = messages(&status(&pair)?);
        Ok(found.iter().all(|line| !line.starts_with(fails)))
    })?;
    let text = pair.ok("status")?.stdout;
    assert!(text.contains("\n  last error, over "), "{text}");
    Ok(())
}

#[test]
fn a_copy_that_fails_is_named() -> TestResult {
    let mut pair = published()?;
    let _ticker = pair.ticker()?;
    pair.configure("exception_sleep = 0.2")?;
    pair.provider
        .batch_execute("insert into users values (1, 'x')")?;
    pair.subscriber
        .batch_execute("alter table users add check (name <> 'x')")?;
    let _replay = pair.start("replay")?;
    wait_until("the error to be shown", PATIENCE, || {
        let found = messages(&status(&pair)?);
        Ok(found.iter().any(|line| {
            line.starts_with("error: the copy of public.users fails since ")
                && line.contains("violates check constraint")
        }))
    })?;
    Ok(())
}

#[test]
fn a_side_that_does_not_answer_is_a_problem_and_the_other_is_shown() -> TestResult {
    let pair = published()?;
    pair.configure("provider_db = host=127.0.0.1 port=1 dbname=x connect_timeout=2")?;
    let shown = status(&pair)?;
    assert!(shown["provider"].is_null());
    assert_eq!(shown["subscriber"]["tables"][0]["table"], "public.users");
    let found = messages(&shown);
    assert!(
        found[0].starts_with("error: the provider cannot be looked at: "),
        "{found:#?}"
    );
    Ok(())
}

#[test]
fn a_copy_at_work_tells_how_far_it_is() -> TestResult {
    let mut pair = published()?;
    pair.provider.batch_execute(
        "insert into users select i, repeat('x', 1000) from generate_series(1, 3000) i; analyze users",
    )?;
    // The copy waits in the middle.
    pair.subscriber.batch_execute(
        "create function hold(int) returns boolean language plpgsql as $$
         begin
             if $1 = 2500 then perform pg_advisory_xact_lock(1); end if;
             return true;
         end $$;
         alter table users add check (hold(id))",
    )?;
    let mut holder = pair.cluster.connect("subscriber")?;
    holder.batch_execute("select pg_advisory_lock(1)")?;
    let _ticker = pair.ticker()?;
    let _replay = pair.start("replay")?;
    wait_until("the copy to have rows", PATIENCE, || {
        let shown = status(&pair)?;
        Ok(shown["subscriber"]["tables"][0]["copy"]["rows"].as_i64() > Some(1000))
    })?;
    let shown = status(&pair)?;
    assert_eq!(
        shown["subscriber"]["tables"][0]["copy"]["total_rows"].as_f64(),
        Some(3000.0)
    );
    assert_eq!(
        shown["subscriber"]["copy_pids"].as_array().map(Vec::len),
        Some(1)
    );
    let text = pair.ok("status")?.stdout;
    assert!(text.contains(" rows of about 3000 ("), "{text}");
    let text = pair.ok("subscriber tables")?.stdout;
    // The copy reports how many rows there will be when it has run for some seconds.
    assert!(
        text.contains(" in-copy   ")
            && (text.contains(" rows, ") || text.contains(" rows of about 3000 (")),
        "{text}"
    );
    holder.batch_execute("select pg_advisory_unlock(1)")?;
    pair.ok("subscriber wait-sync --timeout 60")?;
    Ok(())
}

#[test]
fn a_replay_that_pauses_after_an_error_is_not_taken_for_one_that_is_gone() -> TestResult {
    let mut pair = published()?;
    let _ticker = pair.ticker()?;
    pair.configure("exception_sleep = 600")?;
    let _replay = pair.start("replay")?;
    pair.ok("subscriber wait-sync --timeout 60")?;
    pair.provider
        .batch_execute("alter table users add extra int; insert into users values (1, 'x', 2)")?;
    wait_until("replay to pause", PATIENCE, || {
        let shown = status(&pair)?;
        let fails = messages(&shown)
            .iter()
            .any(|line| line.starts_with("error: replay fails since "));
        Ok(fails && shown["subscriber"]["replay_runs"] == true)
    })?;
    let text = pair.ok("status")?.stdout;
    assert!(!text.contains("does not run"), "{text}");
    Ok(())
}

#[test]
fn a_replay_that_is_not_at_work_is_shown_until_it_is() -> TestResult {
    let pair = published()?;
    let _ticker = pair.ticker()?;
    pair.configure("exception_sleep = 600")?;
    // Replay cannot begin, and has no lock while it pauses.
    pair.cluster
        .connect("postgres")?
        .batch_execute("alter database provider allow_connections false")?;
    let replay = pair.start("replay")?;
    let expected = format!(
        "error: replay, pid {}, is not at work: it pauses after an error, or is starting -> look into its \
         log; it tries again by itself",
        replay.pid()
    );
    wait_until("replay to pause", PATIENCE, || {
        let shown = status(&pair)?;
        let failed = !shown["subscriber"]["errors"]
            .as_array()
            .is_none_or(Vec::is_empty);
        Ok(failed && messages(&shown).contains(&expected))
    })?;
    let shown = status(&pair)?;
    assert_eq!(shown["subscriber"]["replay_runs"], false);
    assert_eq!(shown["subscriber"]["replay_pid"], replay.pid());
    let text = pair.ok("status")?.stdout;
    let line = format!(
        "\n  replay    at tick -; not at work, pid {}\n",
        replay.pid()
    );
    assert!(text.contains(&line), "{text}");
    assert!(text.contains("   NOT HEALTHY\n"), "{text}");

    pair.cluster
        .connect("postgres")?
        .batch_execute("alter database provider allow_connections true")?;
    // It would wait for ten minutes.
    replay.signal(rustix::process::Signal::HUP)?;
    pair.ok("subscriber wait-sync --timeout 60")?;
    let text = pair.ok("status")?.stdout;
    let line = format!("; runs, pid {}\n", replay.pid());
    assert!(text.contains(&line), "{text}");
    assert!(!text.contains("not at work"), "{text}");
    Ok(())
}

#[test]
fn clocks_that_are_set_back_make_no_age_negative_and_nobody_wait() -> TestResult {
    let mut pair = published()?;
    let ticker = pair.ticker()?;
    let replay = pair.start("replay")?;
    pair.ok("subscriber wait-sync --timeout 60")?;
    // Both would make ticks.
    drop((ticker, replay));
    // What has happened on either side seems to be ahead.
    pair.provider
        .batch_execute("update pgq.tick set tick_time = tick_time + interval '1 day'")?;
    pair.subscriber.batch_execute(
        "update londiste.subscriber_table set state_since = now() + interval '1 day';
         update londiste.completed set last_tick_time = last_tick_time + interval '1 day';
         insert into londiste.job_error (consumer_id, error, first_at, last_at, solved_at)
         values ('replic_copy', 'old', now() + interval '1 day', now() + interval '1 day', null),
                ('replic_copy.x', 'over', now() + interval '1 day', now() + interval '1 day', now() + interval '1 day')",
    )?;
    let shown = status(&pair)?;
    let (provider, subscriber) = (&shown["provider"], &shown["subscriber"]);
    for age in [
        &provider["queue"]["ticker_lag_seconds"],
        &provider["consumer"]["lag_seconds"],
        &subscriber["tables"][0]["state_age_seconds"],
        &subscriber["errors"][0]["since_seconds"],
        &subscriber["errors"][0]["last_seconds"],
        &subscriber["errors"][1]["solved_seconds"],
    ] {
        assert_eq!(age.as_f64(), Some(0.0), "{shown}");
    }
    let text = pair.ok("status")?.stdout;
    assert!(!text.contains(" -0") && !text.contains(" -1"), "{text}");

    // The next tick is due at once, and not in a day.
    pair.provider
        .batch_execute("insert into users values (1, 'x')")?;
    let _ticker = pair.ticker()?;
    let _replay = pair.start("replay")?;
    wait_until("the row", PATIENCE, || {
        value(&mut pair.subscriber, "select exists (select from users)")
    })?;
    let lag = status(&pair)?["provider"]["consumer"]["lag_seconds"].as_f64();
    assert!(lag < Some(60.0), "{lag:?}");
    Ok(())
}

#[test]
fn a_lost_registration_is_a_matter_of_the_replay_that_runs_or_is_to_be_started() -> TestResult {
    let mut pair = published()?;
    let _ticker = pair.ticker()?;
    pair.configure("exception_sleep = 600")?;
    let replay = pair.start("replay")?;
    pair.ok("subscriber wait-sync --timeout 60")?;
    pair.provider
        .batch_execute("select pgq.unregister_consumer('replic', 'replic')")?;
    let advice = |pair: &Pair| -> TestResult<String> {
        let lost = "error: consumer replic is not registered on the queue any more -> ";
        let found = messages(&status(pair)?);
        let line = found.iter().find_map(|line| line.strip_prefix(lost));
        Ok(line.ok_or_else(|| format!("{found:?}"))?.to_owned())
    };
    let running = advice(&pair)?;
    assert!(running.starts_with("replay registers it"), "{running}");
    drop(replay);
    wait_until("replay to be gone", PATIENCE, || {
        Ok(advice(&pair)?.contains("/replic.ini replay -d"))
    })?;
    let _replay = pair.start("replay")?;
    wait_until("the registration", PATIENCE, || {
        Ok(status(&pair)?["problems"] == serde_json::json!([]))
    })
}

#[test]
fn a_side_without_the_schema_is_told_how_to_get_it() -> TestResult {
    let pair = Pair::empty()?;
    let found = messages(&status(&pair)?);
    for (start, end) in [
        (
            "error: schema pgq is missing in provider_db -> ",
            "/replic.ini provider install",
        ),
        (
            "error: schema londiste is missing in subscriber_db -> ",
            "/replic.ini subscriber install",
        ),
    ] {
        assert!(
            found
                .iter()
                .any(|line| line.starts_with(start) && line.ends_with(end)),
            "{found:#?}"
        );
    }
    Ok(())
}
