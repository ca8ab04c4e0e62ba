//! Looking after tables that are registered: `refresh`, `check`, foreign keys, triggers, waiting.

use testkit::TestResult;

use crate::support::{Pair, value};

/// `users` and `orders`, which refers to it, with a trigger each on the subscriber; both published.
fn published() -> TestResult<Pair> {
    let mut pair = Pair::installed()?;
    pair.both(
        "create table users (id int primary key, name text);
         create table orders (id int primary key, who int references users);",
    )?;
    pair.subscriber.batch_execute(
        "create function f() returns trigger as 'begin return null; end' language plpgsql;
         create trigger g after insert on users for each row execute function f();
         create trigger h after insert on users for each row execute function f();",
    )?;
    pair.ok("provider add users orders")?;
    Ok(pair)
}

#[test]
fn check_names_what_is_not_captured_and_refresh_mends_it() -> TestResult {
    let mut pair = Pair::installed()?;
    let names = [
        "gone", "dropped", "off", "changed", "old", "keyless", "good",
    ];
    for name in names {
        pair.both(&format!("create table {name} (id int primary key, a int)"))?;
    }
    pair.ok("provider add gone dropped off changed keyless")?;
    pair.ok("provider add good --truncate --capture statement")?;
    assert_eq!(pair.ok("provider check")?.stdout, "");
    pair.provider.batch_execute(
        "insert into londiste.provider_table (queue_name, table_name, trigger_name)
         values ('replic', 'public.old', 'replic_logger');
         create trigger replic_logger after insert or update or delete on old
            for each row execute function pgq.logtriga('replic', 'kv', 'public.old')",
    )?;
    assert_eq!(pair.ok("provider check")?.stdout, "");

    pair.provider.batch_execute(
        "drop table gone;
         drop trigger _londiste_replic on dropped;
         alter table off disable trigger _londiste_replic;
         alter table changed add g int generated always as (a) stored;
         alter table old add b int;
         alter table keyless drop constraint keyless_pkey",
    )?;
    let run = pair.run("provider check")?;
    assert_eq!(run.code, Some(3));
    let found = "\
        public.gone: missing: the table does not exist\n\
        public.dropped: missing: trigger _londiste_replic does not exist\n\
        public.off: disabled: trigger _londiste_replic is disabled\n\
        public.changed: stale: trigger _londiste_replic was made for other columns, another key or another table\n\
        public.keyless: no key: the table has no primary key any more\n\
        public.old: stale: trigger replic_logger was made for columns kv, the table has kvv\n";
    assert_eq!(run.stdout, found);
    let run = pair.run("provider check --json")?;
    assert_eq!(run.code, Some(3));
    assert!(
        run.stdout.contains("\"problem\": \"stale\""),
        "{}",
        run.stdout
    );

    let run = pair.run("provider check --set pgq_queue_name=nosuch")?;
    assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""), "{run:?}");

    let run = pair.run("provider refresh --all")?;
    assert_eq!(run.code, Some(1));
    assert!(
        run.log.contains("INFO Refreshing public.old\n"),
        "{}",
        run.log
    );
    assert!(
        run.log.contains(
            "ERROR public.keyless: cannot refresh the capture: ERROR: need key column\n\
             DETAIL: Table public.keyless has no primary key any more.\n"
        ),
        "{}",
        run.log
    );
    assert!(
        run.log.contains("table not found: public.gone"),
        "{}",
        run.log
    );
    pair.provider
        .batch_execute("alter table keyless add primary key (a)")?;
    pair.ok("provider remove gone")?;
    pair.ok("provider refresh keyless o*")?;
    assert_eq!(pair.ok("provider check")?.stdout, "");
    let run = pair.run("provider refresh absent")?;
    assert_eq!(run.code, Some(1));
    assert_eq!(run.log, "WARNING Table public.absent is not registered\n");
    Ok(())
}

#[test]
fn a_slow_capture_is_stale() -> TestResult {
    let mut pair = Pair::installed()?;
    pair.both("create table t (id int primary key)")?;
    for kind in ["row", "statement", "generic"] {
        pair.ok(&format!("provider add t --capture {kind}"))?;
        pair.provider.batch_execute("alter table t add a int")?;
        let run = pair.run("provider check")?;
        assert_eq!(run.code, Some(3), "{kind}");
        assert!(
            run.stdout.contains("captures in the slow way"),
            "{}",
            run.stdout
        );
        pair.ok("provider refresh t")?;
        assert_eq!(pair.ok("provider check")?.stdout, "");
        pair.ok("provider remove t")?;
        pair.provider.batch_execute("alter table t drop a")?;
    }
    Ok(())
}

#[test]
fn subscriber_check_compares_all_that_is_published() -> TestResult {
    let mut pair = published()?;
    let run = pair.ok("subscriber check")?;
    assert_eq!(
        run.log,
        "INFO Checking public.users\nINFO Checking public.orders\n"
    );
    pair.provider.batch_execute("alter table users add a int")?;
    pair.subscriber.batch_execute("drop table orders")?;
    let run = pair.run("subscriber check")?;
    assert_eq!(run.code, Some(3));
    assert_eq!(
        run.log,
        "INFO Checking public.users\n\
         WARNING table public.users structure is not same (kvv/kv), trying to continue\n\
         ERROR public.users: column a on provider not on subscriber\n\
         INFO Checking public.orders\n\
         ERROR Table public.orders missing from subscriber side\n"
    );
    let run = pair.run("subscriber check --json")?;
    assert_eq!(run.code, Some(3));
    let found: serde_json::Value = serde_json::from_str(&run.stdout)?;
    let errors: Vec<&str> = (found.as_array().ok_or("no list")?.iter())
        .filter(|finding| finding["severity"] == "error")
        .filter_map(|finding| finding["table"].as_str())
        .collect();
    assert_eq!(errors, ["public.users", "public.orders"], "{found}");
    Ok(())
}

#[test]
fn tables_published_with_another_key_or_none_need_what_fits_it() -> TestResult {
    let mut pair = Pair::installed()?;
    pair.both(
        "create table log (a int);
         create table keyed (id int not null, v int)",
    )?;
    pair.provider
        .batch_execute("create unique index by_id on keyed (id)")?;
    pair.ok("provider add log --insert-only")?;
    pair.ok("provider add keyed --key-index by_id")?;
    let run = pair.run("subscriber add log keyed")?;
    assert_eq!(run.code, Some(1));
    assert!(
        run.log.contains(
            "ERROR subscriber table public.keyed has no unique index on the key of provider (id)\n"
        ),
        "{}",
        run.log
    );
    pair.subscriber
        .batch_execute("create unique index other_name on keyed (id)")?;
    pair.ok("subscriber add log keyed")?;
    Ok(())
}

#[test]
fn foreign_keys_are_listed_in_place_and_put_aside() -> TestResult {
    let mut pair = published()?;
    let run = pair.ok("subscriber fkeys")?;
    assert_eq!(
        (run.stdout.as_str(), run.log.as_str()),
        ("", "INFO No tables, no fkeys\n")
    );

    pair.ok("subscriber add users orders --expect-sync")?;
    let active = "active fkeys\n\
        from_table       to_table         fkey_name        fkey_def\n\
        ---------------  ---------------  ---------------  ---------------\n\
        public.orders    public.users     orders_who_fkey  alter table only public.orders add constraint \
        orders_who_fkey FOREIGN KEY (who) REFERENCES public.users(id)\n\n\n";
    assert_eq!(pair.ok("subscriber fkeys")?.stdout, active);
    assert_eq!(pair.ok("subscriber fkeys active")?.stdout, active);
    assert_eq!(pair.ok("subscriber fkeys pending")?.stdout, "");

    pair.subscriber.batch_execute(
        "select londiste.subscriber_drop_table_fkey('public.orders', 'orders_who_fkey')",
    )?;
    let pending = active.replace("active fkeys", "pending fkeys");
    assert_eq!(pair.ok("subscriber fkeys")?.stdout, pending);
    let json = pair.ok("subscriber fkeys --json")?.stdout;
    assert!(
        json.contains("\"fkey_name\": \"orders_who_fkey\""),
        "{json}"
    );
    assert_eq!(pair.run("subscriber fkeys lost")?.code, Some(2));
    Ok(())
}

#[test]
fn triggers_are_listed_and_restored_by_name_or_all() -> TestResult {
    let pair = published()?;
    pair.ok("subscriber add users orders")?;
    assert_eq!(
        pair.ok("subscriber triggers pending")?.stdout,
        "pending triggers\n\
         table_name       trigger_name     trigger_def\n\
         ---------------  ---------------  ---------------\n\
         public.users     g                CREATE TRIGGER g AFTER INSERT ON public.users FOR EACH ROW EXECUTE \
         FUNCTION public.f()\n\
         public.users     h                CREATE TRIGGER h AFTER INSERT ON public.users FOR EACH ROW EXECUTE \
         FUNCTION public.f()\n\n\n"
    );
    assert_eq!(pair.ok("subscriber triggers active")?.stdout, "");

    pair.ok("subscriber restore-triggers users g")?;
    let run = pair.run("subscriber restore-triggers users x g")?;
    assert_eq!(run.code, Some(1), "there is no x");
    assert_eq!(
        run.log,
        "INFO Trigger x not found on public.users\n\
         INFO Trigger g on public.users is already active.\n"
    );
    pair.ok("subscriber restore-triggers users")?;
    let run = pair.ok("subscriber restore-triggers users")?;
    assert_eq!(
        run.log,
        "INFO No pending triggers found for public.users.\n"
    );
    assert_eq!(pair.ok("subscriber triggers pending")?.stdout, "");
    assert!(
        pair.ok("subscriber triggers")?
            .stdout
            .starts_with("active triggers\n")
    );

    let run = pair.run("subscriber restore-triggers absent")?;
    assert_eq!(run.code, Some(1));
    assert_eq!(
        run.log,
        "ERROR Table public.absent is not in the subscriber queue.\n"
    );
    assert_eq!(pair.run("subscriber restore-triggers")?.code, Some(1));
    Ok(())
}

#[test]
fn wait_sync_ends_when_the_tables_are_in_sync() -> TestResult {
    let mut pair = published()?;
    pair.provider
        .batch_execute("insert into users values (1, 'a')")?;
    pair.ok("subscriber add users orders")?;
    let run = pair.run("subscriber wait-sync --timeout 0.2")?;
    assert_eq!(run.code, Some(1));
    assert_eq!(
        run.log,
        "ERROR the time is over, and these tables are not in sync: public.users, public.orders; \
         see: londiste INI status\n"
    );
    let run = pair.run("subscriber wait-sync absent")?;
    assert_eq!(run.code, Some(1));
    assert_eq!(
        run.log,
        "ERROR Table public.absent is not subscribed; run: londiste INI subscriber add public.absent\n"
    );

    let _ticker = pair.ticker()?;
    let _replay = pair.start("replay")?;
    let run = pair.ok("subscriber wait-sync --timeout 60")?;
    assert!(run.log.contains(": finished (2/2)\n"), "{}", run.log);
    let rows: i64 = value(&mut pair.subscriber, "select count(*) from users")?;
    assert_eq!(rows, 1);
    assert_eq!(pair.ok("subscriber wait-sync users")?.log, "");
    Ok(())
}
