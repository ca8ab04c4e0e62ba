//! `subscriber`: subscribing to tables and sequences, states, the consumer.

use testkit::TestResult;

use crate::support::{Pair, column, value};

/// Installed, and `users` and `orders` published.
fn published() -> TestResult<Pair> {
    let mut pair = Pair::installed()?;
    pair.both(
        "create table users (id int primary key, name text);
         create table orders (id int primary key, who int references users);",
    )?;
    pair.ok("provider add users orders")?;
    Ok(pair)
}

fn states(pair: &Pair) -> TestResult<String> {
    Ok(pair.ok("subscriber tables")?.stdout)
}

#[test]
fn added_tables_wait_for_their_copy() -> TestResult {
    let pair = published()?;
    let run = pair.ok("subscriber add orders users")?;
    assert_eq!(
        run.log,
        "INFO Checking public.users\n\
         INFO Checking public.orders\n\
         INFO Adding public.users\n\
         INFO Adding public.orders\n"
    );
    assert_eq!(
        states(&pair)?,
        "Table                                           State\n\
         public.users                                        -\n\
         public.orders                                       -\n"
    );
    let run = pair.ok("subscriber tables --json")?;
    assert_eq!(
        run.stdout.split_whitespace().collect::<String>(),
        r#"[{"state":null,"table":"public.users"},{"state":null,"table":"public.orders"}]"#
    );
    let run = pair.ok("subscriber add users")?;
    assert_eq!(run.log, "INFO Table public.users already added\n");
    Ok(())
}

#[test]
fn fake_changes_no_subscription() -> TestResult {
    let mut pair = published()?;
    pair.both("create sequence s")?;
    pair.ok("provider add-seq s")?;
    pair.subscriber.batch_execute(
        "create function f() returns trigger as 'begin return null; end' language plpgsql;
         create trigger g after insert on users for each row execute function f();",
    )?;
    let nothing = "select (select count(*) from londiste.subscriber_table) + (select count(*) from londiste.subscriber_seq) \
                   + (select count(*) from londiste.subscriber_pending_triggers)";
    pair.ok("subscriber add users --set fake=1")?;
    pair.ok("subscriber add-seq s --set fake=1")?;
    assert_eq!(value::<i64>(&mut pair.subscriber, nothing)?, 0);

    pair.ok("subscriber add users --expect-sync")?;
    pair.ok("subscriber add orders")?;
    pair.ok("subscriber add-seq s")?;
    let before = states(&pair)?;
    for line in [
        "subscriber resync users",
        "subscriber remove users",
        "subscriber remove orders",
        "subscriber remove-seq s",
    ] {
        pair.ok(&format!("{line} --set fake=1"))?;
        assert_eq!(states(&pair)?, before, "{line}");
    }
    assert_eq!(pair.ok("subscriber seqs")?.stdout, "public.s\n");
    for line in ["subscriber unregister", "subscriber register", "--reset"] {
        let run = pair.run(&format!("{line} --set fake=1"))?;
        assert_eq!(run.code, Some(1), "{run:?}");
        assert!(run.log.contains("cannot be rolled back"), "{run:?}");
    }
    assert_eq!(states(&pair)?, before);
    Ok(())
}

#[test]
fn expected_sync_needs_no_copy_and_keeps_triggers() -> TestResult {
    let mut pair = published()?;
    pair.subscriber.batch_execute(
        "create function f() returns trigger as 'begin return null; end' language plpgsql;
         create trigger g after insert on users for each row execute function f();",
    )?;
    pair.ok("subscriber add users --expect-sync")?;
    assert_eq!(
        states(&pair)?.lines().nth(1),
        Some("public.users                                       ok")
    );
    let triggers: i64 = value(
        &mut pair.subscriber,
        "select count(*) from pg_trigger where tgname = 'g'",
    )?;
    assert_eq!(triggers, 1);
    Ok(())
}

#[test]
fn triggers_are_put_aside_and_come_back_as_they_were() -> TestResult {
    let mut pair = published()?;
    pair.subscriber.batch_execute(
        r#"create schema other;
           create function other.f() returns trigger as 'begin return null; end' language plpgsql;
           create trigger "Odd name" after insert on users for each row
               when (new.name is distinct from 'x') execute function other.f();
           alter table users enable always trigger "Odd name";
           comment on trigger "Odd name" on users is 'kept';
           create trigger off after delete on users for each row execute function other.f();
           alter table users disable trigger off;"#,
    )?;
    let triggers = "select concat_ws('|', tgname, tgenabled, pg_get_triggerdef(oid), \
                    obj_description(oid, 'pg_trigger')) from pg_trigger \
                    where tgrelid = 'users'::regclass and not tgisinternal order by tgname";
    let before = column(&mut pair.subscriber, triggers)?;
    assert_eq!(before.len(), 2);

    let run = pair.ok("subscriber add users --skip-truncate")?;
    assert!(
        run.log.contains(
            "WARNING public.users: subscriber trigger Odd name is enabled for replicated changes\n"
        ),
        "{}",
        run.log
    );
    assert_eq!(column(&mut pair.subscriber, triggers)?, [""; 0]);
    let kept: bool = value(
        &mut pair.subscriber,
        "select skip_truncate from londiste.subscriber_table",
    )?;
    assert!(kept);

    let run = pair.ok("subscriber remove users")?;
    assert_eq!(run.log, "INFO Removing: public.users\n");
    assert_eq!(column(&mut pair.subscriber, triggers)?, before);
    assert_eq!(states(&pair)?.lines().count(), 1);
    Ok(())
}

#[test]
fn removing_brings_foreign_keys_back_unless_rows_violate_them() -> TestResult {
    let mut pair = published()?;
    pair.ok("subscriber add users orders")?;
    pair.subscriber.batch_execute(
        "select londiste.subscriber_drop_table_fkey('public.orders', 'orders_who_fkey');
         insert into orders values (1, 77);",
    )?;
    // The other end still waits for its copy.
    pair.ok("subscriber remove orders")?;
    let pending = "select count(*) from londiste.subscriber_pending_fkeys";
    assert_eq!(value::<i64>(&mut pair.subscriber, pending)?, 1);

    let run = pair.ok("subscriber remove users")?;
    assert!(
        run.log.contains(
            "WARNING cannot restore the foreign key orders_who_fkey of public.orders: ERROR: \
             insert or update on table \"orders\" violates foreign key constraint"
        ),
        "{}",
        run.log
    );
    assert_eq!(value::<i64>(&mut pair.subscriber, pending)?, 1);

    pair.subscriber.batch_execute("delete from orders")?;
    pair.ok("subscriber add users")?;
    pair.ok("subscriber remove users")?;
    assert_eq!(value::<i64>(&mut pair.subscriber, pending)?, 0);
    let back: i64 = value(
        &mut pair.subscriber,
        "select count(*) from pg_constraint where conname = 'orders_who_fkey' and convalidated",
    )?;
    assert_eq!(back, 1);
    Ok(())
}

#[test]
fn tables_that_the_provider_does_not_publish_are_refused() -> TestResult {
    let mut pair = published()?;
    pair.both("create table private (id int primary key); create view look as select 1 as one")?;
    let run = pair.run("subscriber add private users absent look")?;
    assert_eq!(run.code, Some(1));
    assert_eq!(
        run.log,
        "WARNING No tables found that match public.absent\n\
         WARNING public.look is a view, only tables can be added\n\
         ERROR Table public.private not attached to queue; run: londiste INI \
         provider add public.private\n\
         INFO Checking public.users\n\
         INFO Adding public.users\n"
    );
    let run = pair.ok("subscriber add private --force")?;
    assert!(
        run.log.contains("WARNING --force used, ignoring errors\n"),
        "{}",
        run.log
    );
    assert!(states(&pair)?.contains("public.private"));
    // A pattern takes what the provider has, without a word about the rest.
    let run = pair.ok("subscriber add *")?;
    assert_eq!(
        run.log,
        "INFO Table public.users already added\n\
         INFO Checking public.orders\n\
         INFO Adding public.orders\n"
    );
    Ok(())
}

#[test]
fn one_database_on_both_sides_is_refused() -> TestResult {
    let mut pair = published()?;
    let same = format!("subscriber_db={}", pair.cluster.conninfo("provider"));
    let refused = "provider_db and subscriber_db are the same database, whose tables would be copied onto themselves";
    let captures =
        "select count(*) from pg_trigger where not tgisinternal and tgrelid = 'users'::regclass";
    let before: i64 = value(&mut pair.provider, captures)?;
    for line in [
        "subscriber add users",
        "subscriber add users --force",
        "subscriber add users --expect-sync",
        "replay --once",
    ] {
        let mut arguments: Vec<&str> = line.split(' ').collect();
        arguments.extend(["--set", &same]);
        let run = pair.run_args(&arguments)?;
        assert_eq!(run.code, Some(1), "{line}");
        assert!(run.log.contains(refused), "{line}: {}", run.log);
    }
    assert_eq!(value::<i64>(&mut pair.provider, captures)?, before);
    let subscribed = "select count(*) from londiste.subscriber_table";
    assert_eq!(value::<i64>(&mut pair.provider, subscribed)?, 0);
    Ok(())
}

#[test]
fn differing_structures_stop_the_whole_list() -> TestResult {
    let mut pair = published()?;
    pair.subscriber.batch_execute(
        "alter table orders drop column who, add column extra int not null;
         alter table users alter column name type varchar(10);",
    )?;
    let run = pair.run("subscriber add --all")?;
    assert_eq!(run.code, Some(1));
    assert_eq!(
        run.log,
        "INFO Checking public.users\n\
         WARNING public.users: type of column name differs (text/character varying(10))\n\
         INFO Checking public.orders\n\
         ERROR public.orders: column who on provider not on subscriber\n\
         ERROR public.orders: column extra on subscriber not on provider, and it needs a value\n"
    );
    assert_eq!(states(&pair)?.lines().count(), 1);

    let run = pair.ok("subscriber add --all --force")?;
    assert!(
        run.log.contains("--force used, ignoring errors"),
        "{}",
        run.log
    );
    assert_eq!(states(&pair)?.lines().count(), 3);
    Ok(())
}

#[test]
fn tables_missing_on_a_side_are_named() -> TestResult {
    let mut pair = published()?;
    pair.subscriber.batch_execute("drop table orders")?;
    let run = pair.run("subscriber add --all")?;
    assert_eq!(run.code, Some(1));
    assert!(
        run.log
            .contains("ERROR Table public.orders missing from subscriber side\n"),
        "{}",
        run.log
    );
    pair.provider.batch_execute("drop table orders")?;
    let run = pair.run("subscriber add orders")?;
    assert_eq!(run.code, Some(1));
    assert_eq!(
        run.log,
        "INFO Checking public.orders\n\
         ERROR Table public.orders missing from provider side\n\
         ERROR Table public.orders missing from subscriber side\n"
    );
    Ok(())
}

#[test]
fn structures_are_read_from_the_catalog() -> TestResult {
    let mut pair = Pair::installed()?;
    pair.provider.batch_execute(
        "create table t (a int, k2 int, k1 int, g int generated always as (1) stored,
                         primary key (k1, k2) include (a));
         create table u (id int primary key);",
    )?;
    pair.subscriber.batch_execute(
        r#"create table t (k1 int, k2 int, own int not null generated always as identity,
                           a int, g int generated always as (1) stored,
                           primary key (k2, k1) deferrable, unique (a));
           alter table t enable row level security;
           create rule r as on delete to t do also nothing;
           create table u (id int primary key) partition by range (id);"#,
    )?;
    pair.ok("provider add t u")?;
    let run = pair.ok("subscriber add t u")?;
    assert_eq!(
        run.log,
        "INFO Checking public.t\n\
         WARNING table public.t structure is not same (vkki/kkvvi), trying to continue\n\
         WARNING public.t: primary key on subscriber is deferrable\n\
         WARNING public.t: subscriber has row security\n\
         WARNING public.t: subscriber has rule r\n\
         WARNING public.t: subscriber has a unique constraint that provider has not (a)\n\
         INFO Checking public.u\n\
         WARNING public.u: partitioned on subscriber only\n\
         INFO Adding public.t\n\
         INFO Adding public.u\n"
    );
    Ok(())
}

#[test]
fn a_table_that_feeds_another_queue_is_not_disturbed_without_force() -> TestResult {
    let mut pair = published()?;
    // The subscriber publishes the table itself, under another job.
    let other = pair.cluster.conninfo("subscriber");
    let provider = format!("provider_db={other}");
    let next = |words: &[&str]| {
        let set = ["--set", &provider, "--set", "pgq_queue_name=next"];
        pair.run_args(&[words, &set].concat())
    };
    assert_eq!(next(&["provider", "install"])?.code, Some(0));
    assert_eq!(next(&["provider", "add", "users"])?.code, Some(0));

    let run = pair.run("subscriber add users orders")?;
    assert_eq!(run.code, Some(1));
    assert!(
        run.log.contains(
            "ERROR public.users: trigger _londiste_next writes changes of public.users into a queue"
        ),
        "{}",
        run.log
    );
    assert!(!states(&pair)?.contains("public.users"));
    assert!(states(&pair)?.contains("public.orders"));

    pair.ok("subscriber add users --force")?;
    let pending: String = value(
        &mut pair.subscriber,
        "select trigger_name from londiste.subscriber_pending_triggers",
    )?;
    assert_eq!(pending, "_londiste_next");
    Ok(())
}

#[test]
fn resync_sends_only_stable_tables_back() -> TestResult {
    let mut pair = published()?;
    pair.ok("subscriber add users --expect-sync")?;
    pair.ok("subscriber add orders")?;
    pair.subscriber.batch_execute(
        "update londiste.subscriber_table set snapshot = '1:2:' where table_name = 'public.users'",
    )?;
    let run = pair.run("subscriber resync users orders absent")?;
    assert_eq!(run.code, Some(1));
    assert_eq!(
        run.log,
        "INFO Resyncing public.users\n\
         WARNING Table public.orders is not in stable state\n\
         WARNING Table public.absent not found\n"
    );
    let untouched: i64 = value(
        &mut pair.subscriber,
        "select count(*) from londiste.subscriber_table \
         where merge_state is not null or snapshot is not null",
    )?;
    assert_eq!(untouched, 0);
    Ok(())
}

#[test]
fn missing_lists_what_is_published_and_not_subscribed() -> TestResult {
    let mut pair = published()?;
    pair.both("create sequence s1; create sequence s2")?;
    pair.ok("provider add-seq s1 s2")?;
    pair.ok("subscriber add users")?;
    pair.ok("subscriber add-seq s2")?;
    assert_eq!(
        pair.ok("subscriber missing")?.stdout,
        "Table: public.orders\nSequence: public.s1\n"
    );
    let run = pair.ok("subscriber missing --json")?;
    assert_eq!(
        run.stdout.split_whitespace().collect::<String>(),
        r#"{"sequences":["public.s1"],"tables":["public.orders"]}"#
    );
    Ok(())
}

#[test]
fn sequences_are_subscribed_and_removed() -> TestResult {
    let mut pair = Pair::installed()?;
    pair.both("create sequence s1; create sequence s2")?;
    pair.provider.batch_execute("create sequence only_here")?;
    pair.ok("provider add-seq s1 only_here")?;
    let run = pair.run("subscriber add-seq s1 s2 only_here")?;
    assert_eq!(run.code, Some(1));
    assert_eq!(
        run.log,
        "INFO Adding sequence: public.s1\n\
         WARNING Seq public.s2 does not exist on provider side\n\
         WARNING Seq public.only_here does not exist on subscriber side\n"
    );
    let run = pair.run("subscriber add-seq --all")?;
    assert!(
        run.log
            .starts_with("INFO Seq public.s1 already subscribed\n"),
        "{}",
        run.log
    );
    assert_eq!(pair.ok("subscriber seqs")?.stdout, "public.s1\n");
    let run = pair.run("subscriber remove-seq s1 s2")?;
    assert_eq!(run.code, Some(1));
    assert_eq!(
        run.log,
        "INFO Removing sequence: public.s1\nWARNING Seq public.s2 not subscribed\n"
    );
    assert_eq!(pair.ok("subscriber seqs")?.stdout, "");
    Ok(())
}

#[test]
fn unregister_leaves_no_trace_of_the_consumer() -> TestResult {
    let mut pair = published()?;
    pair.provider.batch_execute("select pgq.ticker('replic')")?;
    let run = pair.ok("subscriber register")?;
    assert_eq!(run.log, "INFO Consumer replic registered on queue replic\n");
    let run = pair.ok("subscriber register")?;
    assert_eq!(
        run.log,
        "INFO Consumer replic is registered on queue replic already\n"
    );
    pair.ok("subscriber add users --expect-sync")?;
    pair.provider.batch_execute(
        "select pgq.register_consumer('replic', c) from unnest(array['replic_copy',
                'replic_copy.public.users', 'replica', 'other_copy']) c",
    )?;
    pair.subscriber.batch_execute(
        "select londiste.set_last_tick(c, 1) from unnest(array['replic', 'replic_copy',
                'replic_copy.public.users', 'replica']) c",
    )?;

    let run = pair.ok("subscriber unregister")?;
    assert_eq!(
        run.log,
        "INFO Consumer replic unregistered from queue replic\n\
         INFO Consumer replic_copy unregistered from queue replic\n\
         INFO Consumer replic_copy.public.users unregistered from queue replic\n"
    );
    assert_eq!(
        column(
            &mut pair.provider,
            "select co_name from pgq.consumer \
               join pgq.subscription on sub_consumer = co_id order by 1"
        )?,
        ["other_copy", "replica"]
    );
    assert_eq!(
        column(
            &mut pair.subscriber,
            "select consumer_id from londiste.completed"
        )?,
        ["replica"]
    );
    assert!(states(&pair)?.ends_with(" -\n"));
    let run = pair.ok("subscriber unregister")?;
    assert_eq!(
        run.log,
        "INFO Consumer replic is not registered on queue replic\n"
    );
    Ok(())
}

#[test]
fn unregister_refuses_while_the_consumer_is_locked() -> TestResult {
    let mut pair = published()?;
    pair.provider.batch_execute("select pgq.ticker('replic')")?;
    pair.ok("subscriber register")?;
    pair.subscriber.execute(
        "select pg_advisory_lock(1885827395, hashtext('londiste.replic'))",
        &[],
    )?;
    let run = pair.run("subscriber unregister")?;
    assert_eq!(run.code, Some(1));
    assert_eq!(
        run.log,
        "ERROR replay of consumer replic is running; stop it first, or use --force\n"
    );
    pair.ok("subscriber unregister --force")?;
    let left: i64 = value(&mut pair.provider, "select count(*) from pgq.subscription")?;
    assert_eq!(left, 0);
    Ok(())
}
