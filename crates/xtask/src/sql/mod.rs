//! `cargo xtask sql`: what is generated from the files below `sql/`.

mod dist;
pub(crate) mod source;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use crate::Result;

/// Build the installers in `sql/dist` from the files below `sql`
///
/// Each is one file of plain SQL, for psql and for drivers. To be run after every change below
/// `sql`.
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
    if args.check {
        for name in &stale {
            println!("not up to date: sql/dist/{name}");
        }
        if !stale.is_empty() {
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
    Ok(ExitCode::SUCCESS)
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
