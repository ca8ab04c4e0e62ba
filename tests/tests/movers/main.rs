//! What holds for every mover, whatever it makes of a batch.

mod processes;
mod roles;
mod sizes;
mod sources;

use std::time::Duration;

use postgres::Client;
use testkit::{MoverSite, Running, TestResult, create_queue, tick, wait_until};

/// Longest wait for anything that has to happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// A program, and what it does with the events of these tests: rows of `public.t` with an `id` and a `v`.
struct Kind {
    /// Its job has the same name.
    program: &'static str,
    lines: &'static str,
    /// A query for the ids that have arrived.
    ids: &'static str,
    /// What one does by hand for the row with the id `$1`.
    insert: &'static str,
}

const KINDS: [Kind; 5] = [
    Kind {
        program: "queue_mover",
        lines: "dst_queue_name = to",
        ids: "select substring(ev_data, 'id=(\\d+)')::int8 from pgq.event_template e, pgq.queue q
               where queue_name = 'to' and starts_with(e.tableoid::regclass::text, queue_data_pfx || '_') order by 1",
        insert: "select pgq.insert_event('to', 'I:id', 'id=' || $1::int8 || '&v=x', 'public.t', null, null, null)",
    },
    Kind {
        program: "queue_splitter",
        lines: "",
        ids: "select substring(ev_data, 'id=(\\d+)')::int8 from pgq.event_template e, pgq.queue q
               where queue_name = 'public.t' and starts_with(e.tableoid::regclass::text, queue_data_pfx || '_') order by 1",
        insert: "select pgq.insert_event('public.t', 'I:id', 'id=' || $1::int8 || '&v=x', 'public.t', null, null, null)",
    },
    Kind {
        program: "cube_dispatcher",
        lines: "dateformat = \"kept\"",
        ids: "select id from t_kept order by 1",
        insert: "insert into t_kept values ($1, 'x')",
    },
    Kind {
        program: "table_dispatcher",
        lines: "dest_table = log",
        ids: "select id from log order by 1",
        insert: "insert into log values ($1, 'x')",
    },
    Kind {
        program: "bulk_loader",
        lines: "",
        ids: "select id from t order by 1",
        insert: "insert into t values ($1, 'x')",
    },
];

/// Where the programs write to.
const TARGET: &str = "
    create table t (id int8 primary key, v text);
    create table t_kept (id int8 primary key, v text);
    create table log (id int8, v text)";

/// A source and a target for all of them.
struct Site {
    site: MoverSite,
    src: Client,
    dst: Client,
}

impl Site {
    fn start() -> TestResult<Site> {
        let site = MoverSite::start(KINDS[0].program, KINDS[0].lines)?;
        let (src, mut dst) = (site.db("src")?, site.db("dst")?);
        dst.batch_execute(TARGET)?;
        for queue in ["to", "public.t"] {
            create_queue(&mut dst, queue)?;
        }
        Ok(Site { site, src, dst })
    }

    /// Turns to a program, whose job gets more lines, and has it register.
    fn turn_to(&mut self, kind: &Kind, lines: &str) -> TestResult {
        self.site.turn_to(kind.program, kind.lines);
        self.site.write(kind.program, lines)?;
        self.site.drain(kind.program)
    }

    /// Puts the row with this id into the queue, and ticks.
    fn put(&mut self, id: i64) -> TestResult {
        put(&mut self.src, id)
    }

    fn arrived(&mut self, kind: &Kind) -> TestResult<Vec<i64>> {
        ids(&mut self.dst, kind)
    }

    /// Runs the job until it has the lock at the target.
    fn run(&mut self, kind: &Kind, options: &str) -> TestResult<Running> {
        let running = self
            .site
            .program(&format!("{}.ini {options}", kind.program));
        let running = running.spawn()?;
        let dst = &mut self.dst;
        wait_until("the job to have its lock", PATIENCE, || {
            let held = "select from pg_locks where locktype = 'advisory' and granted
                           and database = (select oid from pg_database where datname = 'dst')";
            Ok(!dst.query(held, &[])?.is_empty())
        })?;
        Ok(running)
    }

    /// Stops a job, which has to end well.
    fn stop(&self, kind: &Kind, running: &mut Running) -> TestResult {
        self.site
            .program(&format!("{}.ini -s", kind.program))
            .succeed()?;
        let status = running.wait(PATIENCE)?;
        assert!(status.success(), "{}: {status}", kind.program);
        Ok(())
    }

    fn wait_for(&mut self, kind: &Kind, ids: &[i64]) -> TestResult {
        wait_until("the rows to arrive", PATIENCE, || {
            Ok(self.arrived(kind)? == ids)
        })
    }
}

fn put(src: &mut Client, id: i64) -> TestResult {
    src.execute(
        "select pgq.insert_event('from', 'I:id', 'id=' || $1::int8 || '&v=x', 'public.t', null, null, null)",
        &[&id],
    )?;
    tick(src, "from")
}

fn ids(dst: &mut Client, kind: &Kind) -> TestResult<Vec<i64>> {
    let rows = dst.query(kind.ids, &[])?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
