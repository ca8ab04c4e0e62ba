//! Worked examples of a page of the documentation, run as they are typed there.

use std::fs;
use std::process::{Command, Stdio};

use crate::{Cluster, TestResult, bin};

/// Runs the examples of a page in an empty directory, against a cluster of which they are told by the
/// environment.
///
/// Blocks count by their language: `ini` that begins with `# NAME` is written to that file; `sh` is
/// run, each line has to succeed; `text` is what the block before it has printed on stdout. Others are
/// for the reader. False if the page needs `psql` and the server came without.
///
/// # Errors
/// A line fails, or prints something else than the page says.
pub fn run_page(page: &str, cluster: &Cluster) -> TestResult<bool> {
    if page.contains("\npsql ") && !cluster.bindir().join("psql").exists() {
        return Ok(false);
    }
    let dir = tempfile::tempdir()?;
    let mut printed = String::new();
    for (language, block) in blocks(page) {
        match language {
            "ini" => {
                let name = block
                    .lines()
                    .next()
                    .and_then(|line| line.strip_prefix("# "));
                if let Some(name) = name {
                    fs::write(dir.path().join(name), block)?;
                }
            }
            "sh" => {
                printed.clear();
                for line in joined(block).lines() {
                    printed.push_str(&run(line, dir.path(), cluster)?);
                }
            }
            "text" if printed.trim_end() != block.trim_end() => {
                return Err(format!("the page shows\n{block}\nand it is\n{printed}").into());
            }
            _ => {}
        }
    }
    Ok(true)
}

/// The fenced blocks, with the language of each.
fn blocks(page: &str) -> impl Iterator<Item = (&str, &str)> {
    // Every other part is inside of a fence.
    page.split("```")
        .skip(1)
        .step_by(2)
        .filter_map(|part| part.split_once('\n'))
}

/// Lines that end in a backslash go on in the next one.
fn joined(block: &str) -> String {
    block.replace("\\\n", " ")
}

fn run(line: &str, dir: &std::path::Path, cluster: &Cluster) -> TestResult<String> {
    let programs = bin("pgqadm");
    let programs = programs.parent().ok_or("a program is in a directory")?;
    let path = std::env::var("PATH")?;
    let output = Command::new("sh")
        .args(["-c", line])
        .current_dir(dir)
        .stdin(Stdio::null())
        .env(
            "PATH",
            format!(
                "{}:{}:{path}",
                programs.display(),
                cluster.bindir().display()
            ),
        )
        .env("PGHOST", cluster.socket_dir())
        .env("PGPORT", cluster.port().to_string())
        .env("PGUSER", "postgres")
        .output()?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{line}: {}\n{errors}", output.status).into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
