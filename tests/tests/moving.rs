//! The procedures of docs/moving.md, as they are typed there, with writers that do not notice.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use e2e::{Replication, TIMEOUT};
use testkit::{Cluster, TestResult};

const PAGE: &str = include_str!("../../docs/moving.md");

const SCHEMA: &str = "
    create schema \"Shop\";
    create table users (id serial primary key, name text, changed int not null default 0);
    create table \"Shop\".\"Order\" (id bigserial primary key, \"user\" int not null references users, amount numeric);
    create index on \"Shop\".\"Order\" (\"user\");
    create function audit() returns trigger language plpgsql as $$ begin return new; end $$;
    create trigger audit before update on users for each row execute function audit();
    insert into users (name) select 'user ' || i from generate_series(1, 500) i;
    insert into \"Shop\".\"Order\" (\"user\", amount) select 1 + i % 500, i from generate_series(1, 2000) i;";

/// The commands of ours in the block of the page that begins with a line, without its comments.
fn commands(first: &str) -> TestResult<Vec<&'static str>> {
    let start = PAGE
        .find(&format!("```sh\n{first}"))
        .ok_or_else(|| format!("no block begins with {first}"))?;
    let block = &PAGE[start + 6..];
    let (block, _) = block.split_once("```").ok_or("the block has no end")?;
    Ok(block
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim())
        .collect())
}

/// Types commands one after another.
fn type_all(it: &Replication, lines: &[&str]) -> TestResult {
    for line in lines {
        it.typed(line).map_err(|error| format!("{line}: {error}"))?;
    }
    Ok(())
}

/// An application that changes both tables until it is stopped.
struct Application {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<TestResult<u32>>,
}

impl Application {
    fn start(it: &Replication) -> TestResult<Application> {
        let mut db = it.provider_db()?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || -> TestResult<u32> {
            let mut transactions = 0;
            while !stopped.load(Ordering::Relaxed) {
                db.batch_execute(
                    "begin;
                     insert into \"Shop\".\"Order\" (\"user\", amount) select 1 + random() * 499, random();
                     update users set changed = changed + 1 where id = (1 + random() * 499)::int;
                     delete from \"Shop\".\"Order\" where id = (random() * 2000)::int;
                     commit",
                )?;
                transactions += 1;
            }
            Ok(transactions)
        });
        Ok(Application { stop, thread })
    }

    fn stop(self) -> TestResult<u32> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the application does not panic")
    }
}

/// Waits until no events are pending.
fn wait_for_nothing_pending(it: &Replication) -> TestResult {
    it.wait("nothing to be pending", || {
        let output = it.typed("londiste replic.ini status --json")?;
        let status: serde_json::Value = serde_json::from_str(&output.stdout)?;
        Ok(status["provider"]["consumer"]["pending_events"] == 0
            && status["provider"]["consumer"]["lag_seconds"].as_f64() < Some(5.0))
    })
}

fn assert_same(it: &Replication) -> TestResult {
    assert_eq!(it.same("select * from users order by id")?, 500);
    assert!(it.same("select * from \"Shop\".\"Order\" order by id")? > 1000);
    Ok(())
}

/// Sends the definitions of one database to the other; false if the programs are not there.
fn dump_schema(from: &Cluster, to: &Cluster) -> TestResult<bool> {
    let newer = if from.major() > to.major() { from } else { to };
    let programs = newer.bindir();
    if !programs.join("pg_dump").exists() || !programs.join("psql").exists() {
        return Ok(false);
    }
    let dump = Command::new(programs.join("pg_dump"))
        .args(["--schema-only", "-d", &from.conninfo("shop")])
        .stdout(Stdio::piped())
        .spawn()?;
    let status = Command::new(programs.join("psql"))
        .args([
            "-X",
            "-q",
            "-v",
            "ON_ERROR_STOP=1",
            "-d",
            &to.conninfo("shop"),
        ])
        .stdin(dump.stdout.ok_or("no pipe from pg_dump")?)
        .stdout(Stdio::null())
        .status()?;
    assert!(status.success(), "psql: {status}");
    Ok(true)
}

#[test]
fn a_database_moves_to_another_server_while_it_is_written_to() -> TestResult {
    let it = Replication::prepare()?;
    it.provider_db()?.batch_execute(SCHEMA)?;
    if !dump_schema(&it.provider, &it.subscriber)? {
        return Ok(());
    }
    let application = Application::start(&it)?;
    let link = commands(
        "pgqadm provider_ticker.ini install\npgqadm provider_ticker.ini ticker -d\nlondiste replic.ini provider install\nlondiste replic.ini subscriber install\nlondiste replic.ini replay",
    )?;
    assert_eq!(link.len(), 11);
    type_all(&it, &link)?;
    assert!(application.stop()? > 10, "the application was held up");

    let switch =
        commands("pgqadm provider_ticker.ini tick shop.replic\nlondiste replic.ini status")?;
    assert_eq!((switch.len(), switch[3]), (7, "londiste replic.ini -s"));
    type_all(&it, &switch[..1])?;
    wait_for_nothing_pending(&it)?;
    type_all(&it, &switch[1..4])?;
    it.replay.wait_gone(TIMEOUT)?;
    type_all(&it, &switch[4..])?;
    assert_same(&it)?;

    // The application works on the new side: sequences, keys, triggers and foreign keys are there.
    let mut new = it.subscriber_db()?;
    new.batch_execute("insert into \"Shop\".\"Order\" (\"user\", amount) values (1, 1)")?;
    assert!(
        new.execute(
            "insert into \"Shop\".\"Order\" (\"user\", amount) values (0, 1)",
            &[]
        )
        .is_err(),
        "the foreign key is gone"
    );
    let triggers: i64 = new
        .query_one(
            "select count(*) from pg_trigger where tgname = 'audit'",
            &[],
        )?
        .get(0);
    assert_eq!(triggers, 1);
    Ok(())
}

#[test]
fn londiste_takes_over_from_built_in_replication_without_a_copy() -> TestResult {
    let it = Replication::prepare_logical()?;
    it.provider_db()?.batch_execute(SCHEMA)?;
    let mut new = it.subscriber_db()?;
    new.batch_execute(SCHEMA)?;
    new.batch_execute("truncate users, \"Shop\".\"Order\"")?;
    let mut old = it.provider_db()?;
    old.batch_execute("create publication p for table users, \"Shop\".\"Order\"")?;
    new.batch_execute(&format!(
        "create subscription s connection '{}' publication p",
        it.provider.conninfo("shop")
    ))?;
    it.wait("the tables to be copied", || {
        let row = new.query_one(
            "select bool_and(srsubstate = 'r') from pg_subscription_rel",
            &[],
        )?;
        Ok(row.get(0))
    })?;

    let application = Application::start(&it)?;
    let install = commands(
        "pgqadm provider_ticker.ini install\npgqadm provider_ticker.ini ticker -d\nlondiste replic.ini provider install\nlondiste replic.ini subscriber install\nlondiste replic.ini provider",
    )?;
    assert_eq!(install.len(), 6);
    type_all(&it, &install)?;
    assert!(application.stop()? > 10, "the application was held up");
    it.wait("the subscription to have everything", || {
        let row = old.query_one(
            "select pg_current_wal_lsn() <= replay_lsn from pg_stat_replication where application_name = 's'",
            &[],
        )?;
        Ok(row.get(0))
    })?;
    let over = commands("psql -X -d \"$NEW\" -c 'drop subscription SUBSCRIPTION'")?;
    assert_eq!(over.len(), 5);
    new.batch_execute("drop subscription s")?;
    type_all(&it, &over[1..])?;

    let application = Application::start(&it)?;
    let start = commands("londiste replic.ini replay -d\nlondiste replic.ini compare")?;
    type_all(&it, &start)?;
    assert!(application.stop()? > 0);
    type_all(&it, &["pgqadm provider_ticker.ini tick shop.replic"])?;
    wait_for_nothing_pending(&it)?;
    assert_same(&it)?;
    it.stop()
}

/// PgQ 2.1 and Londiste 2.1, and a trigger that writes events as the one of 2.1 does.
const PGQ2: &str = include_str!("../../crates/pgq/tests/sql/fixtures/version_2.sql");
const LONDISTE2: &str = include_str!("../../crates/londiste/tests/commands/fixtures/version_2.sql");
const LOGTRIGA: &str = "
    create function pgq.logtriga() returns trigger language plpgsql security definer as $$
    declare
        v_new   jsonb := case when tg_op <> 'DELETE' then to_jsonb(new) end;
        v_old   jsonb := case when tg_op <> 'INSERT' then to_jsonb(old) end;
        v_key   text := 'id=' || quote_literal(coalesce(v_old, v_new) ->> 'id');
        v_data  text;
    begin
        if tg_op = 'INSERT' then
            select format('(%s) values (%s)', string_agg(quote_ident(key), ','), string_agg(quote_nullable(value), ','))
              into v_data from jsonb_each_text(v_new);
        elsif tg_op = 'UPDATE' then
            select coalesce(string_agg(quote_ident(key) || '=' || quote_nullable(value), ','), v_key) || ' where ' || v_key
              into v_data from jsonb_each_text(v_new) where value is distinct from v_old ->> key;
        else
            v_data := v_key;
        end if;
        perform pgq.insert_event(tg_argv[0], left(tg_op, 1), v_data, tg_argv[2], null, null, null);
        return null;
    end $$;";

/// Two databases that SkyTools 2.1 replicates between.
const PROVIDER2: &str = "
    select pgq.create_queue('shop.replic');
    select pgq.register_consumer('shop.replic', 'replic');
    create trigger \"shop.replic_logger\" after insert or update or delete on users
        for each row execute function pgq.logtriga('shop.replic', 'kvv', 'public.users');
    create trigger \"shop.replic_logger\" after insert or update or delete on \"Shop\".\"Order\"
        for each row execute function pgq.logtriga('shop.replic', 'kvv', 'Shop.Order');
    insert into londiste.provider_table (queue_name, table_name, trigger_name)
    values ('shop.replic', 'public.users', 'shop.replic_logger'), ('shop.replic', 'Shop.Order', 'shop.replic_logger');
    insert into londiste.provider_seq (queue_name, seq_name)
    values ('shop.replic', 'public.users_id_seq'), ('shop.replic', 'Shop.Order_id_seq');";
const SUBSCRIBER2: &str = "
    drop trigger audit on users;
    insert into londiste.subscriber_pending_triggers (table_name, trigger_name, trigger_def) values ('public.users', 'audit',
        'create trigger audit before update on public.users for each row execute procedure public.audit()');
    insert into londiste.subscriber_table (queue_name, table_name, merge_state)
    values ('shop.replic', 'public.users', 'ok'), ('shop.replic', 'Shop.Order', 'ok');
    insert into londiste.subscriber_seq (queue_name, seq_name)
    values ('shop.replic', 'public.users_id_seq'), ('shop.replic', 'Shop.Order_id_seq');";

#[test]
fn a_replication_of_skytools_2_1_goes_on_where_it_is() -> TestResult {
    let it = Replication::prepare()?;
    let mut old = it.provider_db()?;
    let mut new = it.subscriber_db()?;
    old.batch_execute(&[SCHEMA, PGQ2, LOGTRIGA, LONDISTE2, PROVIDER2].concat())?;
    new.batch_execute(&[SCHEMA, LONDISTE2, SUBSCRIBER2].concat())?;
    let tick: i64 = old
        .query_one("select max(tick_id) from pgq.tick", &[])?
        .get(0);
    new.execute(
        "insert into londiste.completed values ('replic', $1)",
        &[&tick],
    )?;

    // What was written before anything is upgraded has still to be applied.
    let application = Application::start(&it)?;
    it.wait("events of the old trigger", || {
        old.execute("select pgq.ticker('shop.replic')", &[])?;
        let sql = "select count(*) > 20 from pgq.event_template";
        Ok(old.query_one(sql, &[])?.get(0))
    })?;
    let over = commands("londiste.py replic.ini -s")?;
    assert_eq!(over.len(), 6);
    type_all(&it, &over[1..])?;
    type_all(&it, &["pgqadm provider_ticker.ini ticker -d"])?;
    assert!(application.stop()? > 10, "the application was held up");
    type_all(&it, &["pgqadm provider_ticker.ini tick shop.replic"])?;
    wait_for_nothing_pending(&it)?;
    assert_same(&it)?;

    let captures: Vec<String> = old
        .query(
            "select distinct tgname::text from pg_trigger \
             where not tgisinternal and tgname <> 'audit' \
               and tgrelid in ('users'::regclass, '\"Shop\".\"Order\"'::regclass)",
            &[],
        )?
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert_eq!(captures, ["_londiste_shop.replic"]);
    let log = std::fs::read_to_string(it.log("replic.log"))?;
    assert!(!log.contains("Starting full copy"), "{log}");
    // What 2.1 had put aside can be brought back.
    type_all(
        &it,
        &["londiste replic.ini subscriber restore-triggers users audit"],
    )?;
    let sequences = "select last_value from users_id_seq union all select last_value from \"Shop\".\"Order_id_seq\"";
    type_all(&it, &["londiste replic.ini -s"])?;
    it.replay.wait_gone(TIMEOUT)?;
    it.same(sequences)?;
    type_all(&it, &["pgqadm provider_ticker.ini -s"])?;
    it.ticker.wait_gone(TIMEOUT)
}

/// What Debian packages of Londiste 3.
const LONDISTE3: &str = "
    create extension pgq; create extension pgq_node; create extension londiste;
    select pgq_node.register_location('shop.replic', 'root', 'dbname=root', false);
    select pgq_node.create_node('shop.replic', 'root', 'root', 'l3_root', null, null, null);
    select londiste.local_add_table('shop.replic', 'public.users');
    select pgq.register_consumer('shop.replic', '.leaf.watermark');
    select pgq.register_consumer('shop.replic', 'leaf_worker');";

#[test]
fn londiste_takes_over_from_londiste_3() -> TestResult {
    let it = Replication::prepare()?;
    let mut old = it.provider_db()?;
    let mut new = it.subscriber_db()?;
    let offered: bool = old
        .query_one("select count(*) = 2 from pg_available_extensions where name in ('londiste', 'pgq_node')", &[])?
        .get(0);
    if !offered {
        return Ok(());
    }
    old.batch_execute(SCHEMA)?;
    new.batch_execute(SCHEMA)?;
    old.batch_execute(LONDISTE3)?;
    // Nothing is mistaken for ours.
    for line in [
        "londiste replic.ini provider install",
        "londiste replic.ini provider tables",
    ] {
        it.refused(line, "docs/moving.md tells how to take over")?;
    }

    let (_, sql) = PAGE
        .split_once("```sql\nbegin;")
        .ok_or("the page shows no SQL")?;
    let (sql, _) = sql.split_once("```").ok_or("the block has no end")?;
    old.batch_execute(&format!("begin; {sql}"))?;
    let over = commands("pgqadm provider_ticker.ini upgrade --adopt")?;
    assert_eq!(over.len(), 11);
    type_all(&it, &over)?;
    let application = Application::start(&it)?;
    let end = commands("pgqadm provider_ticker.ini unregister")?;
    assert_eq!(end.len(), 4);
    type_all(&it, &end)?;
    assert!(application.stop()? > 0);
    type_all(&it, &["pgqadm provider_ticker.ini tick shop.replic"])?;
    wait_for_nothing_pending(&it)?;
    assert_same(&it)?;
    let consumers: i64 = old
        .query_one("select count(*) from pgq.get_consumer_info()", &[])?
        .get(0);
    assert_eq!(consumers, 1, "only ours is left");
    it.stop()
}
