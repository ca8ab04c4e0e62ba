//! What a mistake gets: an exit code and a message that says what was wrong and where.

use std::fs;
use std::time::Duration;

use e2e::{Replication, contains};
use postgres::NoTls;
use testkit::{Cluster, Shutdown, TestResult, wait_until};

#[test]
fn a_missing_config_or_command_is_named() -> TestResult {
    let it = Replication::prepare()?;
    for (program, command) in [("pgqadm", "status"), ("londiste", "replay")] {
        it.refused(program, "need config file")?;
        it.refused(
            &format!("{program} nowhere.ini {command}"),
            "Config file not found: nowhere.ini",
        )?;
        it.ends(
            &format!("{program} --no-such-option"),
            2,
            "--no-such-option",
        )?;
    }
    it.refused("pgqadm provider_ticker.ini", "need command")?;
    it.refused("londiste replic.ini", "need command")?;
    it.refused("londiste replic.ini provider", "need subcommand")?;
    it.refused("londiste replic.ini provider dance", "bad subcommand")?;
    it.refused(
        "londiste replic.ini subscriber dance",
        "bad subcommand: dance",
    )?;
    it.refused("pgqadm provider_ticker.ini dance", "unknown command")?;
    it.refused(
        "londiste replic.ini dance",
        "Unknown command 'dance', use --help for help",
    )
}

#[test]
fn a_malformed_config_is_reported_with_file_and_line() -> TestResult {
    let it = Replication::prepare()?;
    let write = |name: &str, text: &str| fs::write(it.dir().join(name), text);
    write("bad.ini", "[pgqadm]\ndb = dbname=x\nthis is no setting\n")?;
    it.refused("pgqadm bad.ini status", "bad.ini")?;
    it.refused("pgqadm bad.ini status", "3")?;
    write("section.ini", "[other]\ndb = dbname=x\n")?;
    it.refused("pgqadm section.ini status", "pgqadm")?;
    write("nodb.ini", "[pgqadm]\njob_name = x\n")?;
    it.refused("pgqadm nodb.ini status", "Config value not set: db")?;
    write(
        "noqueue.ini",
        "[londiste]\nprovider_db = dbname=x\nsubscriber_db = dbname=x\n",
    )?;
    it.refused("londiste noqueue.ini provider tables", "pgq_queue_name")?;
    write("number.ini", "[pgqadm]\ndb = dbname=x\nloop_delay = soon\n")?;
    it.refused("pgqadm number.ini status", "loop_delay")?;
    write("variable.ini", "[pgqadm]\ndb = dbname=%(nothing)s\n")?;
    it.refused("pgqadm variable.ini status", "nothing")?;
    write("bad.toml", "[pgqadm]\ndb = \n")?;
    it.refused("pgqadm bad.toml status", "bad.toml")?;
    write("dsn.ini", "[pgqadm]\ndb = dbname=x no_such_parameter=1\n")?;
    it.refused("pgqadm dsn.ini status", "no_such_parameter")
}

#[test]
fn an_unknown_key_is_a_warning_that_names_the_nearest() -> TestResult {
    let it = Replication::prepare()?;
    let path = it.dir().join("provider_ticker.ini");
    let text = fs::read_to_string(&path)?;
    fs::write(&path, format!("{text}loop_dleay = 1\n"))?;
    let output = it.typed("pgqadm provider_ticker.ini install")?;
    assert!(contains(&output.stderr, "loop_dleay"), "{}", output.stderr);
    assert!(contains(&output.stderr, "loop_delay"), "{}", output.stderr);
    Ok(())
}

#[test]
fn an_unknown_queue_or_consumer_is_named() -> TestResult {
    let it = Replication::prepare()?;
    it.typed("pgqadm provider_ticker.ini install")?;
    it.typed("pgqadm provider_ticker.ini create known")?;
    it.refused("pgqadm provider_ticker.ini config nowhere", "nowhere")?;
    it.refused(
        "pgqadm provider_ticker.ini config nowhere ticker_max_lag=1",
        "nowhere",
    )?;
    it.refused("pgqadm provider_ticker.ini drop nowhere", "nowhere")?;
    it.refused("pgqadm provider_ticker.ini register nowhere me", "nowhere")?;
    it.refused(
        "pgqadm provider_ticker.ini unregister known nobody",
        "nobody",
    )?;
    it.refused(
        "pgqadm provider_ticker.ini config known no_such=1",
        "no_such",
    )?;
    it.refused(
        "pgqadm provider_ticker.ini config known ticker_max_lag=soon",
        "soon",
    )?;
    it.refused(
        "pgqadm provider_ticker.ini config known ticker_max_lag",
        "=",
    )?;
    it.typed("pgqadm provider_ticker.ini register known me")?;
    it.refused(
        "pgqadm provider_ticker.ini drop known",
        "consumers still attached",
    )
}

#[test]
fn what_is_not_installed_is_said_to_be_missing() -> TestResult {
    let it = Replication::prepare()?;
    it.refused("pgqadm provider_ticker.ini create q", "pgq")?;
    it.refused("londiste replic.ini provider add users", "")?;
    it.refused("londiste replic.ini subscriber tables", "londiste")
}

#[test]
fn tables_that_cannot_be_replicated_are_refused_and_the_others_added() -> TestResult {
    let it = Replication::prepare()?;
    let (mut provider, mut subscriber) = (it.provider_db()?, it.subscriber_db()?);
    provider.batch_execute(
        "create table good (id int primary key);
         create table keyless (id int);
         create table absent (id int primary key);
         create table columns (id int primary key, a int, b int);
         create table keys (id int primary key, other int not null);
         create view a_view as select 1 as a;",
    )?;
    subscriber.batch_execute(
        "create table good (id int primary key);
         create table keyless (id int);
         create table columns (id int primary key, a int);
         create table keys (id int, other int primary key);
         create table unattached (id int primary key);",
    )?;
    it.typed("pgqadm provider_ticker.ini install")?;
    it.refused("londiste replic.ini provider add nosuch", "")?;
    it.typed("londiste replic.ini provider install")?;
    it.typed("londiste replic.ini subscriber install")?;

    it.refused("londiste replic.ini provider add nosuch", "nosuch")?;
    it.refused("londiste replic.ini provider add a_view", "a_view")?;
    it.refused(
        "londiste replic.ini provider add keyless good absent columns keys",
        "keyless",
    )?;
    let tables = it.typed("londiste replic.ini provider tables")?.stdout;
    let mut tables: Vec<&str> = tables.lines().collect();
    tables.sort_unstable();
    assert_eq!(
        tables,
        [
            "public.absent",
            "public.columns",
            "public.good",
            "public.keys"
        ]
    );

    it.refused(
        "londiste replic.ini subscriber add unattached",
        "unattached",
    )?;
    it.refused("londiste replic.ini subscriber add absent", "absent")?;
    it.refused(
        "londiste replic.ini subscriber add columns",
        "column b on provider not on subscriber",
    )?;
    it.refused("londiste replic.ini subscriber add keys", "pk different")?;
    it.refused(
        "londiste replic.ini subscriber add good --expect-sync --skip-truncate",
        "Too many options",
    )?;
    it.refused("londiste replic.ini subscriber remove nosuch", "nosuch")?;
    it.refused(
        "londiste replic.ini compare good",
        "Table not subscribed: public.good",
    )?;
    it.typed("londiste replic.ini subscriber add good")?;
    Ok(())
}

#[test]
fn a_wrong_password_is_refused_and_never_shown() -> TestResult {
    let it = Replication::prepare()?;
    let cluster = Cluster::builder()
        .tcp()
        .hba("local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
        .start()?;
    cluster
        .connect("postgres")?
        .batch_execute("create role app login password 'right' superuser")?;
    let with = |password: &str| {
        fs::write(
            it.dir().join("secret.ini"),
            format!(
                "[pgqadm]\nlogfile = secret.log\npidfile = secret.pid\n\
                 db = host=127.0.0.1 port={} user=app password={password} dbname=postgres\n",
                cluster.port()
            ),
        )
    };
    with("wrongsecret")?;
    let output = it.program("pgqadm secret.ini install -v").output()?;
    assert_eq!(output.status.code(), Some(1), "{}", output.stderr);
    assert!(
        contains(&output.stderr, "password authentication failed"),
        "{}",
        output.stderr
    );
    let log = fs::read_to_string(it.log("secret.log"))?;
    for text in [&log, &output.stderr, &output.stdout] {
        assert!(!text.contains("wrongsecret"), "{text}");
    }
    with("right")?;
    it.typed("pgqadm secret.ini install")?;
    Ok(())
}

#[test]
fn a_server_that_is_down_fails_commands_and_delays_daemons() -> TestResult {
    let mut it = Replication::prepare()?;
    it.typed("pgqadm provider_ticker.ini install")?;
    it.typed("pgqadm provider_ticker.ini create q")?;
    it.start_ticker()?;
    it.provider.stop(Shutdown::Fast)?;
    for line in [
        "pgqadm provider_ticker.ini status",
        "pgqadm provider_ticker.ini create other",
        "londiste replic.ini provider tables",
        "londiste replic.ini provider install",
    ] {
        it.refused(line, "connect")?;
    }
    it.provider.start_again()?;
    let mut db = it.provider_db()?;
    let mut last_tick = || -> TestResult<i64> {
        Ok(db
            .query_one("select max(tick_id) from pgq.tick", &[])?
            .get(0))
    };
    let before = last_tick()?;
    wait_until(
        "a tick of the ticker that sat it out",
        Duration::from_secs(60),
        || Ok(last_tick()? > before),
    )?;
    Ok(())
}

#[test]
fn a_second_daemon_is_refused_unless_it_is_to_be_ensured() -> TestResult {
    let it = Replication::start("create table t (id int primary key)")?;
    it.refused(
        "pgqadm provider_ticker.ini ticker -d",
        "another process running",
    )?;
    it.refused("londiste replic.ini replay -d", "another process running")?;
    for line in [
        "pgqadm provider_ticker.ini ticker -d --ensure",
        "londiste replic.ini replay -d --ensure",
    ] {
        let output = it.typed(line)?;
        assert_eq!(
            (output.stdout.as_str(), output.stderr.as_str()),
            ("", ""),
            "{line}"
        );
    }
    it.stop()?;
    it.logs_are_clean_but_for(&[])
}

#[test]
fn comparing_a_table_that_is_not_subscribed_is_refused() -> TestResult {
    let it = Replication::start("create table t (id int primary key)")?;
    it.refused("londiste replic.ini compare nosuch", "nosuch")
}

#[test]
fn a_daemon_without_a_pidfile_is_refused() -> TestResult {
    let it = Replication::prepare()?;
    fs::write(
        it.dir().join("nopid.ini"),
        format!("[pgqadm]\ndb = {}\n", it.provider.conninfo("shop")),
    )?;
    it.refused("pgqadm nopid.ini ticker -d", "Daemon needs pidfile")
}

#[test]
fn a_role_without_rights_gets_an_error_and_not_a_panic() -> TestResult {
    let it = Replication::prepare()?;
    it.typed("pgqadm provider_ticker.ini install")?;
    it.provider_db()?
        .batch_execute("create role nobody login")?;
    let conninfo = it
        .provider
        .conninfo("shop")
        .replace("user=postgres", "user=nobody");
    postgres::Client::connect(&conninfo, NoTls)?;
    fs::write(
        it.dir().join("nobody.ini"),
        format!("[pgqadm]\ndb = {conninfo}\npidfile = nobody.pid\n"),
    )?;
    it.refused("pgqadm nobody.ini create q", "permission denied")
}
