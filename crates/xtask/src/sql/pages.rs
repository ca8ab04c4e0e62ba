//! Tests of the pages below `docs/`: what they point to is there.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use testkit::{Cluster, TestResult};

use super::source;
use crate::Result;

/// The README and the pages, with their texts.
fn pages() -> Result<Vec<(PathBuf, String)>> {
    let root = source::directory().with_file_name("");
    let mut paths = vec![root.join("README.md")];
    for entry in fs::read_dir(root.join("docs"))? {
        paths.push(entry?.path());
    }
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    let read = |path: PathBuf| Ok((path.clone(), fs::read_to_string(path)?));
    paths.into_iter().map(read).collect()
}

/// `#what-to-watch` of `## What to watch`, as forges make it.
fn anchors(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| {
            let title = line.trim_start_matches('#').trim().to_lowercase();
            let kept = title.chars().filter_map(|c| match c {
                ' ' => Some('-'),
                c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
                _ => None,
            });
            kept.collect()
        })
        .collect()
}

#[test]
fn links_between_pages_lead_somewhere() -> Result {
    let mut broken = Vec::new();
    for (page, text) in pages()? {
        for link in text.split("](").skip(1) {
            let link = link.split(')').next().unwrap_or_default();
            if link.contains("://") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => page.clone(),
                path => page.parent().unwrap_or(Path::new("")).join(path),
            };
            let found = target.exists()
                && (anchor.is_empty() || anchors(&fs::read_to_string(&target)?).contains(anchor));
            if !found {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
    Ok(())
}

#[test]
fn functions_and_tables_that_the_page_of_pgq_names_are_there() -> Result {
    let sql = source::directory();
    let mut known = BTreeSet::new();
    for schema in ["pgq", "pgq_coop", "pgq_ext"] {
        for file in source::files(&sql, &format!("{schema}/install.sql"))? {
            let name = Path::new(&file.path).file_stem().unwrap_or_default();
            known.insert(name.to_string_lossy().into_owned());
        }
    }
    let text = fs::read_to_string(sql.with_file_name("docs/pgq.md"))?;
    let is_name = |c: char| c.is_ascii_lowercase() || c == '_' || c == '.';
    let named: BTreeSet<&str> = text
        .split(|c: char| !is_name(c))
        .map(|word| word.trim_matches('.'))
        .filter(|word| {
            ["pgq.", "pgq_coop.", "pgq_ext."]
                .iter()
                .any(|schema| word.starts_with(schema))
                && !word.ends_with(".md")
        })
        .collect();
    assert!(named.len() > 20, "{named:?}");
    let unknown: Vec<&&str> = named
        .iter()
        .filter(|name| !known.contains(**name))
        .collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    Ok(())
}

/// Blocks of SQL of a page, in order, but for those with words to be replaced.
fn statements(text: &str) -> Vec<&str> {
    text.split("```sql\n")
        .skip(1)
        .filter_map(|block| block.split("```").next())
        .filter(|block| !block.contains("BATCH") && !block.contains("(TABLE"))
        .collect()
}

#[test]
fn the_statements_of_the_page_of_pgq_run_one_after_another() -> TestResult {
    let cluster = Cluster::start()?;
    if !cluster.bindir().join("psql").exists() {
        eprintln!("skipped: PostgreSQL {} came without psql", cluster.major());
        return Ok(());
    }
    let mut db = cluster.create_database("shop")?;
    let sql = source::directory();
    for schema in ["pgq", "pgq_coop", "pgq_ext"] {
        for file in source::files(&sql, &format!("{schema}/install.sql"))? {
            db.batch_execute(&file.text)?;
        }
    }
    // What the page does with pgqadm; the table is that of its reader.
    let mut script =
        "select pgq.create_queue('orders'), pgq.register_consumer('orders', 'mailer');\n\
                      select pgq.set_queue_config('orders', 'ticker_max_lag', '0');\n\
                      create table mail (data text);\n"
            .to_owned();
    let page = fs::read_to_string(sql.with_file_name("docs/pgq.md"))?;
    let statements = statements(&page);
    assert!(statements.len() >= 10, "{statements:?}");
    for (place, block) in statements.into_iter().enumerate() {
        // A ticker ticks meanwhile, and others produce.
        if place > 1 {
            script.push_str("select pgq.send('orders', 'more');\n");
        }
        script.push_str("select pgq.ticker();\n");
        script.push_str(block);
    }
    let mut psql = cluster
        .command("psql")
        .args(["-X", "-v", "ON_ERROR_STOP=1", "-d"])
        .arg(cluster.conninfo("shop"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut input = psql.stdin.take().ok_or("no pipe")?;
    input.write_all(script.as_bytes())?;
    drop(input);
    let output = psql.wait_with_output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert!(!errors.contains("WARNING"), "{errors}");
    // As the page shows it.
    let printed = String::from_utf8_lossy(&output.stdout);
    let line = r#"        2 |     1 | {"op":"INSERT","table":["public","purchase"],"pkey":["id"]} | {"id":1,"customer":"ann","state":"new"}"#;
    assert!(printed.contains(line), "{printed}");
    assert!(page.contains(line));
    Ok(())
}
