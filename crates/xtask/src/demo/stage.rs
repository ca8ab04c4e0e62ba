//! Where the demo plays: two servers, a working directory with two ini files, and the commands
//! typed there.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use postgres::Client;
use testkit::{Cluster, Job};

use super::display::Display;
use crate::Result;
use crate::process::{self, Interrupt};
use crate::scratch::Scratch;

pub(super) const QUEUE: &str = "demo";
pub(super) const DATABASE: &str = "shop";

const LOGS: [&str; 2] = ["provider_ticker.log", "replic.log"];

/// Two clusters and our programs between them. The order of the fields is that of their end.
#[derive(Debug)]
pub(super) struct Stage {
    traffic: Vec<Traffic>,
    ticker: Job,
    pub(super) replay: Job,
    pub(super) provider: Cluster,
    pub(super) subscriber: Cluster,
    work: PathBuf,
    scratch: Scratch,
}

impl Stage {
    /// Starts the servers, creates a database on each, and writes the ini files.
    pub(super) fn set() -> Result<Stage> {
        let scratch = Scratch::new()?;
        let work = scratch.path().join("work");
        fs::create_dir(&work)?;
        let start = || {
            Cluster::builder()
                .below(scratch.path())
                .setting("shared_buffers", "128MB")
                .setting("max_wal_size", "2GB")
                .setting("fsync", "on")
                .setting("full_page_writes", "on")
                .start()
        };
        let (provider, subscriber) = (start()?, start()?);
        provider.create_database(DATABASE)?;
        subscriber.create_database(DATABASE)?;
        fs::write(
            work.join("provider_ticker.ini"),
            format!(
                "[pgqadm]\n\
                 job_name = provider_ticker\n\
                 db = {}\n\
                 loop_delay = 0.1\n\
                 logfile = provider_ticker.log\n\
                 pidfile = provider_ticker.pid\n",
                provider.conninfo(DATABASE)
            ),
        )?;
        fs::write(
            work.join("replic.ini"),
            format!(
                "[londiste]\n\
                 job_name = replic\n\
                 provider_db = {}\n\
                 subscriber_db = {}\n\
                 pgq_queue_name = {QUEUE}\n\
                 loop_delay = 0.1\n\
                 logfile = replic.log\n\
                 pidfile = replic.pid\n",
                provider.conninfo(DATABASE),
                subscriber.conninfo(DATABASE)
            ),
        )?;
        Ok(Stage {
            traffic: Vec::new(),
            ticker: Job::new(work.join("provider_ticker.pid")),
            replay: Job::new(work.join("replic.pid")),
            provider,
            subscriber,
            work,
            scratch,
        })
    }

    /// Runs one of our programs as a user would type it, and shows both.
    pub(super) fn typed(&self, display: &Display, line: &str) -> Result {
        display.line(&format!("$ {line}"));
        let mut words = line.split(' ');
        let program = words.next().ok_or("nothing to run")?;
        let output = testkit::Program::new(program, &self.work)
            .args(words)
            .output()?;
        for line in output.stdout.lines().chain(output.stderr.lines()) {
            display.line(&format!("  {line}"));
        }
        if !output.status.success() {
            return Err(format!("{line}: {}", output.status).into());
        }
        Ok(())
    }

    pub(super) fn provider_db(&self) -> Result<Client> {
        self.provider.connect(DATABASE)
    }

    pub(super) fn subscriber_db(&self) -> Result<Client> {
        self.subscriber.connect(DATABASE)
    }

    /// Runs pgbench to its end.
    pub(super) fn pgbench(
        &self,
        cluster: &Cluster,
        arguments: &[&str],
        interrupt: &Interrupt,
    ) -> Result {
        let mut command = pgbench(cluster, arguments, &self.work);
        let log = self.log_file("pgbench-init.log")?;
        command.stdout(log.try_clone()?).stderr(log);
        process::succeed(&mut command, interrupt)
            .map_err(|error| format!("{error}\n{}", self.read_log("pgbench-init.log")).into())
    }

    /// Starts pgbench against the provider, at `rate` transactions a second until it is stopped.
    pub(super) fn start_traffic(&mut self, script: Option<(&str, &str)>, rate: u32) -> Result {
        let log = format!("pgbench-{}.log", script.map_or("tpcb", |(name, _)| name));
        let mut arguments = ["-n", "-c", "2", "-T", "86400"].map(str::to_owned).to_vec();
        arguments.push(format!("--rate={rate}"));
        if let Some((name, text)) = script {
            let file = self.work.join(format!("{name}.pgbench"));
            fs::write(&file, text)?;
            arguments.push(format!("--file={}", file.display()));
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let output = self.log_file(&log)?;
        let child = pgbench(&self.provider, &arguments, &self.work)
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()?;
        self.traffic.push(Traffic { child, log });
        Ok(())
    }

    /// Fails if a source of traffic has ended by itself.
    pub(super) fn check_traffic(&mut self) -> Result {
        for traffic in &mut self.traffic {
            if let Some(status) = traffic.child.try_wait()? {
                let log = fs::read_to_string(self.work.join(&traffic.log))?;
                return Err(format!("pgbench ended with {status}:\n{log}").into());
            }
        }
        Ok(())
    }

    pub(super) fn stop_traffic(&mut self) {
        self.traffic.clear();
    }

    /// What replication has logged so far.
    pub(super) fn replication_log(&self) -> String {
        self.read_log("replic.log")
    }

    /// Records of our programs at level WARNING or worse but the `expected` ones.
    pub(super) fn complaints(&self, expected: &[&str]) -> Result<Vec<String>> {
        let mut found = Vec::new();
        for name in LOGS {
            found.extend(testkit::log_problems(&self.work.join(name), expected)?);
        }
        Ok(found)
    }

    /// Logs of our programs, for a failure.
    pub(super) fn log_tails(&self) -> String {
        let mut text = String::new();
        for name in LOGS {
            let log = self.read_log(name);
            let lines: Vec<&str> = log.lines().collect();
            let tail = &lines[lines.len().saturating_sub(15)..];
            text.push_str(&format!("\n--- {name}\n{}\n", tail.join("\n")));
        }
        text
    }

    fn log_file(&self, name: &str) -> Result<File> {
        Ok(File::options()
            .create(true)
            .append(true)
            .open(self.work.join(name))?)
    }

    fn read_log(&self, name: &str) -> String {
        fs::read(self.work.join(name))
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// Lets go of everything, and says how to look around and how to end it.
    pub(super) fn keep(mut self, display: &Display) -> Result {
        self.stop_traffic();
        let programs = testkit::bin("londiste");
        let programs = programs.parent().ok_or("a program lies in a directory")?;
        let (provider, subscriber) = (&self.provider, &self.subscriber);
        let stop_server = |cluster: &Cluster| -> Result<String> {
            let stop = format!(
                "{}/pg_ctl -D {} stop -m fast",
                cluster.bindir().display(),
                cluster.data_dir().display()
            );
            Ok(if rustix::process::geteuid().is_root() {
                format!("su {} -s /bin/sh -c '{stop}'", cluster.owner_name()?)
            } else {
                stop
            })
        };
        let dir = self.scratch.path();
        let stop = dir.join("stop.sh");
        fs::write(
            &stop,
            format!(
                "set -x\ncd {work}\n{programs}/londiste replic.ini replay -s\n\
                 {programs}/pgqadm provider_ticker.ini ticker -s\n{}\n{}\nrm -rf {dir}\n",
                stop_server(provider)?,
                stop_server(subscriber)?,
                work = self.work.display(),
                programs = programs.display(),
                dir = dir.display(),
            ),
        )?;
        display.chapter("Everything is left running; look around with");
        let psql = |cluster: &Cluster| format!("psql '{}'", cluster.conninfo(DATABASE));
        display.line(&format!("{}    # provider", psql(provider)));
        display.line(&format!("{}    # subscriber", psql(subscriber)));
        display.line(&format!("cd {}", self.work.display()));
        display.line(&format!("export PATH={}:$PATH", programs.display()));
        display.line("pgqadm provider_ticker.ini status");
        display.line("londiste replic.ini subscriber tables");
        display.line("londiste replic.ini compare");
        display.line("tail -f replic.log provider_ticker.log");
        display.line("");
        display.line(&format!(
            "sh {}    # ends and deletes it all",
            stop.display()
        ));
        self.ticker.keep();
        self.replay.keep();
        self.provider.keep()?;
        self.subscriber.keep()?;
        self.scratch.keep()
    }
}

fn pgbench(cluster: &Cluster, arguments: &[&str], dir: &Path) -> Command {
    let mut command = Command::new(cluster.bindir().join("pgbench"));
    command
        .args(arguments)
        .arg("-h")
        .arg(cluster.socket_dir())
        .arg("-p")
        .arg(cluster.port().to_string())
        .args(["-U", "postgres", DATABASE])
        .current_dir(dir)
        .stdin(Stdio::null());
    command
}

/// A pgbench that runs until it is dropped.
#[derive(Debug)]
struct Traffic {
    child: Child,
    log: String,
}

impl Drop for Traffic {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
