//! The first session of the page about PgQ, as it is typed there.

use std::fs;

use testkit::{Cluster, Job, Program, TestResult, wait_until};

use crate::site::LONG;

const PAGE: &str = include_str!("../../../../docs/pgq.md");

/// The fenced blocks of a section, with the language of each.
fn blocks(section: &str) -> TestResult<Vec<(&'static str, &'static str)>> {
    let (_, text) = PAGE
        .split_once(&format!("\n## {section}\n"))
        .ok_or("no such section")?;
    let (text, _) = text.split_once("\n## ").unwrap_or((text, ""));
    // Every other part is inside of a fence.
    let inside = text.split("```").skip(1).step_by(2);
    Ok(inside.filter_map(|part| part.split_once('\n')).collect())
}

/// The rows of a table that psql printed, without their first column.
fn shown(block: &str) -> Vec<Vec<&str>> {
    let rows = block.lines().skip(2);
    rows.map(|row| row.split('|').skip(1).map(str::trim).collect())
        .collect()
}

#[test]
fn the_first_session_of_the_page_works_as_shown() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = cluster.create_database("shop")?;
    let dir = tempfile::tempdir()?;
    let _ticker = Job::new(dir.path().join("shop_ticker.pid"));
    let run = |line: &str| {
        let words = line.split_whitespace();
        Program::new("pgqadm", dir.path())
            .args(words.skip(1))
            .env("PGHOST", cluster.socket_dir())
            .env("PGPORT", cluster.port().to_string())
            .env("PGUSER", "postgres")
            .succeed()
    };
    let mut received: Vec<(i64, Vec<String>)> = Vec::new();
    for (language, block) in blocks("A first session")? {
        match language {
            "ini" => fs::write(dir.path().join("ticker.ini"), block)?,
            "sh" => {
                for line in block.lines() {
                    run(line)?;
                }
            }
            "sql" if block.contains("pgq.receive") => {
                wait_until("the next tick", LONG, || {
                    let rows = db.query(block, &[])?;
                    received = (rows.iter())
                        .map(|row| {
                            let id: i64 = row.get("ev_id");
                            let texts = ["ev_type", "ev_data"].map(|name| row.get(name));
                            let [kind, data]: [String; 2] = texts;
                            (row.get("batch_id"), vec![id.to_string(), kind, data])
                        })
                        .collect();
                    Ok(!received.is_empty())
                })?;
            }
            // The number of the batch depends on how many ticks there were.
            "sql" if block.contains("pgq.ack(2)") => {
                let (batch, _) = received.first().ok_or("nothing was received")?;
                db.batch_execute(&block.replace("ack(2)", &format!("ack({batch})")))?;
                let left = "select count(*) from pgq.receive('orders', 'mailer')";
                assert_eq!(db.query_one(left, &[])?.get::<_, i64>(0), 0);
            }
            "sql" => db.batch_execute(block)?,
            _ => {
                let rows: Vec<&Vec<String>> = received.iter().map(|(_, row)| row).collect();
                assert_eq!(rows, shown(block).iter().collect::<Vec<_>>());
            }
        }
    }
    let status = run("pgqadm ticker.ini status --check")?.stdout;
    assert!(
        status.contains("orders") && status.contains("mailer"),
        "{status}"
    );
    run("pgqadm ticker.ini -s")?;
    Ok(())
}
