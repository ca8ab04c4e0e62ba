//! What a role is told that may do nothing yet: which grants it takes, and those are enough.

use std::time::Duration;

use testkit::{TestResult, wait_until};

use crate::support::{Pair, Run};

const PATIENCE: Duration = Duration::from_secs(60);

/// A configuration with a role that owns nothing and was granted nothing.
fn plain(pair: &Pair) -> TestResult {
    let mut db = pair.cluster.connect("postgres")?;
    db.batch_execute("create role plain login")?;
    configure(pair, "")
}

fn configure(pair: &Pair, lines: &str) -> TestResult {
    let of = |database| {
        let conninfo = pair.cluster.conninfo(database);
        conninfo.replace("user=postgres", "user=plain")
    };
    pair.configure(&format!(
        "provider_db = {}\nsubscriber_db = {}\nexception_sleep = 0.1\n{lines}",
        of("provider"),
        of("subscriber")
    ))
}

/// Does what an error asks for; false if it asks for nothing.
fn obey(pair: &Pair, text: &str) -> TestResult<bool> {
    let Some((before, after)) = text.split_once(" needs: ") else {
        return Ok(false);
    };
    let database = match before.ends_with("the role of subscriber_db") {
        true => "subscriber",
        false => "provider",
    };
    // The cause comes behind them, or stands before them.
    let line = after.lines().next().unwrap_or_default();
    let grants = line.split_once(": ").map_or(line, |(grants, _)| grants);
    let mut db = pair.cluster.connect(database)?;
    for grant in grants.split("; ") {
        let is_grant = grant.starts_with("grant ") && grant.ends_with(" to plain");
        assert!(is_grant || grant == "alter role plain bypassrls", "{grant}");
        db.batch_execute(grant)?;
    }
    Ok(true)
}

/// Runs a command again and again, with the grants that it asks for; returns what it asked for at first.
fn with_grants(pair: &Pair, arguments: &str) -> TestResult<String> {
    let mut first = None;
    for _ in 0..5 {
        let Run { code, log, .. } = pair.run(arguments)?;
        if code == Some(0) {
            return Ok(first.ok_or("it has worked at once")?);
        }
        assert_eq!(code, Some(1), "{log}");
        assert!(
            log.contains("\nSQLSTATE: 42501\n") || arguments.starts_with("replay"),
            "{log}"
        );
        if !obey(pair, &log)? {
            return Err(format!("{arguments}: no grants in {log}").into());
        }
        first.get_or_insert(log);
    }
    Err(format!("{arguments}: there is no end of it").into())
}

fn installed() -> TestResult<Pair> {
    let mut pair = Pair::installed()?;
    pair.provider.batch_execute("create role app")?;
    pair.both(
        "create table users (id int primary key, name text); alter table users owner to app",
    )?;
    Ok(pair)
}

#[test]
fn who_may_not_install_is_told_what_it_takes() -> TestResult {
    let pair = Pair::empty()?;
    plain(&pair)?;
    for (arguments, database) in [
        ("provider install", "provider"),
        ("subscriber install", "subscriber"),
    ] {
        let run = pair.run(arguments)?;
        let expected = format!(
            "ERROR the role of {database}_db needs: grant create on database {database} to plain: "
        );
        assert!(
            run.code == Some(1) && run.log.contains(&expected),
            "{run:?}"
        );
    }
    pair.configure("")?;
    pair.ok("provider install")?;
    configure(&pair, "")?;
    let asked = with_grants(&pair, "provider install")?;
    assert!(asked.contains("needs: grant execute on all functions in schema londiste to plain; grant pgq_admin to plain: "), "{asked}");
    with_grants(&pair, "subscriber install")?;
    Ok(())
}

const FUNCTIONS: &str = "needs: grant execute on all functions in schema londiste to plain";

#[test]
fn who_may_not_add_tables_is_told_what_it_takes() -> TestResult {
    let pair = installed()?;
    plain(&pair)?;
    let asked = with_grants(&pair, "provider add users")?;
    assert!(
        asked.contains(&format!("the role of provider_db {FUNCTIONS}: ")),
        "{asked}"
    );
    let asked = with_grants(&pair, "subscriber add users")?;
    assert!(
        asked.contains(&format!("the role of subscriber_db {FUNCTIONS}: ")),
        "{asked}"
    );
    assert_eq!(pair.ok("subscriber missing")?.stdout, "");
    Ok(())
}

/// Waits for a copy, with the grants that it asks for by the errors that it stores; returns these.
fn copied_with_grants(pair: &mut Pair) -> TestResult<String> {
    let mut asked = String::new();
    wait_until("the copy", PATIENCE, || {
        let errors = "select error from londiste.job_error where solved_at is null";
        for row in pair.subscriber.query(errors, &[])? {
            let error: String = row.get(0);
            obey(pair, &error)?;
            asked += &error;
        }
        let state = "select merge_state is not distinct from 'ok' from londiste.subscriber_table";
        Ok(pair.subscriber.query_one(state, &[])?.get(0))
    })
    .map_err(|error| format!("{error}: {asked}"))?;
    Ok(asked)
}

#[test]
fn who_may_not_replicate_or_compare_is_told_what_it_takes() -> TestResult {
    let mut pair = installed()?;
    pair.both("create index users_name on users (name)")?;
    pair.ok("provider add users")?;
    pair.ok("subscriber add users")?;
    pair.provider
        .batch_execute("insert into users select i, 'x' from generate_series(1, 5000) i")?;
    let _ticker = pair.ticker()?;
    plain(&pair)?;
    let asked = with_grants(&pair, "replay --once")?;
    for needed in [
        FUNCTIONS,
        "; grant select on all tables in schema londiste to plain",
        "; grant select, insert, update, delete, truncate on public.users to plain",
    ] {
        assert!(asked.contains(needed), "{needed} in {asked}");
    }

    let replay = pair.start("replay")?;
    let asked = copied_with_grants(&mut pair)?;
    for needed in [
        "the role of provider_db needs: grant select on public.users to plain: ",
        "the role of subscriber_db needs: grant app to plain",
        match pair.cluster.major() {
            // Everybody may create what they like there.
            14 => "",
            _ => "; grant create on schema public to plain: ",
        },
    ] {
        assert!(asked.contains(needed), "{needed} in {asked}");
    }

    // Afterwards replay need not own the table.
    pair.provider
        .batch_execute("revoke app from plain; insert into users values (0, 'y')")?;
    wait_until("the row", PATIENCE, || {
        let count = "select count(*) = 5001 from users";
        Ok(pair.subscriber.query_one(count, &[])?.get(0))
    })?;
    pair.both("revoke all on users from plain")?;
    let asked = with_grants(&pair, "compare")?;
    let reading = "needs: grant pgq_admin to plain; grant select on public.users to plain: ";
    assert!(asked.contains(reading), "{asked}");
    pair.subscriber
        .batch_execute("delete from users where id = 1")?;
    let asked = with_grants(&pair, "repair --apply")?;
    let writing =
        "the role of subscriber_db needs: grant insert, update, delete on public.users to plain: ";
    assert!(asked.contains(writing), "{asked}");

    // What a policy hides is not left out.
    pair.provider.batch_execute(
        "alter table users enable row level security; alter table users force row level security;
         create policy half on users using (id % 2 = 0)",
    )?;
    let all = "the role of provider_db needs: alter role plain bypassrls: ";
    let asked = with_grants(&pair, "compare")?;
    assert!(asked.contains(all), "{asked}");
    pair.provider
        .batch_execute("alter role plain nobypassrls")?;
    pair.ok("subscriber resync users")?;
    let asked = copied_with_grants(&mut pair)?;
    assert!(asked.contains(all), "{asked}");
    let count = pair
        .subscriber
        .query_one("select count(*) from users", &[])?;
    assert_eq!(count.get::<_, i64>(0), 5001);
    drop(replay);

    // Without the rights of a superuser it can still leave triggers alone, where there is such a grant.
    configure(&pair, "apply_role = replica")?;
    let asked = match pair.cluster.major() {
        14 => pair.run("replay --once")?.log,
        _ => with_grants(&pair, "replay --once")?,
    };
    let expected = match pair.cluster.major() {
        14 => "permission denied to set parameter",
        _ => {
            "the role of subscriber_db needs: grant set on parameter session_replication_role to plain"
        }
    };
    assert!(asked.contains(expected), "{asked}");
    Ok(())
}

#[test]
fn who_may_not_look_is_told_what_it_takes() -> TestResult {
    let pair = installed()?;
    pair.ok("provider add users")?;
    pair.ok("subscriber add users --expect-sync")?;
    plain(&pair)?;
    let Run { stdout, .. } = pair.ok("status")?;
    for needed in [
        "the role of subscriber_db needs: grant execute on function \
         londiste.subscriber_get_queue_valid_pending_fkeys(i_queue_name text) to plain; ",
        "grant select on londiste.job_error to plain",
    ] {
        assert!(stdout.contains(needed), "{needed} in {stdout}");
    }
    assert!(obey(&pair, &stdout)?);
    let Run { stdout, .. } = pair.ok("status")?;
    assert!(
        !stdout.contains("cannot be looked at") && stdout.contains("public.users"),
        "{stdout}"
    );
    for list in ["tables", "fkeys", "triggers"] {
        pair.ok(&format!("subscriber {list}"))?;
    }
    pair.ok("node status")?;
    Ok(())
}

#[test]
fn who_may_not_change_the_cascade_is_told_what_it_takes() -> TestResult {
    let mut pair = installed()?;
    plain(&pair)?;
    let asked = with_grants(&pair, "provider demote --cancel")?;
    assert!(asked.contains("grant pgq_admin to plain"), "{asked}");

    // The node that is turned to is asked for, too.
    pair.configure("")?;
    let ticker = pair.ticker()?;
    pair.ok("replay --once")?;
    drop(ticker);
    configure(&pair, "")?;
    pair.provider.batch_execute(
        "drop owned by plain; revoke pgq_admin from plain; grant connect on database provider to plain",
    )?;
    let socket = pair.cluster.socket_dir();
    let turn = format!(
        "subscriber change-provider postgresql:///provider?host={}&user=plain",
        socket.display()
    );
    let asked = with_grants(&pair, &turn)?;
    assert!(
        asked.contains("the role of subscriber_db needs: grant "),
        "{asked}"
    );
    let run = pair.run(&turn)?;
    assert_eq!(run.code, Some(0), "{run:?}");
    pair.provider.batch_execute("revoke pgq_admin from plain")?;
    let asked = with_grants(&pair, &turn)?;
    assert!(
        asked.contains("the role of DSN needs: grant pgq_admin to plain"),
        "{asked}"
    );
    Ok(())
}
