//! `cargo xtask demo`: two servers replicate live traffic before your eyes.

mod display;
mod heartbeat;
mod stage;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use postgres::Client;

use self::display::Display;
use self::heartbeat::{Heartbeat, percentile};
use self::stage::{QUEUE, Stage};
use crate::Result;
use crate::packages::{self, Need};
use crate::process::{self, Interrupt, pause};

/// Exit code when the two sides differ.
const DIFFERENT: u8 = 3;

/// Between looks at what is under way.
const TICK: Duration = Duration::from_millis(200);

/// Watch two servers replicate live traffic through our programs
///
/// Starts two throwaway servers, loads data, replicates it while pgbench writes, kills the
/// replication process in the middle, and compares every row at the end. Exits with 3 if
/// anything differs.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Leave everything running and print how to look around
    #[arg(long)]
    keep: bool,
    /// Size of pgbench's data: 100000 accounts each
    #[arg(long, value_name = "N", default_value_t = 10)]
    scale: u32,
    /// Transactions per second of pgbench's own script; the shop adds a quarter of that
    #[arg(long, value_name = "TPS", default_value_t = 200)]
    rate: u32,
    /// How long to replicate live traffic once the tables are copied
    #[arg(long, value_name = "SECONDS", default_value_t = 16)]
    seconds: u64,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let interrupt = Interrupt::listen()?;
    packages::ensure(&[Need::Server, Need::Pgbench], &interrupt)?;
    process::succeed(
        process::cargo().args(["build", "--bins", "-p", "pgqadm", "-p", "londiste"]),
        &interrupt,
    )?;
    let display = Display::new();
    display.chapter("Starting two servers");
    let mut stage = Stage::set()?;
    let shown = Demo {
        args,
        display: &display,
        interrupt: &interrupt,
        stage: &mut stage,
    }
    .play();
    let result = shown.map_err(|error| {
        if interrupt.requested() {
            error
        } else {
            format!("{error}\n{}", stage.log_tails()).into()
        }
    });
    if args.keep && !interrupt.requested() {
        stage.keep(&display)?;
    } else {
        drop(stage);
        display.line("stopped and deleted everything");
    }
    result
}

/// A table of the demo.
struct Table {
    /// As our programs call it: `shop.Customer`.
    name: String,
    /// Selects all its rows in the order of its key.
    query: String,
}

struct Demo<'a> {
    args: &'a Args,
    display: &'a Display,
    interrupt: &'a Interrupt,
    stage: &'a mut Stage,
}

impl Demo<'_> {
    fn play(&mut self) -> Result<ExitCode> {
        let mut provider = self.stage.provider_db()?;
        let mut subscriber = self.stage.subscriber_db()?;
        self.display.line(&format!(
            "PostgreSQL {}, provider and subscriber, each in {} with a socket of its own",
            self.stage.provider.major(),
            self.stage.provider.data_dir().parent().map_or_else(
                || "a temporary directory".to_owned(),
                |dir| dir.parent().unwrap_or(dir).display().to_string()
            )
        ));
        self.load(&mut provider, &mut subscriber)?;
        self.install()?;
        self.start_traffic()?;

        self.display
            .chapter("Adding the tables while they are written to");
        let rows = count_rows(&mut provider)?;
        self.typed("londiste replic.ini provider add --all")?;
        self.typed("londiste replic.ini provider add-seq shop.invoice_number")?;
        self.typed("londiste replic.ini subscriber add --all")?;
        self.typed("londiste replic.ini subscriber add-seq shop.invoice_number")?;
        self.copy(&mut provider, &mut subscriber, rows)?;
        let copied = self.display.elapsed();

        let heartbeat = Heartbeat::start(self.stage.provider_db()?, self.stage.subscriber_db()?);
        self.live(&heartbeat)?;

        self.display
            .chapter("Stopping the traffic, waiting until the last event is applied");
        self.stage.stop_traffic();
        let lags = self.catch_up(heartbeat, &mut provider, &mut subscriber)?;
        let replayed = self.display.elapsed();

        self.display.chapter("Comparing every row of every table");
        let tables = tables(&mut provider)?;
        let same = self.compare(&tables, &mut provider, &mut subscriber)?;
        self.summary(&lags, replayed, copied);
        self.complaints()?;
        if same {
            return Ok(ExitCode::SUCCESS);
        }
        Ok(ExitCode::from(DIFFERENT))
    }

    fn typed(&self, line: &str) -> Result {
        self.interrupt.check()?;
        self.stage.typed(self.display, line)
    }

    fn load(&self, provider: &mut Client, subscriber: &mut Client) -> Result {
        self.display.chapter(&format!(
            "Loading the provider: pgbench at scale {}, and a small shop",
            self.args.scale
        ));
        let scale = format!("--scale={}", self.args.scale);
        let stage = &*self.stage;
        stage.pgbench(&stage.provider, &["-i", "-q", &scale], self.interrupt)?;
        // The subscriber gets tables and keys; the rows come by replication.
        stage.pgbench(&stage.subscriber, &["-i", "-I", "dtp"], self.interrupt)?;
        for db in [&mut *provider, &mut *subscriber] {
            db.batch_execute(include_str!("shop.sql"))?;
        }
        provider.batch_execute(include_str!("shop_data.sql"))?;
        Ok(())
    }

    fn install(&self) -> Result {
        self.display
            .chapter("Installing PgQ and Londiste, starting the daemons");
        self.typed("pgqadm provider_ticker.ini install")?;
        self.typed("pgqadm provider_ticker.ini ticker -d")?;
        self.typed("londiste replic.ini provider install")?;
        self.typed("londiste replic.ini subscriber install")?;
        self.typed("londiste replic.ini replay -d")?;
        self.typed(&format!(
            "pgqadm provider_ticker.ini config {QUEUE} ticker_max_lag=0.5"
        ))
    }

    fn start_traffic(&mut self) -> Result {
        let rate = self.args.rate.max(4);
        self.display.chapter(&format!(
            "Writing to the provider: pgbench with {rate} transactions a second, the shop with {}",
            rate / 4
        ));
        self.stage.start_traffic(None, rate)?;
        let script = include_str!("traffic.pgbench");
        self.stage.start_traffic(Some(("shop", script)), rate / 4)
    }

    /// Follows the initial copy to its end.
    fn copy(&mut self, provider: &mut Client, subscriber: &mut Client, rows: u64) -> Result {
        self.display.chapter(&format!(
            "Copying {rows} rows and what is written meanwhile"
        ));
        let mut progress = self.display.progress(Some(rows));
        let start = Instant::now();
        loop {
            self.interrupt.check()?;
            self.stage.check_traffic()?;
            let states = subscriber.query(
                "select coalesce(merge_state, 'waiting'), table_name \
                 from londiste.subscriber_table order by nr",
                &[],
            )?;
            let done = states
                .iter()
                .filter(|row| row.get::<_, &str>(0) == "ok")
                .count();
            let under_way: Vec<String> = states
                .iter()
                .map(|row| (row.get::<_, &str>(0), row.get::<_, &str>(1)))
                .filter(|(state, _)| !matches!(*state, "ok" | "waiting"))
                .map(|(state, table)| format!("{table} {state}"))
                .collect();
            // The provider sends a table as one COPY; the subscriber takes it in several.
            let copying: i64 = provider
                .query_one(
                    "select coalesce(sum(tuples_processed), 0)::int8 \
                     from pg_stat_progress_copy where command = 'COPY TO'",
                    &[],
                )?
                .get(0);
            let finished = rows_copied(&self.stage.replication_log());
            progress.show(
                finished + u64::try_from(copying).unwrap_or(0),
                &format!(
                    "rows; {done} of {} tables replicate; {}",
                    states.len(),
                    under_way.join(", ")
                ),
            );
            if done == states.len() && !states.is_empty() {
                break;
            }
            if start.elapsed() > Duration::from_secs(120) {
                return Err("the initial copy does not come to an end".into());
            }
            pause(TICK);
        }
        drop(progress);
        self.display.line(&format!(
            "copied {} rows in {:.1} s; every table follows the provider now",
            rows_copied(&self.stage.replication_log()),
            start.elapsed().as_secs_f64()
        ));
        Ok(())
    }

    /// Shows the lag under traffic, with a crash in the middle.
    fn live(&mut self, heartbeat: &Heartbeat) -> Result {
        let half = Duration::from_secs(self.args.seconds) / 2;
        self.display.chapter("Replicating live traffic");
        self.watch(heartbeat, half)?;
        let pid = self.stage.replay.pid().ok_or("replay does not run")?;
        self.display
            .chapter("Killing the replay process under load");
        self.display
            .line(&format!("$ kill -9 {}", pid.as_raw_pid()));
        self.stage.replay.kill()?;
        self.watch(heartbeat, Duration::from_secs(2))?;
        self.typed("londiste replic.ini replay -d")?;
        self.watch(heartbeat, half)
    }

    fn watch(&mut self, heartbeat: &Heartbeat, duration: Duration) -> Result {
        let mut progress = self.display.progress(None);
        let start = Instant::now();
        while start.elapsed() < duration && !heartbeat.failed() {
            self.interrupt.check()?;
            self.stage.check_traffic()?;
            let lag = heartbeat.lag().map_or_else(
                || "lag not known yet".to_owned(),
                |lag| format!("lag {:.2} s", lag.as_secs_f64()),
            );
            let replay = Replay::of(&self.stage.replication_log());
            progress.show(0, &format!("{lag}, {} events replayed", replay.events));
            pause(TICK);
        }
        Ok(())
    }

    /// Waits until all that was committed so far is on the subscriber; answers the lags.
    fn catch_up(
        &self,
        heartbeat: Heartbeat,
        provider: &mut Client,
        subscriber: &mut Client,
    ) -> Result<Vec<Duration>> {
        let lags = heartbeat.finish()?;
        // Committed after everything else, so applied with or after everything else.
        let last: i64 = provider
            .query_one(
                "insert into shop.heartbeat default values returning id",
                &[],
            )?
            .get(0);
        let mut progress = self.display.progress(None);
        testkit::wait_until("the last event", Duration::from_secs(60), || {
            self.interrupt.check()?;
            progress.show(0, "waiting");
            let row = subscriber.query_opt("select from shop.heartbeat where id = $1", &[&last])?;
            Ok(row.is_some())
        })?;
        Ok(lags)
    }

    fn compare(
        &self,
        tables: &[Table],
        provider: &mut Client,
        subscriber: &mut Client,
    ) -> Result<bool> {
        let mut same = true;
        for table in tables {
            self.interrupt.check()?;
            let result = testkit::compare(provider, subscriber, &table.query)?;
            let Some((left, right)) = &result.difference else {
                self.display.line(&format!(
                    "{:<26} {:>9} rows, equal",
                    table.name, result.left_rows
                ));
                continue;
            };
            same = false;
            self.display.line(&format!(
                "{:<26} DIFFERS: {} rows on the provider, {} on the subscriber",
                table.name, result.left_rows, result.right_rows
            ));
            for (side, row) in [("provider", left), ("subscriber", right)] {
                let row = row.as_deref().unwrap_or("(no row)").trim_end();
                self.display.line(&format!("  first, {side}: {row}"));
            }
        }
        let sequence = "select last_value from shop.invoice_number";
        let left: i64 = provider.query_one(sequence, &[])?.get(0);
        let right: i64 = subscriber.query_one(sequence, &[])?.get(0);
        if left == right {
            self.display
                .line(&format!("{:<26} {left:>9}, equal", "shop.invoice_number"));
        } else {
            same = false;
            self.display.line(&format!(
                "{:<26} DIFFERS: {left} on the provider, {right} on the subscriber",
                "shop.invoice_number"
            ));
        }
        Ok(same)
    }

    /// Shows what the programs logged as a warning or worse, if there is anything.
    fn complaints(&self) -> Result {
        // The new replay says so of the killed one's.
        let complaints = self.stage.complaints(&["Ignoring stale pidfile"])?;
        if complaints.is_empty() {
            return Ok(());
        }
        self.display.chapter("Warnings and errors that were logged");
        for line in complaints {
            self.display.line(&line);
        }
        Ok(())
    }

    fn summary(&self, lags: &[Duration], replayed: Duration, copied: Duration) {
        let log = self.stage.replication_log();
        let replay = Replay::of(&log);
        let rate = replay.events as f64 / replay.busy.as_secs_f64().max(0.001);
        let lag = |percent| {
            percentile(lags, percent).map_or_else(
                || "not measured".to_owned(),
                |lag| format!("{:.2} s", lag.as_secs_f64()),
            )
        };
        self.display.chapter("Summary");
        self.display
            .line(&format!("rows copied      {}", rows_copied(&log)));
        self.display.line(&format!(
            "events replayed  {} in {} batches, {rate:.0} a second while busy",
            replay.events, replay.batches
        ));
        self.display.line(&format!(
            "lag              p50 {}, p99 {}, from the commit on the provider until the row is \
             visible",
            lag(50),
            lag(99)
        ));
        self.display.line(&format!(
            "                 over {} heartbeats in {:.0} s, the time without replay included",
            lags.len(),
            (replayed.saturating_sub(copied)).as_secs_f64()
        ));
        self.display.line(&format!(
            "all of it took   {:.0} s",
            self.display.elapsed().as_secs_f64()
        ));
    }
}

/// Totals of replay's statistics lines: `{count: 110, ignored: 3, duration: 0.88}`.
#[derive(Debug, Default, PartialEq)]
struct Replay {
    /// Events applied.
    events: u64,
    batches: u64,
    busy: Duration,
}

impl Replay {
    fn of(log: &str) -> Replay {
        let mut total = Replay::default();
        for line in log.lines() {
            let Some((_, statistics)) = line.split_once(" INFO {count: ") else {
                continue;
            };
            let statistics = format!("count: {}", statistics.trim_end_matches('}'));
            let value = |key: &str| {
                let mut pairs = statistics
                    .split(", ")
                    .filter_map(|pair| pair.split_once(": "));
                pairs.find(|(name, _)| *name == key).map(|(_, value)| value)
            };
            let number = |key| {
                value(key)
                    .and_then(|text| text.parse().ok())
                    .unwrap_or(0_u64)
            };
            let seconds = value("duration")
                .and_then(|text| text.parse().ok())
                .unwrap_or(0.0);
            let applied = number("count").saturating_sub(number("ignored"));
            total.events += applied;
            if applied > 0 {
                total.batches += 1;
                total.busy += Duration::try_from_secs_f64(seconds).unwrap_or_default();
            }
        }
        total
    }
}

/// Adds up `TBL: copy finished: N bytes, M rows`.
fn rows_copied(log: &str) -> u64 {
    log.lines()
        .filter_map(|line| {
            line.split_once(": copy finished: ")?
                .1
                .split_once(" bytes, ")
        })
        .filter_map(|(_, rows)| rows.strip_suffix(" rows")?.parse::<u64>().ok())
        .sum()
}

fn count_rows(db: &mut Client) -> Result<u64> {
    let mut rows = 0;
    for table in tables(db)? {
        let count: i64 = db
            .query_one(&format!("select count(*) from ({}) rows", table.query), &[])?
            .get(0);
        rows += u64::try_from(count)?;
    }
    Ok(rows)
}

/// The demo's tables.
fn tables(db: &mut Client) -> Result<Vec<Table>> {
    let rows = db.query(
        "select n.nspname || '.' || c.relname, \
                format('select * from only %I.%I order by %s', n.nspname, c.relname, \
                       (select string_agg(quote_ident(a.attname), ', ' order by k.nr) \
                        from unnest(i.indkey) with ordinality k(attnum, nr) \
                        join pg_attribute a on a.attrelid = c.oid and a.attnum = k.attnum)) \
         from pg_class c \
         join pg_namespace n on n.oid = c.relnamespace \
         join pg_index i on i.indrelid = c.oid and i.indisprimary \
         where n.nspname in ('public', 'shop') and c.relkind = 'r' \
         order by 1",
        &[],
    )?;
    Ok(rows
        .iter()
        .map(|row| Table {
            name: row.get(0),
            query: row.get(1),
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_come_from_the_log_of_replication() {
        let log = "\
2026-01-01 00:00:00,000 7 INFO {count: 110, ignored: 10, duration: 0.5}
2026-01-01 00:00:00,100 7 INFO shop.Customer: copy finished: 900 bytes, 40 rows
2026-01-01 00:00:00,200 7 INFO {count: 3, ignored: 3, duration: 0.1}
2026-01-01 00:00:00,300 7 INFO {count: 5, duration: 0.25}
2026-01-01 00:00:00,400 7 INFO public.t: copy finished: 1 bytes, 2 rows
";
        let expected = Replay {
            events: 105,
            batches: 2,
            busy: Duration::from_millis(750),
        };
        assert_eq!(Replay::of(log), expected);
        assert_eq!(rows_copied(log), 42);
    }
}
