//! Connections whose other end is gone without a word.

use std::fs::File;
use std::os::fd::AsFd;
use std::process::Command;

use e2e::{Load, Replication};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use testkit::TestResult;

/// A network of one host, which goes away with the value.
struct Network {
    name: String,
}

impl Network {
    /// Moves the thread there, with all that it starts from then on. `None`, with the reason printed, where
    /// nobody may make one.
    #[expect(clippy::print_stdout, reason = "says why a test did nothing")]
    fn enter() -> TestResult<Option<Network>> {
        let network = Network {
            name: format!("skytools{}", std::process::id()),
        };
        let made = Command::new("ip")
            .args(["netns", "add", &network.name])
            .output();
        let problem = match made {
            Ok(output) if output.status.success() => {
                let place = File::open(format!("/run/netns/{}", network.name))?;
                move_into_link_name_space(place.as_fd(), Some(LinkNameSpaceType::Network))?;
                network.set("up")?;
                return Ok(Some(network));
            }
            Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
            Err(error) => error.to_string(),
        };
        println!("skipped: no network can be made: {}", problem.trim());
        Ok(None)
    }

    /// While it is down what is sent vanishes, and nobody is told.
    fn set(&self, state: &str) -> TestResult {
        let status = Command::new("ip")
            .args(["link", "set", "lo", state])
            .status()?;
        assert!(status.success(), "{status}");
        Ok(())
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = Command::new("ip")
            .args(["netns", "delete", &self.name])
            .status();
    }
}

#[test]
fn a_connection_that_died_without_a_word_is_noticed_on_both_ends() -> TestResult {
    let Some(network) = Network::enter()? else {
        return Ok(());
    };
    let it = Replication::prepare_tcp(
        "keepalives_idle=1 keepalives_interval=1 keepalives_count=2 tcp_user_timeout=2000 connect_timeout=2",
    )?;
    it.begin(Load::TABLES)?;
    it.provider_db()?.batch_execute(Load::ROWS)?;
    let load = Load::start(&it.provider.conninfo("shop"), 2);
    it.typed("londiste replic.ini provider add ledger account item marker")?;
    it.typed("londiste replic.ini subscriber add ledger account item marker")?;
    it.wait_synced()?;
    Load::wait_progress(&it, 10)?;

    network.set("down")?;
    let before = Load::arrived(&it)?;
    let problems = || testkit::log_problems(&it.log("replic.log"), &[]);
    it.wait("replay to notice", || Ok(problems()?.len() >= 2))?;
    // The servers give up what the lost sessions held, so that replay can begin anew.
    let sessions = "select count(*) from pg_stat_activity
                     where application_name = 'replic' and client_port <> -1";
    let mut subscriber = it.subscriber_db()?;
    it.wait("the subscriber to notice", || {
        Ok(subscriber.query_one(sessions, &[])?.get::<_, i64>(0) == 0)
    })?;
    assert!(Load::arrived(&it)? >= before, "what was committed stays");
    network.set("up")?;
    Load::wait_progress(&it, 10)?;
    load.settle(&it)?;
    it.stop()
}

/// What the provider's sessions of replay say when they are about to send events.
const TELL: &str = "
    create or replace function pgq.batch_event_sql(x_batch_id bigint) returns text as $$
    begin
        raise log '% events time out after % ms',
            case when txid_current_if_assigned() is null then 'streamed' else 'early' end,
            current_setting('tcp_user_timeout');
        return pgq._batch_sql(x_batch_id, null);
    end $$ language plpgsql";

#[test]
fn a_replay_that_takes_its_time_is_not_taken_for_one_that_is_gone() -> TestResult {
    let it = Replication::prepare_tcp("")?;
    it.begin("create table t (id int primary key)")?;
    it.typed("londiste replic.ini provider add t")?;
    it.typed("londiste replic.ini subscriber add t")?;
    it.wait_synced()?;
    it.wait_caught_up("insert into t values (0)", "select from t where id = 0")?;
    it.stop()?;
    let mut provider = it.provider_db()?;
    provider.batch_execute(TELL)?;
    for id in 1..=3 {
        provider.execute("insert into t values ($1)", &[&id])?;
        provider.batch_execute("select pgq.force_tick('shop.replic'); select pgq.ticker()")?;
    }
    it.start_ticker()?;
    it.start_replay()?;
    it.wait_caught_up("insert into t values (4)", "select from t where id = 4")?;
    let log = it.provider.log();
    assert!(log.contains("early events time out after 25000"), "{log}");
    // Who waits for a lock on the subscriber takes none for a while.
    assert!(log.contains("streamed events time out after 0 ms"), "{log}");
    assert!(
        !log.contains("streamed events time out after 25000"),
        "{log}"
    );
    it.same("select * from t")?;
    it.logs_are_clean_but_for(&[])?;
    it.stop()
}
