//! Configuration files, from text to typed structs.

mod files;
mod ini_and_toml;
mod values;

use std::path::PathBuf;

use skytools::config::{ConfigError, Settings};
use testkit::TestResult;

/// A file in a directory of its own.
struct File {
    dir: tempfile::TempDir,
    name: &'static str,
}

impl File {
    fn new(name: &'static str, text: &str) -> TestResult<File> {
        let dir = tempfile::tempdir()?;
        std::fs::write(dir.path().join(name), text)?;
        Ok(File { dir, name })
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join(self.name)
    }

    fn load(&self) -> Result<Settings, ConfigError> {
        Settings::load(&self.path(), &["job"], &[])
    }
}

fn ini(text: &str) -> TestResult<Settings> {
    Ok(File::new("x.ini", text)?.load()?)
}

fn toml(text: &str) -> TestResult<Settings> {
    Ok(File::new("x.toml", text)?.load()?)
}

/// One key of the main section.
fn get<T: serde::de::DeserializeOwned>(settings: &Settings, key: &str) -> Result<T, String> {
    let value = settings.main_section().get(key);
    value
        .map_err(|error| error.to_string())?
        .ok_or_else(|| format!("{key} is not set"))
}

/// What is wrong with a file or a key, without the path that precedes it.
fn problem<T: serde::de::DeserializeOwned + std::fmt::Debug>(value: &str) -> TestResult<String> {
    let settings = ini(&format!("[job]\nkey = {value}\n"))?;
    let error = get::<T>(&settings, "key").expect_err("a bad value");
    let (_, problem) = error.split_once(": ").ok_or("no path")?;
    Ok(problem.to_owned())
}
