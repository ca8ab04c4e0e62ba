//! As many producers at once as a busy site has, each in a session of its own.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;

use testkit::{Cluster, TestResult};
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio_postgres::{NoTls, SimpleQueryMessage};

use crate::support::{eager_queue, install, row, rows};
use crate::visibility::rotate;

const PRODUCERS: usize = 1_000;

/// Consumers, and how large they want their batches: ticks come faster than some of them can ask.
const CONSUMERS: [(&str, &str); 4] = [
    ("few", "100, null"),
    ("many", "1000, null"),
    ("often", "null, '20 ms'"),
    ("seldom", "null, '500 ms'"),
];

#[test]
fn every_event_of_a_thousand_producers_arrives_once_at_every_consumer() -> TestResult {
    let cluster = Cluster::builder()
        .setting("max_connections", "1100")
        .start()?;
    let mut db = install(&cluster)?;
    eager_queue(&mut db, "q")?;
    db.batch_execute("select pgq.set_queue_config('q', 'rotation_period', '0')")?;
    for (consumer, _) in CONSUMERS {
        rows(
            &mut db,
            &format!("select pgq.register_consumer('q', '{consumer}')"),
        )?;
    }
    let enough = Arc::new(AtomicBool::new(false));
    let committed = AtomicBool::new(false);
    let (inserted, widest, seen) = thread::scope(|scope| -> TestResult<_> {
        let (cluster, committed) = (&cluster, &committed);
        let (connected, all_connected) = channel();
        let producers = {
            let enough = Arc::clone(&enough);
            scope.spawn(move || produce(cluster, connected, enough))
        };
        let begun = all_connected.recv();
        let ticker = scope.spawn(|| tick_until(cluster, committed));
        let consumers: Vec<_> = CONSUMERS
            .into_iter()
            .map(|consumer| scope.spawn(move || collect(cluster, consumer, committed)))
            .collect();
        // A whole circle of tables, all of it among the producers.
        let rotated = begun.map_err(Into::into).and_then(|()| rotate(&mut db, 3));
        enough.store(true, Ordering::SeqCst);
        let inserted = producers.join().expect("producers do not panic");
        committed.store(true, Ordering::SeqCst);
        let widest = ticker.join().expect("the ticker does not panic");
        let seen: TestResult<Vec<_>> = consumers
            .into_iter()
            .map(|consumer| consumer.join().expect("consumers do not panic"))
            .collect();
        let inserted = inserted?;
        rotated?;
        Ok((inserted, widest?, seen?))
    })?;
    assert!(
        widest > 100,
        "at most {widest} transactions were open at a tick"
    );
    assert!(inserted.len() > 3 * PRODUCERS, "{} events", inserted.len());
    for ((consumer, _), seen) in CONSUMERS.into_iter().zip(seen) {
        let twice: Vec<_> = seen.iter().filter(|(_, times)| **times != 1).collect();
        assert!(
            twice.is_empty(),
            "came more than once to {consumer}: {twice:?}"
        );
        let seen: HashSet<i64> = seen.into_keys().collect();
        let lost: Vec<_> = inserted.difference(&seen).collect();
        let surplus: Vec<_> = seen.difference(&inserted).collect();
        assert!(
            lost.is_empty() && surplus.is_empty(),
            "{consumer} lost {lost:?} and got {surplus:?}"
        );
    }
    Ok(())
}

/// Connects all producers, then has them insert at once; the ids of what they committed.
fn produce(
    cluster: &Cluster,
    connected: Sender<()>,
    enough: Arc<AtomicBool>,
) -> TestResult<HashSet<i64>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let begin = Arc::new(Barrier::new(PRODUCERS + 1));
        let mut producers = JoinSet::new();
        for number in 0..PRODUCERS {
            let (begin, enough) = (Arc::clone(&begin), Arc::clone(&enough));
            let (client, connection) =
                tokio_postgres::connect(&cluster.conninfo("postgres"), NoTls).await?;
            tokio::spawn(connection);
            producers.spawn(async move {
                begin.wait().await;
                insert_until(&client, number, &enough).await
            });
        }
        connected.send(())?;
        begin.wait().await;
        let mut inserted = HashSet::new();
        while let Some(ids) = producers.join_next().await {
            for id in ids?? {
                assert!(inserted.insert(id), "id {id} was given twice");
            }
        }
        Ok(inserted)
    })
}

/// Short transactions, at least four: of one statement and of several, some of them undone.
async fn insert_until(
    client: &tokio_postgres::Client,
    number: usize,
    enough: &AtomicBool,
) -> Result<Vec<i64>, tokio_postgres::Error> {
    let mut ids = Vec::new();
    for n in 0.. {
        if n >= 4 && enough.load(Ordering::SeqCst) {
            break;
        }
        let (begin, end) = [
            ("", ""),
            ("begin;", "commit"),
            ("begin isolation level repeatable read;", "commit"),
            ("begin;", "rollback"),
            ("begin; savepoint s;", "release s; commit"),
        ][(number + n) % 5];
        let answer = client
            .simple_query(&format!(
                "{begin} select pgq.insert_event('q', 't', '{number}')"
            ))
            .await?;
        if !end.is_empty() {
            client.simple_query(end).await?;
        }
        if end != "rollback" {
            let id = answer.iter().find_map(|message| match message {
                SimpleQueryMessage::Row(row) => row.get(0)?.parse().ok(),
                _ => None,
            });
            ids.push(id.expect("an id"));
        }
    }
    Ok(ids)
}

/// Ticks without a pause; how many transactions were open at most.
fn tick_until(cluster: &Cluster, done: &AtomicBool) -> TestResult<usize> {
    let mut db = cluster.connect("postgres")?;
    let mut widest = 0;
    while !done.load(Ordering::SeqCst) {
        let open = row(
            &mut db,
            "select pgq.ticker();
             select count(*) from txid_snapshot_xip(txid_current_snapshot())",
        )?;
        widest = widest.max(open.parse()?);
    }
    Ok(widest)
}

/// Ids that a consumer gets, with how often; once all is committed, up to what one more tick covers.
fn collect(
    cluster: &Cluster,
    (consumer, size): (&str, &str),
    done: &AtomicBool,
) -> TestResult<HashMap<i64, usize>> {
    let mut db = cluster.connect("postgres")?;
    let mut seen = HashMap::new();
    let mut covered = false;
    loop {
        if done.load(Ordering::SeqCst) && !covered {
            covered = row(&mut db, "select pgq.ticker('q')")? != "NULL";
        }
        // What is left in the end may be less than what was wanted.
        let batch = row(
            &mut db,
            &match covered {
                true => format!("select pgq.next_batch('q', '{consumer}')"),
                false => format!(
                    "select batch_id from pgq.next_batch_custom('q', '{consumer}', null, {size})"
                ),
            },
        )?;
        if batch == "NULL" {
            if covered {
                return Ok(seen);
            }
            continue;
        }
        for id in rows(
            &mut db,
            &format!("select ev_id from pgq.get_batch_events({batch})"),
        )? {
            *seen.entry(id.parse()?).or_default() += 1;
        }
        rows(&mut db, &format!("select pgq.finish_batch({batch})"))?;
    }
}
