//! The first session of the README, word for word, with real daemons in an empty directory.

use std::fs;
use std::time::Duration;

use e2e::{Replication, TIMEOUT};
use testkit::TestResult;

const README: &str = include_str!("../../README.md");

const SESSION: [&str; 7] = [
    "pgqadm provider_ticker.ini install",
    "pgqadm provider_ticker.ini ticker -d",
    "londiste replic.ini provider install",
    "londiste replic.ini subscriber install",
    "londiste replic.ini replay -d",
    "londiste replic.ini provider add users orders",
    "londiste replic.ini subscriber add users",
];

/// The ini file of this name as the README shows it, for our servers.
fn ini_of_readme(name: &str, it: &Replication) -> TestResult<String> {
    let (_, text) = README
        .split_once(&format!("```ini\n# {name}\n"))
        .ok_or_else(|| format!("the README shows no {name}"))?;
    let (text, _) = text.split_once("```").ok_or("the block has no end")?;
    let mut lines = Vec::new();
    for line in text.lines() {
        lines.push(match line.split_once(" = ") {
            Some((key @ ("db" | "provider_db"), _)) => {
                format!("{key} = {}", it.provider.conninfo("shop"))
            }
            Some(("subscriber_db", _)) => {
                format!("subscriber_db = {}", it.subscriber.conninfo("shop"))
            }
            _ => line.to_owned(),
        });
    }
    Ok(lines.join("\n"))
}

#[test]
fn the_first_session_of_the_readme_replicates() -> TestResult {
    let it = Replication::prepare()?;
    for name in ["provider_ticker.ini", "replic.ini"] {
        fs::write(it.dir().join(name), ini_of_readme(name, &it)?)?;
    }
    let tables = "create table users (id serial primary key, name text);
                  create table orders (id serial primary key, \"user\" int references users);";
    let mut provider = it.provider_db()?;
    let mut subscriber = it.subscriber_db()?;
    provider.batch_execute(tables)?;
    subscriber.batch_execute(tables)?;
    provider.batch_execute("insert into users (name) values ('Ann'), (null), ('O''Neill \\ 3')")?;

    assert!(
        README.contains(&SESSION.join("\n")),
        "the README shows another session"
    );
    for line in SESSION {
        it.typed(line).map_err(|error| format!("{line}: {error}"))?;
    }
    let started = it.ticker.wait_alive(Duration::from_secs(5))?;
    let replay = it.replay.wait_alive(Duration::from_secs(5))?;

    it.wait_synced()?;
    assert_eq!(it.same("select * from users order by id")?, 3);

    provider.batch_execute(
        "insert into users (name) values ('Bea'), ('temporary');
         update users set name = 'ann' where id = 1;
         delete from users where name = 'temporary';
         insert into orders (\"user\") values (1);
         insert into users (id, name) values (100, 'last');",
    )?;
    it.wait("the last row to arrive", || {
        Ok(subscriber
            .query_opt("select from users where id = 100", &[])?
            .is_some())
    })?;
    assert_eq!(it.same("select * from users order by id")?, 5);
    let orders: i64 = subscriber
        .query_one("select count(*) from orders", &[])?
        .get(0);
    assert_eq!(orders, 0, "orders is not subscribed");

    assert_eq!(it.ticker.pid(), Some(started), "the ticker ran through");
    assert_eq!(it.replay.pid(), Some(replay), "replay ran through");
    it.stop()?;
    for file in ["provider_ticker.pid", "replic.pid", "replic.pid.copy"] {
        assert!(!it.dir().join(file).exists(), "{file} is left");
    }
    it.wait("the copy's consumer to be gone", || {
        let row = provider.query_one("select count(*) from pgq.get_consumer_info()", &[])?;
        Ok(row.get::<_, i64>(0) == 1)
    })?;
    it.logs_are_clean_but_for(&[])
}

#[test]
fn a_stopped_and_started_session_goes_on_where_it_was() -> TestResult {
    let it = Replication::start("create table users (id int primary key, name text)")?;
    it.typed("londiste replic.ini provider add users")?;
    it.typed("londiste replic.ini subscriber add users")?;
    it.wait_synced()?;
    it.stop()?;
    let mut provider = it.provider_db()?;
    provider.batch_execute(
        "insert into users select i, 'while stopped' from generate_series(1, 10) i",
    )?;
    it.start_ticker()?;
    it.start_replay()?;
    it.wait_caught_up(
        "insert into users values (11, 'after')",
        "select from users where id = 11",
    )?;
    assert_eq!(it.same("select * from users order by id")?, 11);
    it.replay.wait_alive(TIMEOUT)?;
    it.stop()?;
    it.logs_are_clean_but_for(&[])
}
