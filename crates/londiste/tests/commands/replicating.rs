//! A pair with a replay beside it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use testkit::{Cluster, Running, TestResult, wait_until};

use crate::support::{Pair, Ticker, value};

const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Replicating {
    pub(crate) pair: Pair,
    _ticker: Ticker,
    _replay: Running,
}

/// Tables of `sql` exist on both sides, are in sync and replicated.
pub(crate) fn replicating(sql: &str, tables: &[&str]) -> TestResult<Replicating> {
    let mut pair = Pair::installed()?;
    pair.both(sql)?;
    replicate(pair, tables)
}

/// The tables are in sync and replicated.
pub(crate) fn replicate(mut pair: Pair, tables: &[&str]) -> TestResult<Replicating> {
    let ticker = pair.ticker()?;
    let replay = pair.start("replay")?;
    let add = [&["provider", "add"], tables].concat();
    assert_eq!(pair.run_args(&add)?.code, Some(0));
    let add = [&["subscriber", "add"], tables].concat();
    assert_eq!(pair.run_args(&add)?.code, Some(0));
    wait_until("the tables to be copied", PATIENCE, || {
        Ok(value::<i64>(
            &mut pair.subscriber,
            "select count(*) from londiste.subscriber_table where merge_state is distinct from 'ok'",
        )? == 0)
    })?;
    Ok(Replicating {
        pair,
        _ticker: ticker,
        _replay: replay,
    })
}

/// Ends the writers, also when a test fails.
struct Stopper<'a>(&'a AtomicBool);

impl Drop for Stopper<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs `work` while three sessions change the rows of `t (id int primary key, v text)` whose ids are
/// below 1000: inserts, updates, deletes, changed keys, transactions of some length, and some that are
/// rolled back, in part or as a whole.
pub(crate) fn under_load<T>(
    cluster: &Cluster,
    work: impl FnOnce() -> TestResult<T>,
) -> TestResult<T> {
    let stop = AtomicBool::new(false);
    let written = std::thread::scope(|scope| -> TestResult<(T, u64)> {
        let mut writers = Vec::new();
        for number in 0..3_i32 {
            let mut db = cluster.connect("provider")?;
            let stop = &stop;
            writers.push(scope.spawn(move || -> TestResult<u64> {
                let mut rounds = 0;
                while !stop.load(Ordering::Relaxed) {
                    // Each session has its own third of the keys, so that none waits for another.
                    db.batch_execute(&format!(
                        "begin;
                         insert into t select g, 'new' from generate_series({number}, 999, 3) g
                          where random() < 0.03 on conflict do nothing;
                         update t set v = v || '.' where id < 1000 and id % 3 = {number} and random() < 0.03;
                         savepoint s;
                         delete from t where id < 1000 and id % 3 = {number};
                         rollback to s;
                         update t set v = left(v, 3) where id < 1000 and id % 3 = {number} and length(v) > 20;
                         {end};
                         select pg_sleep(random() * 0.1);
                         begin;
                         delete from t where id < 1000 and id % 3 = {number} and random() < 0.01;
                         select pg_sleep(random() * 0.02);
                         update t set id = id - 30 where id in (
                             select a.id from t a where a.id between 30 and 999 and a.id % 3 = {number}
                                and not exists (select from t b where b.id = a.id - 30) limit 2);
                         commit",
                        end = if rounds % 7 == 3 { "rollback" } else { "commit" },
                    ))?;
                    rounds += 1;
                }
                Ok(rounds)
            }));
        }
        let stopper = Stopper(&stop);
        let result = work();
        drop(stopper);
        let mut rounds = 0;
        for writer in writers {
            rounds += writer.join().expect("it does not panic")?;
        }
        Ok((result?, rounds))
    });
    let (result, rounds) = written?;
    assert!(rounds > 10, "{rounds}");
    Ok(result)
}
