//! The process dies at each step of a serial or remote consumer: nothing is lost, nothing comes twice.

use std::process::Command;

use pgq::Error;
use pgq::batch::Disposition;
use pgq::consumer::{Consumer, LockLevel, RemoteConsumer, SerialConsumer};
use skytools::daemon::Work;
use testkit::{Cluster, TestResult};

use crate::support::{
    applied, apply, config, consumer, context, database, install, produce, queue, with_queue,
};

const STEPS: [&str; 4] = [
    "consumer.after_next_batch",
    "consumer.before_target_commit",
    "consumer.after_target_commit",
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
        "remote" => {
            let mut consumer = RemoteConsumer::new(database(src)?, database(dst)?, config);
            while consumer.work(&mut context, |tx, event| {
                apply(tx, event)?;
                Ok::<_, Error>(Disposition::Done)
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

fn crash_at(step: &str, kind: &str, src: &str, dst: &str) -> TestResult {
    let output = Command::new(std::env::current_exe()?)
        .args(["--exact", "crash::child", "--ignored", "--nocapture"])
        .env("PGQ_TEST_KIND", kind)
        .env("PGQ_TEST_STEP", step)
        .env("PGQ_TEST_SRC", src)
        .env("PGQ_TEST_DST", dst)
        .output()?;
    // SIGABRT, and not a failure of the child by itself.
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), None, "{step} was not reached: {text}");
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
        let place = if kind == "plain" { &mut src } else { &mut dst };
        assert_eq!(applied(place)?, expected, "after a crash at {step}");
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
    survives(
        "plain",
        &[
            "consumer.after_next_batch",
            "consumer.before_source_commit",
            "consumer.after_finish",
        ],
    )
}
