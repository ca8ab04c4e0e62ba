//! Finding a server and getting in, as libpq does.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use postgres::error::SqlState;
use skytools::conninfo::{ConnInfo, Environment};
use skytools::db::{Connection, Database, DbError};
use testkit::{Cluster, Shutdown, TestResult};
use tracing_subscriber::layer::SubscriberExt;

fn environment() -> Environment {
    Environment::empty().with_user("postgres")
}

fn open(text: &str, environment: Environment) -> Result<Connection, DbError> {
    let conninfo = ConnInfo::parse(text).expect(text);
    Connection::open("test_db", &conninfo.with_environment(environment))
}

fn refused(text: &str, environment: Environment) -> DbError {
    match open(text, environment) {
        Ok(_) => panic!("connected with {text:?}"),
        Err(error) => error,
    }
}

fn one(db: &mut Connection, sql: &str) -> String {
    db.query_typed_one(sql, &[]).expect(sql).get(0)
}

fn setting(db: &mut Connection, name: &str) -> String {
    one(db, &format!("select current_setting('{name}')"))
}

/// A cluster on TCP where `postgres` is trusted on the socket and `alice` needs her password.
fn cluster_with_passwords() -> TestResult<Cluster> {
    let cluster = Cluster::builder()
        .tcp()
        .hba("local all postgres trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
        .start()?;
    cluster
        .connect("postgres")?
        .batch_execute("create role alice login password 'se:cr\\et'")?;
    Ok(cluster)
}

fn free_port() -> TestResult<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn private_file(path: &Path, text: &str) -> TestResult {
    fs::write(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(())
}

#[test]
fn without_a_host_the_socket_directories_are_tried() -> TestResult {
    let cluster = Cluster::start()?;
    let sockets = cluster.socket_dir();
    let nowhere = tempfile::tempdir()?;
    let here = environment().with_socket_directories(&[nowhere.path(), &sockets]);
    let mut db = open("dbname=postgres", here.clone())?;
    assert_eq!(
        setting(&mut db, "unix_socket_directories"),
        sockets.display().to_string()
    );
    // The database is named after the user, and empty values are absent ones.
    let mut db = open("host='' dbname='' port=", here)?;
    assert_eq!(one(&mut db, "select current_database()::text"), "postgres");
    Ok(())
}

#[test]
fn the_string_beats_the_service_which_beats_the_environment() -> TestResult {
    let cluster = Cluster::start()?;
    for name in ["of_string", "of_service", "of_environment"] {
        cluster.create_database(name)?;
    }
    let home = tempfile::tempdir()?;
    fs::write(
        home.path().join(".pg_service.conf"),
        "# mine\n[mine]\ndbname=of_service\noptions=-c statement_timeout=1234\n[other]\nport=1\n",
    )?;
    let here = environment()
        .with_home(home.path())
        .with_variable("PGHOST", &cluster.socket_dir().display().to_string())
        .with_variable("PGPORT", "")
        .with_variable("PGDATABASE", "of_environment")
        .with_variable("PGAPPNAME", "named by environment");
    let database = |db: &mut Connection| one(db, "select current_database()::text");

    let mut db = open("", here.clone())?;
    assert_eq!(database(&mut db), "of_environment");
    assert_eq!(setting(&mut db, "application_name"), "named by environment");
    let mut db = open("service=mine", here.clone())?;
    assert_eq!(database(&mut db), "of_service");
    assert_eq!(setting(&mut db, "statement_timeout"), "1234ms");
    let mut db = open("", here.clone().with_variable("PGSERVICE", "mine"))?;
    assert_eq!(database(&mut db), "of_service");
    let mut db = open("service=mine dbname=of_string", here.clone())?;
    assert_eq!(database(&mut db), "of_string");
    let mut db = open("postgresql:///of_string?service=mine", here.clone())?;
    assert_eq!(database(&mut db), "of_string");

    // A system-wide file serves where the user's does not.
    let system = tempfile::tempdir()?;
    fs::write(
        system.path().join("pg_service.conf"),
        "[theirs]\ndbname=of_service\n",
    )?;
    let with_system = here
        .clone()
        .with_variable("PGSYSCONFDIR", &system.path().display().to_string());
    let mut db = open("service=theirs", with_system.clone())?;
    assert_eq!(database(&mut db), "of_service");

    let error = refused("service=nobodys", with_system).reason();
    assert!(
        error.starts_with("service \"nobodys\" is not defined in "),
        "{error}"
    );
    assert!(
        error.contains("/.pg_service.conf, ") && error.contains("/pg_service.conf"),
        "{error}"
    );
    let error = refused("service=x", here.with_variable("PGSERVICEFILE", "/nowhere")).reason();
    assert!(error.starts_with("service file /nowhere: "), "{error}");
    Ok(())
}

#[test]
fn wrong_values_of_the_environment_name_the_variable() {
    for (variable, value) in [
        ("PGPORT", "x"),
        ("PGSSLMODE", "on"),
        ("PGREQUIREPEER", "root"),
    ] {
        let error = refused(
            "host=/nowhere",
            environment().with_variable(variable, value),
        );
        assert!(error.reason().contains(variable), "{}", error.reason());
    }
    let error = refused("host=/nowhere", Environment::empty());
    assert!(error.reason().contains("user name"), "{}", error.reason());
}

#[test]
fn the_application_name_is_the_jobs_unless_somebody_says_otherwise() -> TestResult {
    let cluster = Cluster::start()?;
    let base = cluster.conninfo("postgres");
    for (extra, variable, expected) in [
        ("", None, "job"),
        (" fallback_application_name=fallback", None, "fallback"),
        ("", Some("environment"), "environment"),
        (" application_name=string", Some("environment"), "string"),
    ] {
        let mut here = environment();
        if let Some(value) = variable {
            here = here.with_variable("PGAPPNAME", value);
        }
        let conninfo = ConnInfo::parse(&format!("{base}{extra}"))?
            .with_application_name("job")
            .with_environment(here);
        let mut db = Connection::open("test_db", &conninfo)?;
        assert_eq!(setting(&mut db, "application_name"), expected);
    }
    Ok(())
}

#[test]
fn dates_come_in_iso_form_whatever_the_server_prefers() -> TestResult {
    let cluster = Cluster::builder()
        .setting("datestyle", "German, DMY")
        .start()?;
    let mut db = open(&cluster.conninfo("postgres"), environment())?;
    assert_eq!(
        one(&mut db, "select timestamp '2005-12-31 23:59'::text"),
        "2005-12-31 23:59:00"
    );
    assert_eq!(
        db.server_version() / 10_000,
        i32::try_from(cluster.major())?
    );
    assert_eq!(db.name(), "test_db");
    Ok(())
}

#[test]
fn passwords_come_from_the_string_the_environment_or_the_file() -> TestResult {
    let cluster = cluster_with_passwords()?;
    let port = cluster.port();
    let base = format!("host=127.0.0.1 port={port} user=alice dbname=postgres");
    open(&format!(r"{base} password='se:cr\\et'"), environment())?;
    open(
        &base,
        environment().with_variable("PGPASSWORD", "se:cr\\et"),
    )?;
    open(
        &format!("postgresql://alice:se%3Acr%5Cet@127.0.0.1:{port}/postgres"),
        environment(),
    )?;

    let home = tempfile::tempdir()?;
    let passfile = home.path().join(".pgpass");
    private_file(
        &passfile,
        &format!("other:*:*:*:wrong\n127.0.0.1:{port}:*:alice:se\\:cr\\\\et\n*:*:*:*:wrong\n"),
    )?;
    open(&base, environment().with_home(home.path()))?;
    let named = passfile.display().to_string();
    open(&base, environment().with_variable("PGPASSFILE", &named))?;
    open(&format!("{base} passfile={named}"), environment())?;

    // One that others can read is as good as none.
    fs::set_permissions(&passfile, fs::Permissions::from_mode(0o644))?;
    let error = refused(&base, environment().with_home(home.path()));
    assert!(
        error.reason().contains("password missing"),
        "{}",
        error.reason()
    );
    Ok(())
}

#[test]
fn a_socket_in_an_unusual_directory_is_looked_up_by_its_path() -> TestResult {
    let cluster = Cluster::builder()
        .hba("local all postgres trust\nlocal all all scram-sha-256\n")
        .start()?;
    cluster
        .connect("postgres")?
        .batch_execute("create role alice login password 'secret'")?;
    let sockets = cluster.socket_dir();
    let home = tempfile::tempdir()?;
    let here = environment().with_home(home.path());
    let base = format!("host={} user=alice dbname=postgres", sockets.display());
    private_file(&home.path().join(".pgpass"), "localhost:*:*:alice:secret\n")?;
    assert!(open(&base, here.clone()).is_err());
    // In the default directory it is called localhost.
    open(&base, here.clone().with_socket_directories(&[&sockets]))?;
    private_file(
        &home.path().join(".pgpass"),
        &format!("{}:5432:postgres:alice:secret\n", sockets.display()),
    )?;
    open(&base, here)?;
    Ok(())
}

#[test]
fn a_wrong_password_is_told_without_showing_it() -> TestResult {
    let cluster = cluster_with_passwords()?;
    let port = cluster.port();
    let error = refused(
        &format!(
            "host=127.0.0.1,127.0.0.1 port={port} user=alice dbname=postgres password=hunter2"
        ),
        environment(),
    );
    assert_eq!(error.sql_state(), Some(&SqlState::INVALID_PASSWORD));
    assert_eq!(error.connection(), Some("test_db"));
    assert_eq!(error.to_string(), "cannot connect to test_db");
    assert_eq!(
        error.reason(),
        format!(
            "connection to server at \"127.0.0.1\", port {port} failed: \
             FATAL: password authentication failed for user \"alice\""
        ),
        "as with libpq, the second host is not tried"
    );
    assert!(!format!("{error:?} {error}").contains("hunter2"));
    Ok(())
}

#[test]
fn a_dead_first_host_is_passed_over_with_each_hosts_own_password() -> TestResult {
    let cluster = cluster_with_passwords()?;
    let (dead, alive) = (free_port()?, cluster.port());
    let home = tempfile::tempdir()?;
    private_file(
        &home.path().join(".pgpass"),
        &format!("*:{dead}:*:*:wrong\n*:{alive}:*:*:se\\:cr\\\\et\n"),
    )?;
    let here = environment().with_home(home.path());
    for hosts in [
        format!("host=127.0.0.1,localhost port={dead},{alive}"),
        format!("hostaddr=127.0.0.1,127.0.0.1 port={dead},{alive}"),
        format!("host=/nowhere,127.0.0.1 port={alive}"),
        format!("host=no-such-host.invalid,127.0.0.1 port={alive}"),
        format!("host=127.0.0.1,localhost port={dead},{alive} load_balance_hosts=random"),
    ] {
        let mut db = open(&format!("{hosts} user=alice dbname=postgres"), here.clone())?;
        assert_eq!(
            one(&mut db, "select current_user::text"),
            "alice",
            "{hosts}"
        );
    }
    open(
        &format!("postgresql://alice@127.0.0.1:{dead},localhost:{alive}/postgres"),
        here.clone(),
    )?;

    let error = refused(
        &format!("host=127.0.0.1,/nowhere port={dead}"),
        here.clone(),
    );
    let reason = error.reason();
    assert!(
        reason.contains("Connection refused") && reason.contains("/nowhere/.s.PGSQL."),
        "all attempts are told: {reason}"
    );
    assert!(error.is_connection_lost());
    assert_eq!(error.sql_state(), None);
    let error = refused("host=a,b,c port=1,2", here.clone()).reason();
    assert_eq!(
        error,
        "connection option \"port\" has 2 elements for 3 hosts"
    );
    let error = refused("host=a,b hostaddr=127.0.0.1", here).reason();
    assert_eq!(
        error,
        "connection option \"hostaddr\" has 1 elements for 2 hosts"
    );
    Ok(())
}

/// It accepts, and then says nothing: the driver's own timeout ends with the accepting.
#[test]
fn a_server_that_hangs_runs_into_the_timeout() -> TestResult {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    let sockets = tempfile::tempdir()?;
    let _local = UnixListener::bind(sockets.path().join(".s.PGSQL.5432"))?;
    for host in [
        format!("host=127.0.0.1 port={port} sslmode=disable"),
        format!("host=127.0.0.1 port={port} sslmode=require"),
        format!("host={}", sockets.path().display()),
    ] {
        let start = Instant::now();
        let error = refused(&format!("{host} connect_timeout=1"), environment());
        assert!(
            error.reason().contains("timeout expired after 2 s"),
            "{}",
            error.reason()
        );
        assert!(error.is_connection_lost());
        assert!(start.elapsed() < Duration::from_secs(30));
    }
    Ok(())
}

#[test]
fn a_hanging_first_host_is_passed_over() -> TestResult {
    let cluster = Cluster::builder().tcp().start()?;
    let hanging = TcpListener::bind("127.0.0.1:0")?;
    let ports = format!("{},{}", hanging.local_addr()?.port(), cluster.port());
    open(
        &format!("host=127.0.0.1,127.0.0.1 port={ports} connect_timeout=2 dbname=postgres"),
        environment(),
    )?;
    Ok(())
}

#[test]
fn the_kind_of_server_can_be_chosen() -> TestResult {
    let primary = Cluster::builder().tcp().start()?;
    // Nothing to follow, but in recovery for ever: a standby to all who ask.
    let mut standby = Cluster::builder().tcp().start()?;
    standby.stop(Shutdown::Fast)?;
    fs::write(standby.data_dir().join("standby.signal"), "")?;
    standby.start_again()?;
    let both = format!(
        "host=127.0.0.1,127.0.0.1 port={},{} dbname=postgres",
        primary.port(),
        standby.port()
    );
    let only =
        |cluster: &Cluster| format!("host=127.0.0.1 port={} dbname=postgres", cluster.port());
    for (wanted, port) in [
        ("any", primary.port()),
        ("primary", primary.port()),
        ("read-write", primary.port()),
        ("standby", standby.port()),
        ("read-only", standby.port()),
        ("prefer-standby", standby.port()),
    ] {
        let mut db = open(
            &format!("{both} target_session_attrs={wanted}"),
            environment(),
        )?;
        assert_eq!(setting(&mut db, "port"), port.to_string(), "{wanted}");
    }
    open(
        &format!("{} target_session_attrs=prefer-standby", only(&primary)),
        environment(),
    )?;
    for (cluster, wanted, reason) in [
        (&primary, "standby", "server is not in hot standby mode"),
        (&primary, "read-only", "session is not read-only"),
        (&standby, "primary", "server is in hot standby mode"),
        (&standby, "read-write", "session is read-only"),
    ] {
        let text = format!("{} target_session_attrs={wanted}", only(cluster));
        let error = refused(&text, environment()).reason();
        assert!(error.ends_with(reason), "{error}");
    }
    Ok(())
}

#[test]
fn what_the_server_refuses_has_its_code() -> TestResult {
    let cluster = Cluster::start()?;
    let error = refused(&cluster.conninfo("nosuch"), environment());
    assert_eq!(error.sql_state(), Some(&SqlState::UNDEFINED_DATABASE));
    assert!(
        error
            .reason()
            .contains("database \"nosuch\" does not exist"),
        "{}",
        error.reason()
    );
    Ok(())
}

/// Collects what is logged, a line per event.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Log {
    fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        let mut line = event.metadata().level().to_string();
        event.record(
            &mut |field: &tracing::field::Field, value: &dyn std::fmt::Debug| {
                line.push_str(&format!(" {field}={value:?}"));
            },
        );
        self.0.lock().expect("not poisoned").push(line);
    }
}

#[test]
fn the_log_shows_the_connect_string_without_its_password_and_notices() -> TestResult {
    let cluster = Cluster::start()?;
    let log = Log::default();
    let subscriber = tracing_subscriber::registry().with(log.clone());
    let text = format!("{} password='hunter 2'", cluster.conninfo("postgres"));
    tracing::subscriber::with_default(subscriber, || -> TestResult {
        let mut db = open(&text, environment())?;
        db.batch_execute("do 'begin raise notice ''mind the gap''; end'")?;
        Ok(())
    })?;
    let log = log.0.lock().expect("not poisoned").clone();
    let shown = format!(
        "DEBUG message=Connect 'test_db' to '{} password=[...]'",
        cluster.conninfo("postgres")
    );
    assert!(log.contains(&shown), "{log:?}");
    assert!(
        log.iter()
            .any(|line| line.starts_with("DEBUG") && line.contains("mind the gap")),
        "{log:?}"
    );
    assert!(!log.iter().any(|line| line.contains("hunter")), "{log:?}");
    Ok(())
}

#[test]
fn a_database_connects_again_when_it_must() -> TestResult {
    let mut cluster = Cluster::start()?;
    cluster.create_database("other")?;
    let conninfo = |dbname: &str| {
        ConnInfo::parse(&cluster.conninfo(dbname)).map(|c| c.with_environment(environment()))
    };
    let (first, other) = (conninfo("postgres")?, conninfo("other")?);
    let mut database = Database::new("test_db", first.clone(), Duration::ZERO);
    assert!(!database.is_open());
    let pid = |database: &mut Database| -> TestResult<String> {
        Ok(one(database.connection()?, "select pg_backend_pid()::text"))
    };
    let before = pid(&mut database)?;
    assert!(database.is_open());
    assert_eq!(pid(&mut database)?, before, "a connection is kept");
    database.expire();
    database.set_conninfo(first);
    assert_eq!(pid(&mut database)?, before, "no lifetime, no change");
    database.set_conninfo(other);
    assert!(!database.is_open());
    assert_eq!(
        one(database.connection()?, "select current_database()::text"),
        "other"
    );
    database.reset();
    assert!(!database.is_open());

    database.connection()?;
    cluster.restart(Shutdown::Fast)?;
    let error = database
        .connection()?
        .query_typed_one("select 1", &[])
        .expect_err("the server has gone");
    let error = skytools::db::During::<()>::during(Err(error), "ask").expect_err("an error");
    assert!(error.is_connection_lost(), "{error:?}");
    assert!(!database.is_open());
    pid(&mut database)?;

    let conninfo = ConnInfo::parse(&cluster.conninfo("postgres"))?;
    let mut database = Database::new("test_db", conninfo, Duration::from_nanos(1));
    let before = pid(&mut database)?;
    assert_eq!(
        pid(&mut database)?,
        before,
        "the lifetime counts between passes only"
    );
    database.expire();
    assert_ne!(pid(&mut database)?, before);
    Ok(())
}
