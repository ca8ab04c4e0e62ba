//! Death at every step at which something is committed on either side.

use postgres::Client;
use testkit::{Running, TestResult, wait_until};

use crate::support::{Load, PATIENCE, Pair};

const TABLES: &str = "create table parent (id int primary key, data text);
    create table t (id int primary key, parent int references parent, n int not null default 0);
    create index t_parent on t (parent)";

fn write(client: &mut Client, number: u64) -> TestResult {
    let id = i32::try_from(number)? + 1000;
    client.batch_execute(&format!(
        "begin; insert into parent values ({id}, 'load'); insert into t values ({id}, {id}); \
         update t set n = n + 1 where id in ({id} - 1, {id} - 50, 1); \
         delete from t where id = {id} - 20; commit"
    ))?;
    Ok(())
}

/// Keeps replay running as an init system would: started again whenever it died.
struct Supervised<'a> {
    pair: &'a Pair,
    failpoints: String,
    replay: Running,
}

impl Supervised<'_> {
    fn start<'a>(pair: &'a Pair, failpoints: &str) -> TestResult<Supervised<'a>> {
        let program = pair.replay_program().env("FAILPOINTS", failpoints);
        Ok(Supervised {
            pair,
            failpoints: failpoints.to_owned(),
            replay: program.spawn()?,
        })
    }

    /// Starts replay again if it is dead.
    fn look(&mut self) -> TestResult {
        if self.replay.wait(std::time::Duration::ZERO).is_ok() {
            let program = self
                .pair
                .replay_program()
                .env("FAILPOINTS", &self.failpoints);
            self.replay = program.spawn()?;
        }
        Ok(())
    }
}

/// Adds a table under load while the process that comes to `step` first dies there.
fn survives_death_at(step: &str) -> TestResult {
    let pair = Pair::start(TABLES)?;
    pair.provider()?.batch_execute(
        "insert into parent select i, 'old' from generate_series(1, 300) i; \
         insert into t select i, i from generate_series(1, 300) i",
    )?;
    let (died, held) = (pair.path("died"), pair.path("held"));
    let mut failpoints = format!("{step}=return(kill-once:{})", died.display());
    if step != "copy.registered" {
        // Replay gets ahead, so that the copy has something to catch up with.
        failpoints.push_str(&format!(";copy.registered=return(hold:{})", held.display()));
    }
    let mut replay = Supervised::start(&pair, &failpoints)?;
    let load = Load::start(pair.provider()?, write);
    pair.add(&["t", "parent"])?;
    let mut goal = None;
    wait_until("both tables to be ok", PATIENCE, || {
        replay.look()?;
        if held.exists() {
            let (newest, applied) = pair.force_tick()?;
            if applied >= *goal.get_or_insert(newest + 2) {
                goal = None;
                std::fs::remove_file(&held)?;
            }
        }
        Ok(
            died.exists()
                && pair.state("public.t")? == "ok"
                && pair.state("public.parent")? == "ok",
        )
    })
    .map_err(|error| pair.explain(error))?;
    load.finish()?;
    // The one that dies after the last step of a copy has to be replaced, too.
    replay.look()?;
    pair.catch_up()?;
    assert!(pair.assert_equal("select * from t order by id")? > 290);
    pair.assert_equal("select * from parent order by id")?;
    let keys: i64 = pair
        .subscriber()?
        .query_one(
            "select count(*) from pg_constraint where conrelid = 't'::regclass \
             and contype in ('p', 'f')",
            &[],
        )?
        .get(0);
    let pending: i64 = pair
        .subscriber()?
        .query_one(
            "select count(*) from londiste.subscriber_pending_fkeys f \
             where not exists (select from pg_constraint c where c.conname = f.fkey_name)",
            &[],
        )?
        .get(0);
    assert_eq!(keys + pending, 2, "the foreign key is there or pending");
    pair.assert_tidy()
}

macro_rules! steps {
    ($($name:ident: $step:literal,)*) => {
        $(
            #[test]
            fn $name() -> TestResult {
                survives_death_at($step)
            }
        )*
    };
}

steps! {
    replay_dies_before_it_begins_a_copy: "replay.begin",
    replay_dies_after_it_began_a_copy: "replay.begun",
    replay_dies_before_it_meets_a_copy: "replay.meet",
    replay_dies_after_it_met_a_copy: "replay.met",
    replay_dies_before_it_commits_a_batch: "replay.before_commit",
    replay_dies_after_it_committed_a_batch: "replay.committed",
    replay_dies_after_it_finished_a_batch: "replay.finished",
    copy_dies_after_it_registered: "copy.registered",
    copy_dies_after_it_took_its_snapshot: "copy.snapshot",
    copy_dies_before_it_rebuilds_indexes: "copy.transferred",
    copy_dies_before_it_commits_the_table: "copy.before_commit",
    copy_dies_after_it_committed_the_table: "copy.copied",
    copy_dies_before_it_commits_a_batch: "copy.before_batch_commit",
    copy_dies_after_it_committed_a_batch: "copy.batch_committed",
    copy_dies_before_it_asks_to_meet: "copy.ask",
    copy_dies_after_it_asked_to_meet: "copy.asked",
    copy_dies_before_it_hands_over: "copy.hand_over",
    copy_dies_after_it_handed_over: "copy.handed_over",
    copy_dies_after_it_left: "copy.left",
}

#[test]
fn events_that_the_copy_contains_already_are_not_applied_again() -> TestResult {
    let pair = Pair::start(TABLES)?;
    let mut provider = pair.provider()?;
    provider.batch_execute("insert into parent values (1, 'before')")?;
    let held = pair.path("held");
    let failpoints = format!("copy.registered=return(hold:{})", held.display());
    let _replay = pair
        .replay_program()
        .env("FAILPOINTS", failpoints)
        .spawn()?;
    pair.add(&["parent"])?;
    wait_until("the copy to be registered", PATIENCE, || Ok(held.exists()))?;
    // After the place in the queue and before the snapshot: part of the first batch, and of the copy.
    provider.batch_execute(
        "insert into parent values (2, 'contained'); update parent set data = data || '+'",
    )?;
    let mut late = pair.provider()?;
    let mut late = late.transaction()?;
    late.batch_execute(
        "insert into parent values (3, 'late'); update parent set data = data || '-' where id = 1",
    )?;
    std::fs::remove_file(&held)?;
    pair.wait_copied("public.parent")?;
    // Of the same batch, and not in the copy.
    late.commit()?;
    pair.wait_ok(&["public.parent"])?;
    pair.catch_up()?;
    assert_eq!(pair.assert_equal("select * from parent order by id")?, 3);
    pair.assert_tidy()?;
    pair.assert_quiet()
}

#[test]
fn replay_can_be_stopped_while_it_waits_for_a_copy() -> TestResult {
    let pair = Pair::start(TABLES)?;
    pair.provider()?
        .batch_execute("insert into parent values (1, 'before')")?;
    let held = pair.path("held");
    let failpoints = format!("copy.hand_over=return(hold:{})", held.display());
    let mut replay = pair
        .replay_program()
        .env("FAILPOINTS", failpoints)
        .spawn()?;
    pair.add(&["parent"])?;
    wait_until("the copy to be about to hand over", PATIENCE, || {
        Ok(held.exists())
    })?;
    assert!(pair.state("public.parent")?.starts_with("do-sync:"));
    pair.londiste(&["-s"])?;
    assert!(replay.wait(PATIENCE)?.success());
    wait_until("the copy to end", PATIENCE, || {
        Ok(pair.copy_pid().is_none())
    })?;
    assert!(pair.state("public.parent")?.starts_with("do-sync:"));
    pair.provider()?
        .batch_execute("insert into parent values (2, 'after')")?;
    let _replay = pair.replay()?;
    pair.wait_ok(&["public.parent"])?;
    pair.catch_up()?;
    assert_eq!(pair.assert_equal("select * from parent order by id")?, 2);
    pair.assert_tidy()
}

/// Steps at which a copy or replay is held, and the state of the table then.
const HELD: [(&str, &str); 4] = [
    ("copy.registered", "in-copy"),
    ("copy.copied", "catching-up"),
    ("replay.meet", "wanna-sync:"),
    ("copy.hand_over", "do-sync:"),
];

/// The table `parent`, whose copies are held up at each of the steps.
struct Holding {
    pair: Pair,
    _replay: Running,
}

impl Holding {
    fn start() -> TestResult<Holding> {
        let pair = Pair::start(TABLES)?;
        pair.provider()?
            .batch_execute("insert into parent values (0, 'before')")?;
        let failpoints: Vec<String> = (HELD.iter())
            .map(|(step, _)| format!("{step}=return(hold:{})", pair.path(step).display()))
            .collect();
        let replay = pair
            .replay_program()
            .env("FAILPOINTS", failpoints.join(";"))
            .spawn()?;
        pair.add(&["parent"])?;
        Ok(Holding {
            pair,
            _replay: replay,
        })
    }

    /// Lets both go on from wherever they are held but from `step`.
    fn let_go(&self, step: &str) {
        for (other, _) in HELD.iter().filter(|(other, _)| *other != step) {
            // They are held there now and then.
            let _ = std::fs::remove_file(self.pair.path(other));
        }
    }

    /// Waits until one is held at `step`, with the table in `state`.
    fn wait_held(&self, step: &str, state: &str) -> TestResult {
        wait_until(step, PATIENCE, || {
            self.let_go(step);
            let held = self.pair.path(step).exists();
            Ok(held && self.pair.state("public.parent")?.starts_with(state))
        })
        .map_err(|error| self.pair.explain(error))
    }

    /// Waits until nothing is held any more, and both sides are equal.
    fn settle(&self, rows: u64) -> TestResult {
        wait_until("parent to be ok", PATIENCE, || {
            self.let_go("");
            Ok(self.pair.state("public.parent")? == "ok")
        })
        .map_err(|error| self.pair.explain(error))?;
        self.pair.catch_up()?;
        let equal = self.pair.assert_equal("select * from parent order by id")?;
        assert_eq!(equal, rows);
        self.pair.assert_tidy()
    }
}

#[test]
fn a_copy_whose_registration_is_lost_in_whatever_state_loses_nothing() -> TestResult {
    let held = Holding::start()?;
    let mut provider = held.pair.provider()?;
    for (id, (step, state)) in (1..).zip(HELD) {
        held.wait_held(step, state)?;
        provider.batch_execute(&format!(
            "select pgq.unregister_consumer('q', 'replay_copy'); insert into parent values ({id}, '{state}')"
        ))?;
        std::fs::remove_file(held.pair.path(step))?;
    }
    held.settle(5)
}

#[test]
fn a_table_removed_in_whatever_state_of_its_copy_leaves_nothing() -> TestResult {
    let held = Holding::start()?;
    let pair = &held.pair;
    for (id, (step, state)) in (1..).zip(HELD) {
        held.wait_held(step, state)?;
        pair.provider()?
            .batch_execute(&format!("insert into parent values ({id}, 'x')"))?;
        pair.londiste(&["subscriber", "remove", "parent"])?;
        wait_until("the copy to leave", PATIENCE, || {
            held.let_go("");
            Ok(pair.copy_pid().is_none())
        })
        .map_err(|error| pair.explain(error))?;
        pair.assert_tidy()?;
        assert_eq!(pair.state("public.parent")?, "");
        pair.add_on_subscriber(&["parent"])?;
    }
    held.settle(5)
}

#[test]
fn a_table_removed_on_the_provider_in_whatever_state_of_its_copy_leaves_nothing() -> TestResult {
    let held = Holding::start()?;
    let pair = &held.pair;
    for (id, (step, state)) in (1..).zip(HELD) {
        held.wait_held(step, state)?;
        pair.provider()?
            .batch_execute(&format!("insert into parent values ({id}, 'x')"))?;
        pair.londiste(&["provider", "remove", "parent"])?;
        // Replay goes on while rows are copied and caught up with, and waits to meet a copy.
        let stays = ["in-copy", "catching-up"].contains(&state);
        wait_until("parent to be unsubscribed", PATIENCE, || {
            held.let_go(if stays { step } else { "" });
            pair.force_tick()?;
            Ok(pair.state("public.parent")?.is_empty())
        })
        .map_err(|error| pair.explain(error))?;
        wait_until("the copy to leave", PATIENCE, || {
            held.let_go("");
            Ok(pair.copy_pid().is_none())
        })
        .map_err(|error| pair.explain(error))?;
        pair.assert_tidy()?;
        wait_until("the foreign key to be back", PATIENCE, || {
            let back =
                "select count(*) = 1 and not exists (select from londiste.subscriber_pending_fkeys)
                          from pg_constraint where contype = 'f' and conrelid = 't'::regclass";
            Ok(pair.subscriber()?.query_one(back, &[])?.get(0))
        })
        .map_err(|error| pair.explain(error))?;
        pair.add(&["parent"])?;
    }
    held.settle(5)
}
