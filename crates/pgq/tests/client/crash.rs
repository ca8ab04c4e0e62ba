//! The process dies at each step of a serial or remote consumer: nothing is lost, nothing comes twice.

use std::path::Path;
use std::process::{Command, ExitStatus};

use pgq::Error;
use pgq::batch::Disposition;
use pgq::consumer::{
    Consumer, CoopConsumer, LocalConsumer, LockLevel, RemoteConsumer, SerialConsumer,
};
use skytools::daemon::Work;
use testkit::{Cluster, TestResult};

use crate::support::{
    applied, apply, config, consumer, context, database, install, open, produce, queue, with_queue,
};

const STEPS: [&str; 4] = [
    "consumer.after_next_batch",
    "consumer.before_target_commit",
    "consumer.after_target_commit",
    "consumer.after_finish",
];

/// Those of a consumer without a target.
const SOURCE_STEPS: [&str; 3] = [
    "consumer.after_next_batch",
    "consumer.before_source_commit",
    "consumer.after_finish",
];

/// A consumer in a process of its own, which dies at a step. Not a test by itself.
#[test]
#[ignore = "run by the other tests, with its variables set"]
fn child() -> TestResult {
    let kind = std::env::var("PGQ_TEST_KIND")?;
    let (src, dst) = (
        std::env::var("PGQ_TEST_SRC")?,
        std::env::var("PGQ_TEST_DST")?,
    );
    fail::cfg_callback(std::env::var("PGQ_TEST_STEP")?, || std::process::abort())?;
    drain(&kind, &src, &dst)
}

/// Runs a consumer until it has nothing to do.
fn drain(kind: &str, src: &str, dst: &str) -> TestResult {
    let config = config(LockLevel::Session);
    let mut context = context();
    match kind {
        "plain" => {
            let mut consumer = Consumer::new(database(src)?, config);
            while consumer.work(&mut context, |tx, event| {
                apply(tx, event)?;
                Ok::<_, Error>(Disposition::Done)
            })? == Work::More
            {}
        }
        "coop" => {
            let mut config = config;
            config.subconsumer = Some("member".into());
            let mut consumer = CoopConsumer::new(database(src)?, config)?;
            while consumer.work(&mut context, |tx, event| {
                apply(tx, event)?;
                Ok::<_, Error>(Disposition::Done)
            })? == Work::More
            {}
        }
        "remote" => {
            let mut consumer = RemoteConsumer::new(database(src)?, database(dst)?, config);
            while consumer.work(&mut context, |tx, event| {
                apply(tx, event)?;
                Ok::<_, Error>(Disposition::Done)
            })? == Work::More
            {}
        }
        "local" => {
            let mut config = config;
            config.tracking_file = Some(std::env::var("PGQ_TEST_FILE")?.into());
            let mut consumer = LocalConsumer::new(database(src)?, config)?;
            // Not a part of what the consumer commits.
            let mut outside = open(dst)?;
            while consumer.work(&mut context, |events| {
                while let Some(event) = events.next()? {
                    let mut tx = outside.begin()?;
                    apply(&mut tx, &event)?;
                    tx.commit()?;
                }
                Ok::<_, Error>(())
            })? == Work::More
            {}
        }
        _ => {
            let mut consumer =
                SerialConsumer::new(database(src)?, database(dst)?, "pgq_ext", config);
            while consumer.work(&mut context, |events, tx| {
                while let Some(event) = events.next()? {
                    apply(tx, &event)?;
                }
                Ok::<_, Error>(())
            })? == Work::More
            {}
        }
    }
    Ok(())
}

/// Runs a consumer in a process that dies at a step.
fn child_at(
    step: &str,
    kind: &str,
    src: &str,
    dst: &str,
    file: Option<&Path>,
) -> TestResult<ExitStatus> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["--exact", "crash::child", "--ignored", "--nocapture"])
        .env("PGQ_TEST_KIND", kind)
        .env("PGQ_TEST_STEP", step)
        .env("PGQ_TEST_SRC", src)
        .env("PGQ_TEST_DST", dst);
    if let Some(file) = file {
        command.env("PGQ_TEST_FILE", file);
    }
    let output = command.output()?;
    if output.status.code().is_some_and(|code| code != 0) {
        return Err(String::from_utf8_lossy(&output.stdout).into());
    }
    Ok(output.status)
}

fn crash_at(step: &str, kind: &str, src: &str, dst: &str) -> TestResult {
    // SIGABRT, and not a failure of the child by itself.
    let status = child_at(step, kind, src, dst, None)?;
    assert_eq!(status.code(), None, "{step} was not reached");
    Ok(())
}

fn survives(kind: &str, steps: &[&str]) -> TestResult {
    let cluster = Cluster::start()?;
    let mut src = with_queue(&cluster, "src")?;
    let mut dst = install(&cluster, "dst")?;
    for db in [&mut src, &mut dst] {
        db.batch_execute("create table applied (data text)")?;
    }
    let (src_info, dst_info) = (cluster.conninfo("src"), cluster.conninfo("dst"));
    pgq::admin::register_consumer(&mut *src, &queue(), &consumer())?;
    let mut expected = Vec::new();
    for step in steps {
        for part in 0..2 {
            let names: Vec<String> = (0..5).map(|n| format!("{step}/{part}/{n}")).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            produce(&mut src, &names)?;
            expected.extend(names.iter().map(|name| (*name).to_owned()));
        }
        crash_at(step, kind, &src_info, &dst_info)?;
        drain(kind, &src_info, &dst_info)?;
        let place = match kind {
            "plain" | "coop" => &mut src,
            _ => &mut dst,
        };
        assert_eq!(applied(place)?, expected, "after a crash at {step}");
    }
    Ok(())
}

/// As [`survives`], for a consumer whose effects are not in its transactions. They run in a process
/// of their own, since the place of the file is in the environment.
#[test]
fn a_local_consumer_loses_nothing_and_repeats_a_batch_only_before_its_file_is_written() -> TestResult
{
    let cluster = Cluster::start()?;
    let mut src = with_queue(&cluster, "src")?;
    let mut dst = install(&cluster, "dst")?;
    dst.batch_execute("create table applied (data text)")?;
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("tick");
    let (src_info, dst_info) = (cluster.conninfo("src"), cluster.conninfo("dst"));
    let run = |step: &str| child_at(step, "local", &src_info, &dst_info, Some(&file));
    assert_eq!(run("none")?.code(), Some(0), "registers");
    for step in STEPS {
        dst.batch_execute("truncate applied")?;
        produce(&mut src, &["a", "b", "c"])?;
        assert_eq!(run(step)?.code(), None, "{step} was not reached");
        assert_eq!(run("none")?.code(), Some(0));
        let expected: &[&str] = match step {
            "consumer.before_target_commit" => &["a", "b", "c", "a", "b", "c"],
            _ => &["a", "b", "c"],
        };
        assert_eq!(applied(&mut dst)?, expected, "after a crash at {step}");
    }
    Ok(())
}

#[test]
fn a_serial_consumer_applies_exactly_once_whenever_it_dies() -> TestResult {
    survives("serial", &STEPS)
}

#[test]
fn a_remote_consumer_applies_exactly_once_whenever_it_dies() -> TestResult {
    survives("remote", &STEPS)
}

#[test]
fn a_consumer_that_works_at_the_source_applies_exactly_once_whenever_it_dies() -> TestResult {
    survives("plain", &SOURCE_STEPS)
}

#[test]
fn a_member_of_a_cooperative_consumer_applies_exactly_once_whenever_it_dies() -> TestResult {
    survives("coop", &SOURCE_STEPS)
}
