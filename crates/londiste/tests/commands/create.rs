//! `subscriber add --create`: what the subscriber lacks is made from the provider's definitions.

use testkit::TestResult;

use crate::support::{Pair, column, value};

const TABLES: &str = r#"
    create schema "My Sch";
    create sequence "My Sch".numbers increment by 10;
    create function public.f() returns trigger language plpgsql as 'begin return new; end';
    create table "My Sch"."Tbl" (
        id int generated always as identity,
        "a b" numeric(10,2) not null default 1.5,
        n bigint default nextval('"My Sch".numbers'),
        s serial,
        g int generated always as (id * 2) stored,
        t text collate "C",
        primary key (id) include ("a b"),
        unique (s), check ("a b" > 0));
    create index on "My Sch"."Tbl" (lower(t)) where t <> '';
    create trigger mine before insert on "My Sch"."Tbl" for each row execute function public.f();
    grant select on "My Sch"."Tbl" to public;
    create table keyed (a int not null, b text);
    create unique index by_a on keyed (a);
    create sequence plain start 5;"#;

/// Published, and not on the subscriber.
fn published() -> TestResult<Pair> {
    let mut pair = Pair::installed()?;
    pair.provider.batch_execute(TABLES)?;
    let run = pair.run_args(&["provider", "add", "My Sch.Tbl"])?;
    assert_eq!(run.code, Some(0), "{run:?}");
    pair.ok("provider add keyed --key-index by_a")?;
    pair.ok("provider add-seq plain")?;
    Ok(pair)
}

/// What `\d` would show, in lines.
fn shape(db: &mut postgres::Client) -> TestResult<Vec<String>> {
    column(
        db,
        r#"select concat_ws('|', a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity,
                            a.attgenerated, pg_get_expr(d.adbin, d.adrelid))
             from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
            where a.attrelid = '"My Sch"."Tbl"'::regclass and a.attnum > 0
            union all
           select indexdef from pg_indexes where tablename = 'Tbl'
            union all
           select pg_get_constraintdef(oid) from pg_constraint
            where conrelid = '"My Sch"."Tbl"'::regclass and contype <> 'n'
            order by 1"#,
    )
}

#[test]
fn missing_tables_are_an_error_unless_they_are_to_be_made() -> TestResult {
    let mut pair = published()?;
    let run = pair.run("subscriber add --all")?;
    assert_eq!(run.code, Some(1));
    assert!(
        run.log
            .contains("ERROR Table public.keyed missing from subscriber side\n"),
        "{}",
        run.log
    );

    let run = pair.ok("subscriber add --all --create")?;
    assert!(
        run.log.contains("INFO Creating schema My Sch\n"),
        "{}",
        run.log
    );
    assert!(
        run.log.contains("INFO Creating table My Sch.Tbl\n"),
        "{}",
        run.log
    );
    let db = &mut pair.subscriber;
    let columns = column(
        db,
        r#"select attname::text from pg_attribute
            where attrelid = '"My Sch"."Tbl"'::regclass and attnum > 0 order by attnum"#,
    )?;
    assert_eq!(columns, ["id", "a b", "n", "s", "g", "t"]);
    let indexes: i64 = value(
        db,
        "select count(*) from pg_indexes where tablename in ('Tbl', 'keyed')",
    )?;
    assert_eq!(indexes, 2, "the keys alone");
    assert_eq!(pair.ok("subscriber tables")?.stdout.lines().count(), 3);
    Ok(())
}

#[test]
fn a_full_table_is_as_that_of_the_provider() -> TestResult {
    let mut pair = published()?;
    pair.subscriber.batch_execute(
        "create function public.f() returns trigger language plpgsql as 'begin return new; end'",
    )?;
    let run = pair.run_args(&["subscriber", "add", "My Sch.*", "--create-full"])?;
    assert_eq!(run.code, Some(0), "{}", run.log);
    assert!(!run.log.contains("No tables found"), "{}", run.log);
    let expected = shape(&mut pair.provider)?;
    assert_eq!(shape(&mut pair.subscriber)?, expected);
    // The user's trigger waits with the others; the capture is none of this database.
    assert_eq!(
        column(
            &mut pair.subscriber,
            "select trigger_name from londiste.subscriber_pending_triggers"
        )?,
        ["mine"]
    );
    let readable: bool = value(
        &mut pair.subscriber,
        r#"select exists (select from pg_class, aclexplode(relacl) a where relname = 'Tbl' and a.grantee = 0)"#,
    )?;
    assert!(readable);
    Ok(())
}

#[test]
fn partitioned_tables_are_made_with_their_partitions() -> TestResult {
    let mut pair = Pair::installed()?;
    pair.provider.batch_execute(
        r#"create table p (id int, day date, v text default 'x', primary key (id, day))
               partition by range (day);
           create table "P 1" partition of p for values from ('2026-01-01') to ('2026-02-01');
           create table p2 partition of p for values from ('2026-02-01') to ('2026-03-01')
               partition by hash (id);
           create table p2a partition of p2 for values with (modulus 2, remainder 0);
           create table p2b partition of p2 for values with (modulus 2, remainder 1);
           create table rest partition of p default;
           create index "on ONLY" on p (lower(v)); alter table p add check (id > 0);
           create table q (like p) partition by list (id); alter table q add primary key (id);
           create table q1 partition of q for values in (1, 2), q_null partition of q default;"#
            .replace(
                ", q_null partition of q default",
                "; create table q2 partition of q default",
            )
            .as_str(),
    )?;
    pair.ok("provider add p q")?;
    pair.ok("subscriber add q --create")?;
    pair.ok("subscriber add p --create-full")?;
    let tree = "select concat_ws(' ', t.relid::regclass, t.parentrelid::regclass,
                              pg_get_expr(c.relpartbound, c.oid), pg_get_partkeydef(c.oid))
                  from unnest(array['p', 'q']::regclass[]) r, pg_partition_tree(r) t
                  join pg_class c on c.oid = t.relid order by 1";
    let expected = column(&mut pair.provider, tree)?;
    assert_eq!(expected.len(), 9, "{expected:?}");
    assert_eq!(column(&mut pair.subscriber, tree)?, expected);
    let rest =
        "select indexdef from pg_indexes where tablename in ('p', 'P 1', 'p2', 'p2a', 'rest', 'q1')
                 union all
                select pg_get_constraintdef(oid) from pg_constraint
                 where conrelid in ('p'::regclass, 'p2b'::regclass) and contype <> 'n'
                 order by 1";
    let expected = column(&mut pair.provider, rest)?;
    assert!(expected.len() > 10, "{expected:?}");
    assert_eq!(column(&mut pair.subscriber, rest)?, expected);
    pair.subscriber
        .batch_execute("insert into p (id, day) values (1, '2026-02-05'), (2, '2030-01-01'); insert into q (id, day) values (7, now())")?;
    Ok(())
}

#[test]
fn missing_sequences_are_made() -> TestResult {
    let mut pair = published()?;
    let run = pair.run("subscriber add-seq plain")?;
    assert_eq!(run.code, Some(1));
    let run = pair.ok("subscriber add-seq plain --create")?;
    assert!(
        run.log.contains("INFO Creating sequence public.plain\n"),
        "{}",
        run.log
    );
    assert!(
        run.log.ends_with("INFO Adding sequence: public.plain\n"),
        "{}",
        run.log
    );
    let next: i64 = value(&mut pair.subscriber, "select nextval('plain')")?;
    assert_eq!(next, 5);
    Ok(())
}

#[test]
fn a_role_that_may_not_create_is_told_what_it_needs() -> TestResult {
    let mut pair = published()?;
    pair.subscriber.batch_execute(
        "revoke create on schema public from public; create role plain_role;
         grant usage on schema londiste to plain_role;
         grant all on all tables in schema londiste to plain_role;
         grant execute on all functions in schema londiste to plain_role",
    )?;
    pair.configure(&format!(
        "subscriber_db = {} options='-c role=plain_role'",
        pair.cluster.conninfo("subscriber")
    ))?;
    let run = pair.run("subscriber add keyed --create")?;
    assert_eq!(run.code, Some(1));
    assert!(
        run.log.contains(
            "ERROR cannot create public.keyed; the role of subscriber_db needs: grant create on schema public"
        ),
        "{}",
        run.log
    );
    assert!(
        run.log.contains("permission denied for schema public"),
        "{}",
        run.log
    );
    Ok(())
}
