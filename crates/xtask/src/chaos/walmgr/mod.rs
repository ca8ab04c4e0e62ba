//! `cargo xtask chaos walmgr`: drills of a failover, in which programs, servers and connections die under load.
//!
//! A drill begins with a master that archives. While rows are written, backups, restores and syncs run, and all of it
//! is killed at random. Then the master dies for good, `boot` opens the standby, and the writers go on there: what was
//! acknowledged has to be there, all of it if the master's disk could be read, else all before the last `sync`.

mod site;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::time::{Duration, Instant};

use e2e::Load;
use postgres::Client;
use testkit::{Shutdown, wait_until};

use super::random::Random;
use super::{PATIENCE, WRITERS};
use crate::Result;
use crate::process::{Interrupt, pause};
use site::Site;

/// How long a drill does damage at most.
const DRILL: Duration = Duration::from_secs(20);

/// One step of the plan.
#[derive(Debug, Clone, Copy)]
enum Action {
    /// One of our programs is killed, or ssh or rsync of theirs.
    Kill,
    Master,
    Slave,
    Cut,
    Freeze,
    Backup,
    Restore,
    Sync,
    Daemon,
    Pause,
    Continue,
    Expire,
    Switch,
}

/// How often each action comes.
const WEIGHTS: [(Action, u32); 13] = [
    (Action::Kill, 36),
    (Action::Master, 4),
    (Action::Slave, 5),
    (Action::Cut, 5),
    (Action::Freeze, 2),
    (Action::Backup, 14),
    (Action::Restore, 8),
    (Action::Sync, 10),
    (Action::Daemon, 8),
    (Action::Pause, 3),
    (Action::Continue, 4),
    (Action::Expire, 4),
    (Action::Switch, 5),
];

/// A series of drills.
pub(super) struct Run {
    random: Random,
    faults: BTreeMap<String, u32>,
    drills: u32,
    transactions: i64,
}

impl Run {
    pub(super) fn new(seed: u64) -> Run {
        Run {
            random: Random::new(seed),
            faults: BTreeMap::new(),
            drills: 0,
            transactions: 0,
        }
    }

    /// Drills for `time`, one at least; says what happened.
    pub(super) fn play(mut self, time: Duration, interrupt: &Interrupt) -> Result<String> {
        let start = Instant::now();
        let mut text = String::new();
        loop {
            let left = time.saturating_sub(start.elapsed());
            let drill = Drill::begin(&mut self)?;
            let line = drill.play(left.min(DRILL), interrupt)?;
            self.drills += 1;
            writeln!(text, "  drill {}: {line}", self.drills)?;
            if start.elapsed() >= time {
                break;
            }
        }
        let faults: Vec<String> = self
            .faults
            .iter()
            .map(|(fault, count)| format!("{fault} {count}"))
            .collect();
        writeln!(text, "  faults: {}", faults.join(", "))?;
        writeln!(text, "  transactions: {}", self.transactions)?;
        Ok(text)
    }
}

/// One drill.
struct Drill<'a> {
    run: &'a mut Run,
    site: Site,
    load: Load,
    /// What each writer had committed before the last sync that succeeded.
    synced: Vec<i64>,
}

impl Drill<'_> {
    fn begin(run: &mut Run) -> Result<Drill<'_>> {
        let site = Site::set_up(&mut run.random)?;
        let mut db = site.master.connect("postgres")?;
        db.batch_execute(Load::TABLES)?;
        db.batch_execute(Load::ROWS)?;
        let load = Load::start(&site.master.conninfo("postgres"), WRITERS);
        Ok(Drill {
            run,
            site,
            load,
            synced: Vec::new(),
        })
    }

    fn play(mut self, time: Duration, interrupt: &Interrupt) -> Result<String> {
        let start = Instant::now();
        while start.elapsed() < time {
            interrupt.check()?;
            pause(self.run.random.millis(20, 500));
            let chosen = self.run.random.weighted(&WEIGHTS);
            if let Some(name) = self.act(chosen)? {
                *self.run.faults.entry(name).or_default() += 1;
            }
        }
        self.settle()?;
        self.fail_over()
    }

    /// Does something; its name, unless it could not be done.
    fn act(&mut self, chosen: Action) -> Result<Option<String>> {
        let random = &mut self.run.random;
        let site = &mut self.site;
        let done = match chosen {
            Action::Kill => {
                // Now and then a moment later, when more of it is there.
                pause(random.millis(0, 150));
                return Ok(site.kill_one(random).map(|name| format!("kill {name}")));
            }
            Action::Master => {
                let how = match random.below(4) {
                    0 => Shutdown::Fast,
                    1 => Shutdown::Immediate,
                    _ => Shutdown::Kill,
                };
                site.master.stop(how)?;
                pause(random.millis(0, 500));
                site.master.start_again()?;
                true
            }
            // While it is restored, it is not there to be started.
            Action::Slave => match running(&mut site.restore)? {
                true => false,
                false => {
                    let was_there = site.kill_slave()?;
                    if was_there {
                        site.start_slave()?;
                    }
                    was_there
                }
            },
            Action::Cut => match &site.sshd {
                Some(sshd) => {
                    sshd.cut()?;
                    true
                }
                None => false,
            },
            Action::Freeze => match &site.sshd {
                Some(sshd) => {
                    sshd.freeze()?;
                    pause(random.millis(100, 4000));
                    sshd.thaw()?;
                    true
                }
                None => false,
            },
            Action::Backup => match running(&mut site.backup)? {
                true => false,
                false => {
                    site.backup = Some(site.program("master.ini backup").spawn()?);
                    true
                }
            },
            Action::Restore => match running(&mut site.restore)? {
                true => false,
                false => {
                    let set = random.choose(&["", "", "data.master", "data.master.0"]);
                    let line = format!("slave.ini restore {set}");
                    site.restore = Some(site.program(&line).spawn()?);
                    true
                }
            },
            Action::Sync => return Ok(self.sync()?.then(|| "sync".to_owned())),
            Action::Daemon => match random.below(3) {
                0 => site.run("master.ini syncdaemon -s")?.status.success(),
                _ => site.run("master.ini syncdaemon -d")?.status.success(),
            },
            Action::Pause => site.run("slave.ini pause")?.status.success(),
            Action::Continue => site.run("slave.ini continue")?.status.success(),
            Action::Expire => site.run("slave.ini expire")?.status.success(),
            Action::Switch => {
                let mut db = site.master.connect("postgres")?;
                db.batch_execute("select pg_switch_wal()")?;
                true
            }
        };
        let name = format!("{chosen:?}").to_lowercase();
        Ok(done.then_some(name))
    }

    /// Ships unfinished WAL, and notes what is safe then.
    fn sync(&mut self) -> Result<bool> {
        let before = numbers(&mut self.site.master.connect("postgres")?)?;
        let is_done = self.site.run("master.ini sync")?.status.success();
        if is_done {
            self.synced = before;
        }
        Ok(is_done)
    }

    /// Lets what runs end, and insists on a backup and a standby.
    fn settle(&mut self) -> Result {
        let working = [self.site.backup.take(), self.site.restore.take()];
        for mut running in working.into_iter().flatten() {
            // Whether it succeeds does not matter.
            running.wait(PATIENCE)?;
        }
        let site = &self.site;
        site.run("master.ini syncdaemon -k")?;
        site.succeed_in_time("slave.ini continue", PATIENCE)?;
        site.succeed_in_time("master.ini backup", PATIENCE)?;
        let is_standby = || {
            let row = site.slave()?.query_one("select pg_is_in_recovery()", &[])?;
            Ok::<bool, crate::Error>(row.get(0))
        };
        if self.run.random.one_in(2) || !is_standby().unwrap_or(false) {
            site.succeed_in_time("slave.ini restore", PATIENCE)?;
        }
        wait_until("the standby to take connections", PATIENCE, || {
            Ok(is_standby().unwrap_or(false))
        })
        .map_err(|error| format!("{error}\n{}", site.logs()).into())
    }

    /// The master dies for good, and the standby takes over.
    fn fail_over(mut self) -> Result<String> {
        let disk_is_left = self.run.random.one_in(2);
        if !disk_is_left {
            wait_until("a sync to succeed", PATIENCE, || self.sync())?;
        }
        self.site.master.stop(Shutdown::Kill)?;
        if disk_is_left {
            self.try_and_kill("master.ini sync")?;
        }
        self.try_and_kill("slave.ini boot")?;
        let mut db = self.site.slave()?;
        let row = db.query_one("select pg_is_in_recovery()", &[])?;
        let mut problems = Vec::new();
        if row.get(0) {
            problems.push("it is still in recovery after boot".to_owned());
        }
        let found = numbers(&mut db)?;
        let lost = self
            .synced
            .iter()
            .zip(&found)
            .any(|(synced, found)| found < synced);
        if lost {
            problems.push(format!("synced {:?}, and there are {found:?}", self.synced));
        }
        // With the disk, they insist on what was acknowledged.
        self.load
            .redirect(&self.site.slave_conninfo(), !disk_is_left);
        let goal: i64 = found.iter().sum::<i64>() + 20;
        wait_until("writers to go on", PATIENCE, || {
            Ok(numbers(&mut db)?.iter().sum::<i64>() >= goal)
        })?;
        let written = self.load.stop()?;
        problems.extend(Load::problems(&mut db, &written)?);
        problems.extend(left_behind(&self.site)?);
        self.run.transactions += written.iter().sum::<i64>();
        if !problems.is_empty() {
            let logs = self.site.logs();
            return Err(format!("{}\n{logs}", problems.join("\n")).into());
        }
        Ok(format!(
            "{}, {}, all there: {} rows",
            match self.site.sshd {
                Some(_) => "behind ssh",
                None => "on one machine",
            },
            match disk_is_left {
                true => "from the master's disk",
                false => "up to the last sync",
            },
            found.iter().sum::<i64>(),
        ))
    }

    /// Runs a line that may be killed at first, and then has to succeed.
    fn try_and_kill(&mut self, line: &str) -> Result {
        while self.run.random.one_in(2) {
            let mut running = self.site.program(line).spawn()?;
            pause(self.run.random.millis(0, 600));
            running.kill()?;
            *self
                .run
                .faults
                .entry("kill at the end".to_owned())
                .or_default() += 1;
        }
        self.site.succeed_in_time(line, PATIENCE)
    }
}

/// Whether a program is still at work.
fn running(program: &mut Option<testkit::Running>) -> Result<bool> {
    Ok(match program {
        Some(running) => running.ended()?.is_none(),
        None => false,
    })
}

/// The last number of each writer, where there are no others missing.
fn numbers(db: &mut Client) -> Result<Vec<i64>> {
    let rows = db.query(
        "select coalesce(max(number), 0) from generate_series(1, $1) writer left join ledger using (writer) \
         group by writer order by writer",
        &[&WRITERS],
    )?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// What should not be on the slave in the end.
fn left_behind(site: &Site) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    let conflict = site.path("ship/logs.complete/.walmgr/conflict");
    for entry in fs::read_dir(conflict).into_iter().flatten().flatten() {
        problems.push(format!("refused: {}", entry.file_name().display()));
    }
    let verified = site.run("slave.ini verify --all")?;
    if verified.status.code() == Some(3) {
        problems.push(format!("verify: {}", verified.stdout));
    }
    for name in ["master.log", "slave.log"] {
        let log = fs::read_to_string(site.path(name)).unwrap_or_default();
        let panics = log.lines().filter(|line| line.contains("panicked"));
        problems.extend(panics.map(|line| format!("{name}: {line}")));
    }
    Ok(problems)
}
