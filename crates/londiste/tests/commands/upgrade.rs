//! `upgrade`: schemas of older versions.

use testkit::TestResult;

use crate::support::{Pair, column, value};

const VERSION_2: &str = include_str!("fixtures/version_2.sql");

#[test]
fn an_installation_of_2_1_keeps_what_it_holds() -> TestResult {
    let mut pair = Pair::empty()?;
    pair.both(
        "create schema app; set search_path = app, public;
         create table app.users (id int primary key, name text);
         create table app.orders (id int primary key, who int);
         create function app.f() returns trigger as 'begin return null; end' language plpgsql;",
    )?;
    pair.both(VERSION_2)?;
    // PgQ is up to date, Londiste is not.
    let run = pair.ok("provider install")?;
    assert!(
        run.log
            .contains("WARNING londiste is of version 2.1.11, older than "),
        "{}",
        run.log
    );
    assert!(
        run.log.contains("; to upgrade it: londiste INI upgrade\n"),
        "{}",
        run.log
    );
    pair.provider.batch_execute(
        "insert into londiste.provider_table (queue_name, table_name, trigger_name)
         values ('replic', 'app.users', 'replic_logger'), ('replic', 'app.orders', 'replic_logger');
         create trigger replic_logger after insert or update or delete on app.users
            for each row execute function pgq.logtriga('replic', 'kv', 'app.users');
         create trigger replic_logger after insert or update or delete on app.orders
            for each row execute function pgq.logtriga('replic', 'kv', 'app.orders');
         insert into londiste.provider_seq (queue_name, seq_name) values ('replic', 'app.s')",
    )?;
    pair.subscriber.batch_execute(
        "insert into londiste.subscriber_table (queue_name, table_name, merge_state)
         values ('replic', 'app.users', 'ok'), ('replic', 'app.orders', '?');
         insert into londiste.completed values ('replic', 17);
         insert into orders values (1, 99);
         insert into londiste.subscriber_pending_fkeys values ('app.orders', 'app.users', 'orders_who_fkey',
            'alter table only orders add constraint orders_who_fkey foreign key (who) references users(id)');
         insert into londiste.subscriber_pending_triggers values ('app.users', 'g',
            'create trigger g after insert on users for each row execute procedure f()'),
            ('app.users', 'lost', 'create trigger lost after insert on users for each row execute procedure no()')",
    )?;
    // The path under which 2.1 stored the definitions.
    pair.subscriber
        .batch_execute("alter role current_user set search_path = app, public")?;
    let run = pair.ok("upgrade")?;
    for line in [
        "INFO Upgrading londiste in provider_db from 2.1.11 to ",
        "INFO Exchanging the trigger of app.users for queue replic\n",
        "INFO Upgrading londiste in subscriber_db from 2.1.11 to ",
        "INFO foreign key orders_who_fkey of app.orders: names are qualified now\n",
        "INFO trigger g of app.users: names are qualified now\n",
        "WARNING cannot create the trigger lost of app.users: ERROR: function no() does not exist; it \
         stays as it was stored\n",
    ] {
        assert!(run.log.contains(line), "{line} in {}", run.log);
    }

    assert_eq!(
        pair.ok("provider tables")?.stdout,
        "app.users\napp.orders\n"
    );
    assert_eq!(pair.ok("provider check")?.stdout, "");
    let triggers = column(
        &mut pair.provider,
        "select tgname::text from pg_trigger where tgrelid = 'app.users'::regclass",
    )?;
    assert_eq!(triggers, ["_londiste_replic"]);
    let db = &mut pair.subscriber;
    assert_eq!(
        column(
            db,
            "select concat_ws('|', table_name, merge_state) from londiste.subscriber_get_table_list('replic')"
        )?,
        ["app.users|ok", "app.orders|?"]
    );
    assert_eq!(
        value::<i64>(db, "select londiste.get_last_tick('replic')")?,
        17
    );
    assert_eq!(
        column(db, "select fkey_def from londiste.subscriber_pending_fkeys")?,
        [
            "alter table only app.orders add constraint orders_who_fkey FOREIGN KEY (who) REFERENCES app.users(id)"
        ]
    );
    assert_eq!(
        column(
            db,
            "select trigger_def from londiste.subscriber_pending_triggers order by trigger_name"
        )?,
        [
            "CREATE TRIGGER g AFTER INSERT ON app.users FOR EACH ROW EXECUTE FUNCTION app.f()",
            "create trigger lost after insert on users for each row execute procedure no()"
        ]
    );

    // Once more, one side: nothing to do.
    let run = pair.ok("upgrade subscriber")?;
    assert!(!run.log.contains("qualified"), "{}", run.log);
    assert!(!run.log.contains("provider_db"), "{}", run.log);
    Ok(())
}

#[test]
fn what_cannot_be_upgraded_is_refused() -> TestResult {
    let mut pair = Pair::empty()?;
    let run = pair.run("upgrade")?;
    assert_eq!(run.code, Some(1));
    assert_eq!(
        run.log,
        "ERROR schema londiste is missing in provider_db; run: londiste INI provider install\n"
    );
    pair.provider
        .batch_execute("create schema londiste; create table londiste.table_info (nr int)")?;
    let run = pair.run("upgrade provider")?;
    assert_eq!(run.code, Some(1));
    assert!(run.log.contains("but of Londiste 3"), "{}", run.log);

    pair.provider
        .batch_execute("drop schema londiste cascade")?;
    pair.ok("provider install")?;
    pair.provider.batch_execute(
        "create or replace function londiste.version() returns text as $$
         begin return '99.1'; end $$ language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp",
    )?;
    let run = pair.run("upgrade provider")?;
    assert_eq!(run.code, Some(1));
    assert!(
        run.log
            .starts_with("ERROR londiste in provider_db is of version 99.1, newer than "),
        "{}",
        run.log
    );
    Ok(())
}

#[test]
fn an_upgrade_can_be_tried_out() -> TestResult {
    let mut pair = Pair::with_config("fake = 1")?;
    pair.both(VERSION_2)?;
    pair.ok("upgrade subscriber")?;
    let version: String = value(&mut pair.subscriber, "select londiste.version()")?;
    assert_eq!(version, "2.1.11");
    Ok(())
}
