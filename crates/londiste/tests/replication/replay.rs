//! The replay process, end to end.

use crate::support::Pair;
use testkit::TestResult;

const SIMPLE: &str = "create table t (id int primary key, data text)";

#[test]
fn an_added_table_is_copied_and_then_follows() -> TestResult {
    let pair = Pair::start(SIMPLE)?;
    let mut provider = pair.provider()?;
    provider.batch_execute("insert into t select i, 'row ' || i from generate_series(1, 100) i")?;
    let _replay = pair.replay()?;
    pair.add(&["t"])?;
    pair.wait_ok(&["public.t"])?;
    provider.batch_execute(
        "insert into t values (200, 'new'); update t set data = null where id = 1; \
         delete from t where id = 2; update t set id = 300 where id = 3",
    )?;
    pair.catch_up()?;
    assert_eq!(pair.assert_equal("select * from t order by id")?, 100);
    pair.assert_tidy()
}
