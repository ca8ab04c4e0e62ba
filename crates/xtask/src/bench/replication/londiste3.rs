//! Londiste 3, as it comes with the packages of the system.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use testkit::Running;

use super::daemon::{self, Ticker};
use super::replica::{PATIENCE, Sides};
use crate::Result;

const PROGRAM: &str = "/usr/bin/londiste";

/// Whether the program runs and the server has its extensions.
pub(super) fn is_installed(sides: &Sides) -> Result<bool> {
    let runs = Command::new(PROGRAM)
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success());
    let there: i64 = sides
        .provider
        .connect("postgres")?
        .query_one(
            "select count(*) from pg_available_extensions \
             where name in ('pgq', 'pgq_node', 'londiste') and comment is not null",
            &[],
        )?
        .get(0);
    Ok(runs && there == 3)
}

/// A root and a leaf.
#[derive(Debug)]
pub(super) struct Cascade {
    database: String,
    dir: PathBuf,
    leaf: Option<Running>,
}

impl Cascade {
    pub(super) fn create(sides: &Sides, database: &str, loop_delay: Duration) -> Result<Cascade> {
        let dir = sides.provider.file(database);
        std::fs::create_dir_all(&dir)?;
        let cascade = Cascade {
            database: database.to_owned(),
            dir,
            leaf: None,
        };
        for (node, side) in [("root", &sides.provider), ("leaf", &sides.subscriber)] {
            std::fs::write(
                cascade.ini(node),
                format!(
                    "[londiste]\njob_name = {node}_{database}\ndb = {}\nqueue_name = q\n\
                     logfile = {log}\npidfile = {pid}\nloop_delay = {}\n",
                    side.conninfo(database),
                    loop_delay.as_secs_f64(),
                    log = cascade.dir.join(format!("{node}.log")).display(),
                    pid = cascade.dir.join(format!("{node}.pid")).display(),
                ),
            )?;
            side.connect(database)?.batch_execute(
                "create extension pgq; create extension pgq_node; create extension londiste",
            )?;
        }
        let provider = sides.provider.conninfo(database);
        cascade.run("root", &["create-root", "root", &provider])?;
        cascade.run(
            "leaf",
            &[
                "create-leaf",
                "leaf",
                &sides.subscriber.conninfo(database),
                &format!("--provider={provider}"),
            ],
        )?;
        Ok(cascade)
    }

    fn ini(&self, node: &str) -> PathBuf {
        self.dir.join(format!("{node}.ini"))
    }

    fn run(&self, node: &str, args: &[&str]) -> Result {
        let mut command = Command::new(PROGRAM);
        command.arg(self.ini(node)).args(args);
        let output = command.output()?;
        if output.status.success() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&output.stderr);
        Err(format!("{command:?}: {}\n{text}", output.status).into())
    }

    /// Registers tables that hold the same on both sides, or, with `copy`, starts copying them.
    pub(super) fn add(&mut self, sides: &Sides, tables: &[&str], copy: bool) -> Result {
        let mut args = vec!["add-table"];
        args.extend(tables);
        self.run("root", &args)?;
        // The leaf has to hear of the tables first.
        let running = self.leaf.is_some();
        if !running {
            self.start()?;
        }
        let ticker = Ticker::start(
            sides.provider.connect(&self.database)?,
            Duration::from_millis(100),
        );
        let mut leaf = sides.subscriber.connect(&self.database)?;
        let known = i64::try_from(tables.len())?;
        testkit::wait_until("the leaf to know the tables", PATIENCE, || {
            sides
                .provider
                .connect(&self.database)?
                .query_one("select pgq.force_tick('q')", &[])?;
            let row = leaf.query_one(
                "select count(*) from londiste.table_info where not local \
                 and table_name = any($1)",
                &[&tables],
            )?;
            Ok(row.get::<_, i64>(0) == known)
        })?;
        drop(ticker);
        if !copy {
            args.push("--expect-sync");
        }
        self.run("leaf", &args)?;
        if !running {
            self.stop()?;
        }
        Ok(())
    }

    pub(super) fn start(&mut self) -> Result {
        let mut command = Command::new(PROGRAM);
        command.arg(self.ini("leaf")).arg("worker");
        self.leaf = Some(Running::start(&mut command, &self.dir.join("leaf.out"))?);
        Ok(())
    }

    pub(super) fn stop(&mut self) -> Result {
        self.leaf.take().map_or(Ok(()), daemon::stop)
    }

    pub(super) fn check(&mut self) -> Result {
        self.leaf.as_mut().map_or(Ok(()), daemon::check)
    }
}
