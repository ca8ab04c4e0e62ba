//! `cargo xtask sql`: what is generated from the files below `sql/`.

mod dist;
#[cfg(test)]
mod pages;
mod reference;
pub(crate) mod source;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use crate::Result;

/// The SQL reference, below the directory of the workspace.
const PAGE: &str = "docs/pgq-sql.md";

/// Build the installers in `sql/dist` and the SQL reference from the files below `sql`
///
/// Each installer is one file of plain SQL, for psql and for drivers; the reference is
/// `docs/pgq-sql.md`. To be run after every change below `sql`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Change nothing; fail with a list of the files that are not up to date
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let sql = source::directory();
    let built = dist::build(&sql)?;
    let directory = sql.join("dist");
    let stale = stale(&directory, &built)?;
    let page = stale_page(&sql)?;
    if args.check {
        for name in &stale {
            println!("not up to date: sql/dist/{name}");
        }
        if page.is_some() {
            println!("not up to date: {PAGE}");
        }
        if !stale.is_empty() || page.is_some() {
            println!("to build them: cargo xtask sql");
            return Ok(ExitCode::FAILURE);
        }
        return Ok(ExitCode::SUCCESS);
    }
    fs::create_dir_all(&directory)?;
    for name in stale {
        match built.get(&name) {
            Some(text) => fs::write(directory.join(&name), text)?,
            None => fs::remove_file(directory.join(&name))?,
        }
        println!("sql/dist/{name}");
    }
    if let Some(text) = page {
        fs::write(sql.with_file_name(PAGE), text)?;
        println!("{PAGE}");
    }
    Ok(ExitCode::SUCCESS)
}

/// The SQL reference, if it differs from what is there.
fn stale_page(sql: &Path) -> Result<Option<String>> {
    let page = reference::build(sql)?;
    let found = fs::read_to_string(sql.with_file_name(PAGE)).ok();
    Ok((found.as_ref() != Some(&page)).then_some(page))
}

/// Names of files that are missing, differ, or have nothing to be built from.
fn stale(directory: &Path, built: &BTreeMap<String, String>) -> Result<Vec<String>> {
    let mut stale: Vec<String> = built
        .iter()
        .filter(|(name, text)| {
            fs::read_to_string(directory.join(name)).map_or(true, |found| found != **text)
        })
        .map(|(name, _)| name.clone())
        .collect();
    if directory.exists() {
        for entry in fs::read_dir(directory)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if !built.contains_key(&name) {
                stale.push(name);
            }
        }
    }
    stale.sort();
    Ok(stale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_installers_are_up_to_date() -> Result {
        let sql = source::directory();
        let stale = stale(&sql.join("dist"), &dist::build(&sql)?)?;
        assert!(stale.is_empty(), "run `cargo xtask sql`: {stale:?}");
        Ok(())
    }

    #[test]
    fn the_sql_reference_is_up_to_date() -> Result {
        let stale = stale_page(&source::directory())?;
        assert!(stale.is_none(), "run `cargo xtask sql`");
        Ok(())
    }

    #[test]
    fn missing_changed_and_left_over_files_are_stale() -> Result {
        let directory = tempfile::tempdir()?;
        let built: BTreeMap<String, String> = ["a", "b", "c"]
            .map(|name| (name.to_owned(), name.to_owned()))
            .into();
        fs::write(directory.path().join("a"), "a")?;
        fs::write(directory.path().join("b"), "changed")?;
        fs::write(directory.path().join("d"), "left over")?;
        assert_eq!(stale(directory.path(), &built)?, ["b", "c", "d"]);
        Ok(())
    }
}
