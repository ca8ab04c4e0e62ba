//! Tables from being added to being followed.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::Run;
use super::replica::{PATIENCE, Peer, Plan, Replica, Sides, settle};
use crate::Result;
use crate::bench::measure::{Samples, in_rounds, seconds};
use crate::bench::report::Goal;

const LARGE: &str = "initial copy, pgbench scale 10";
const SMALL: &str = "a small idle table, add to ok";
const PIPE: &str = "psql | psql";

/// Definitions of the indexes, which the pipe builds after the rows are there.
const INDEXES: [&str; 4] = [
    "alter table branches add primary key (bid)",
    "alter table tellers add primary key (tid)",
    "alter table accounts add primary key (aid)",
    "create index accounts_bid on accounts (bid)",
];

const TABLES: [&str; 3] = ["branches", "tellers", "accounts"];

const CREATE: &str = "
    create table branches (bid int not null, bbalance int, filler char(88));
    create table tellers (tid int not null, bid int, tbalance int, filler char(84));
    create table accounts (aid int not null, bid int, abalance int, filler char(84));
    create table small (id int primary key, data text);";

pub(super) fn measure(run: &mut Run<'_>) -> Result {
    let scale = run.common.size(10, 1);
    let rows = f64::from(scale * 100_011);
    let schema = format!("{CREATE} {}", INDEXES.join("; "));
    let fill = format!(
        "insert into branches select i, 0, '' from generate_series(1, {scale}) i;
         insert into tellers select i, (i - 1) / 10 + 1, 0, '' from generate_series(1, 10 * {scale}) i;
         insert into accounts select i, (i - 1) / 100000 + 1, 0, ''
             from generate_series(1, 100000 * {scale}) i;
         insert into small select i, 'row ' || i from generate_series(1, 100) i"
    );
    let mut variants: Vec<Option<Peer>> = run.peers.iter().copied().map(Some).collect();
    let psql = run.sides.provider.program("psql");
    if psql.is_some() {
        variants.push(None);
    } else {
        run.report.note("There is no psql.");
    }
    let mut small = vec![Samples::default(); run.peers.len()];
    let sides = run.sides;
    let rates = in_rounds(
        run.common.rounds.min(3),
        &variants,
        run.interrupt,
        |variant| {
            let Some(peer) = variant else {
                let psql = psql.as_ref().expect("looked up above");
                return Ok(rows / pipe(sides, psql, &fill)?);
            };
            let plan = Plan {
                name: "copy",
                schema: &schema,
                tables: &[],
                loop_delay: Duration::from_secs(1),
            };
            let mut replica = Replica::create(sides, peer, &plan)?;
            let mut provider = replica.provider()?;
            provider.batch_execute(&fill)?;
            settle(&mut provider)?;
            replica.start_first()?;
            let ticker = replica.ticker(Duration::from_secs(1))?;
            let taken = followed(
                &mut replica,
                &["public.branches", "public.tellers", "public.accounts"],
            )?;
            let place = run.peers.iter().position(|other| *other == peer);
            let idle = followed(&mut replica, &["public.small"])?;
            small[place.expect("it is one of them")].push(idle);
            drop(ticker);
            replica.stop()?;
            Ok(rows / taken)
        },
    )?;
    for (variant, rates) in variants.iter().zip(&rates) {
        let name = variant.map_or(PIPE, Peer::name);
        run.report.add(LARGE, name, "rows/s", rates);
    }
    for (peer, goal) in [
        (PIPE, Some(Goal::AtLeast(0.8))),
        (Peer::BuiltIn.name(), Some(Goal::AtLeast(1.0))),
        (Peer::Londiste3.name(), None),
    ] {
        run.report.compare(LARGE, Peer::Ours.name(), peer, goal);
    }
    for (peer, times) in run.peers.iter().zip(&small) {
        run.report.add(SMALL, peer.name(), "s", times);
    }
    run.report
        .limit(SMALL, Peer::Ours.name(), Goal::AtMost(3.0));
    Ok(())
}

/// Seconds from adding tables on the subscriber until all of them are followed.
fn followed(replica: &mut Replica<'_>, tables: &[&str]) -> Result<f64> {
    let mut subscriber = replica.subscriber()?;
    replica.offer(tables)?;
    let start = Instant::now();
    replica.subscribe(tables, true)?;
    testkit::wait_until("the tables to be followed", PATIENCE, || {
        for table in tables {
            if !replica.is_followed(&mut subscriber, table)? {
                return Ok(false);
            }
        }
        Ok(true)
    })?;
    Ok(start.elapsed().as_secs_f64())
}

/// Seconds that the bare rows and their indexes take.
fn pipe(sides: &Sides, psql: &std::path::Path, fill: &str) -> Result<f64> {
    const DATABASE: &str = "copy_pipe";
    for side in [&sides.provider, &sides.subscriber] {
        side.empty(DATABASE)?.batch_execute(CREATE)?;
    }
    let mut provider = sides.provider.connect(DATABASE)?;
    provider.batch_execute(fill)?;
    settle(&mut provider)?;
    let mut subscriber = sides.subscriber.connect(DATABASE)?;
    let taken = seconds(|| {
        for table in TABLES {
            let mut from = Command::new(psql)
                .args(["-X", "-q", "-d", &sides.provider.conninfo(DATABASE), "-c"])
                .arg(format!("copy {table} to stdout"))
                .stdout(Stdio::piped())
                .spawn()?;
            let rows = from.stdout.take().ok_or("a pipe was asked for")?;
            let to = Command::new(psql)
                .args(["-X", "-q", "-d", &sides.subscriber.conninfo(DATABASE), "-c"])
                .arg(format!("copy {table} from stdin"))
                .stdin(rows)
                .status()?;
            if !(from.wait()?.success() && to.success()) {
                return Err(format!("copying {table} through a pipe failed").into());
            }
        }
        Ok(subscriber.batch_execute(&INDEXES.join("; "))?)
    })?;
    drop((provider, subscriber));
    for side in [&sides.provider, &sides.subscriber] {
        side.connect("postgres")?
            .batch_execute(&format!("drop database {DATABASE}"))?;
    }
    Ok(taken)
}
