//! Installing SQL that is embedded in a program.
//!
//! SQL lives in `sql/<schema>/`, and an `install.sql` there names its files in order, one `\ir` line
//! each: `psql -f` and the programs read the same list. A program embeds the directories, which makes
//! a [`Scripts`], and installs a list of [`Object`]s, each with the script that makes it:
//!
//! ```no_run
//! use include_dir::Dir;
//! use skytools::install::{Item, Object, Scripts, install};
//!
//! # static LONDISTE: Dir<'static> = Dir::new("", &[]);
//! // static LONDISTE: Dir = include_dir!("$CARGO_MANIFEST_DIR/../../sql/londiste");
//! static SCRIPTS: Scripts = Scripts { directories: &[("londiste", &LONDISTE)] };
//!
//! # fn run(tx: &mut skytools::db::Tx<'_>) -> Result<(), skytools::install::InstallError> {
//! install(tx, &SCRIPTS, &[Item::new(Object::Schema("londiste"), "londiste/install.sql")])
//! # }
//! ```
//!
//! `SKYTOOLS_SQL_DIR` names a directory whose files are taken instead of the embedded ones. The crate
//! that embeds needs a `build.rs` with `cargo::rerun-if-changed=../../sql`, or Cargo misses new files.

use std::borrow::Cow;
use std::path::{Component, Path, PathBuf};

use include_dir::Dir;
use postgres::error::ErrorPosition;
use postgres::types::Type;
use tracing::{debug, info, warn};

use crate::db::{DbError, During, GenericClient, Tx};

/// Environment variable with a directory that replaces the embedded SQL.
const SQL_DIR_VARIABLE: &str = "SKYTOOLS_SQL_DIR";

/// First key of the advisory lock that serialises installing: `pgqU` as a number.
const INSTALL_LOCK: i32 = 1_885_827_413;

/// What can go wrong while objects are installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// A script, or a file that it names, does not exist.
    #[error("File not found: {0}")] // text fixed by the reference
    NotFound(String),
    /// A file exists and cannot be read.
    #[error("cannot read {file}")]
    Read {
        /// The file.
        file: String,
        /// Why.
        source: std::io::Error,
    },
    /// A script holds a psql command other than `\ir FILE`.
    #[error("{file}, line {line}: only \\ir FILE is understood here, not {text:?}")]
    BadLine {
        /// The script.
        file: String,
        /// Line number, from 1.
        line: usize,
        /// The line.
        text: String,
    },
    /// A script names itself, directly or through others.
    #[error("{0} includes itself")]
    Recursion(String),
    /// A statement failed; the step names the file and the line.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Directories of SQL scripts, embedded in the program.
#[derive(Debug, Clone, Copy)]
pub struct Scripts {
    /// Each with its name below `sql/`.
    pub directories: &'static [(&'static str, &'static Dir<'static>)],
}

/// The numbers of a version such as `3.6.0`, for comparison; trailing zeroes do not count.
pub fn version_numbers(version: &str) -> Vec<u64> {
    let mut numbers: Vec<u64> = version
        .split('.')
        .map(|part| {
            let digits: String = part.chars().take_while(char::is_ascii_digit).collect();
            digits.parse().unwrap_or(0)
        })
        .collect();
    while numbers.last() == Some(&0) {
        numbers.pop();
    }
    numbers
}

/// A file of SQL statements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlFile {
    /// Its path below `sql/`: `pgq/functions/pgq.ticker.sql`.
    pub path: String,
    /// Its text.
    pub text: Cow<'static, str>,
}

impl Scripts {
    /// The files of a script in order: what its `\ir` lines name, and what those name in turn.
    /// A script without such a line is one file. `script` is a path below `sql/`.
    ///
    /// # Errors
    /// A file is missing or not readable, or a line is not understood.
    pub fn files(&self, script: &str) -> Result<Vec<SqlFile>, InstallError> {
        let mut files = Vec::new();
        self.collect(Path::new(script), &mut Vec::new(), &mut files)?;
        Ok(files)
    }

    /// Version of a schema, which its function `version` returns: `3.6.0`; empty if it has none.
    pub fn version(&self, schema: &str) -> String {
        let files = self.files(&format!("{schema}/functions/{schema}.version.sql"));
        let of_line = |line: &str| {
            let version = line.trim().strip_prefix("return '")?.strip_suffix("';")?;
            Some(version.to_owned())
        };
        files
            .iter()
            .flatten()
            .find_map(|file| file.text.lines().find_map(of_line))
            .unwrap_or_default()
    }

    /// Runs a script in the caller's transaction, whatever exists already.
    ///
    /// # Errors
    /// A file is missing, or a statement fails: the error names the file and the line.
    pub fn run(&self, db: &mut impl GenericClient, script: &str) -> Result<(), InstallError> {
        for file in self.files(script)? {
            debug!(file = file.path, "running");
            if let Err(error) = db.batch_execute(&file.text) {
                let step = format!("run {}", place_of(&file, &error));
                return Err(Err::<(), _>(error)
                    .during(step)
                    .expect_err("it failed")
                    .into());
            }
        }
        Ok(())
    }

    /// Adds the files of `script`; `open` holds the scripts that are being read.
    fn collect(
        &self,
        script: &Path,
        open: &mut Vec<PathBuf>,
        files: &mut Vec<SqlFile>,
    ) -> Result<(), InstallError> {
        let path = script.to_string_lossy().into_owned();
        if open.iter().any(|outer| outer == script) {
            return Err(InstallError::Recursion(path));
        }
        let text = self.read(script)?;
        let includes = include_lines(&path, &text)?;
        if includes.is_empty() {
            files.push(SqlFile { path, text });
            return Ok(());
        }
        open.push(script.to_owned());
        let directory = script.parent().unwrap_or(Path::new(""));
        for include in includes {
            self.collect(&normal(&directory.join(include)), open, files)?;
        }
        open.pop();
        Ok(())
    }

    /// The text of a file: of the directory in `SKYTOOLS_SQL_DIR`, or the embedded one.
    fn read(&self, path: &Path) -> Result<Cow<'static, str>, InstallError> {
        let not_found = || InstallError::NotFound(path.to_string_lossy().into_owned());
        if let Some(directory) = std::env::var_os(SQL_DIR_VARIABLE) {
            let file = Path::new(&directory).join(path);
            return match std::fs::read_to_string(&file) {
                Ok(text) => Ok(text.into()),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    Err(InstallError::NotFound(file.display().to_string()))
                }
                Err(source) => Err(InstallError::Read {
                    file: file.display().to_string(),
                    source,
                }),
            };
        }
        self.directories
            .iter()
            .filter_map(|(name, dir)| dir.get_file(path.strip_prefix(name).ok()?))
            .find_map(|file| file.contents_utf8())
            .map(Cow::Borrowed)
            .ok_or_else(not_found)
    }
}

/// The files that the `\ir` lines of a script name; none in a file of statements.
fn include_lines(file: &str, text: &str) -> Result<Vec<String>, InstallError> {
    let mut includes = Vec::new();
    let mut statement = None;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(name) = line.strip_prefix("\\ir ") {
            includes.push(name.trim().to_owned());
        } else if !line.is_empty() && !line.starts_with("--") {
            statement.get_or_insert((index + 1, line));
        }
    }
    match statement {
        Some((line, text)) if !includes.is_empty() => Err(InstallError::BadLine {
            file: file.to_owned(),
            line,
            text: text.to_owned(),
        }),
        _ => Ok(includes),
    }
}

/// Resolves `..` by name: embedded files have no file system.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                normal.pop();
            }
            Component::CurDir => {}
            other => normal.push(other),
        }
    }
    normal
}

/// `pgq/tables/pgq.tick.sql, line 3: create table …`, as far as the server says where.
fn place_of(file: &SqlFile, error: &postgres::Error) -> String {
    let position = error.as_db_error().and_then(|error| error.position());
    let Some(ErrorPosition::Original(position)) = position else {
        return file.path.clone();
    };
    // The server counts characters, from 1.
    let before: String = file
        .text
        .chars()
        .take((*position as usize).saturating_sub(1))
        .collect();
    let line = before.matches('\n').count();
    let text = file.text.lines().nth(line).unwrap_or_default().trim();
    format!("{}, line {}: {text}", file.path, line + 1)
}

/// A thing in a database that is there or has to be installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Object {
    /// A schema.
    Schema(&'static str),
    /// A table, `schema.name`, unquoted.
    Table(&'static str),
    /// A function with its number of arguments; a name without a schema is looked for in `public`
    /// and `pg_catalog`.
    Function(&'static str, i16),
}

impl Object {
    /// The name, as messages show it.
    pub fn name(&self) -> &'static str {
        match self {
            Object::Schema(name) | Object::Table(name) | Object::Function(name, _) => name,
        }
    }

    /// Whether the database has it.
    ///
    /// # Errors
    /// The statement failed.
    pub fn exists(&self, db: &mut impl GenericClient) -> Result<bool, DbError> {
        let step = || format!("look for {}", self.name());
        let row = match *self {
            Object::Schema(name) => db.query_typed_one(
                "select exists (select from pg_catalog.pg_namespace where nspname = $1)",
                &[(&name, Type::TEXT)],
            ),
            Object::Table(name) => {
                let (schema, name) = name.split_once('.').unwrap_or(("public", name));
                db.query_typed_one(
                    "select exists (select from pg_catalog.pg_class c \
                     join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
                     where n.nspname = $1 and c.relname = $2 and c.relkind in ('r', 'p'))",
                    &[(&schema, Type::TEXT), (&name, Type::TEXT)],
                )
            }
            Object::Function(name, arguments) => {
                let (schemas, name) = match name.split_once('.') {
                    Some((schema, name)) => (vec![schema], name),
                    None => (vec!["public", "pg_catalog"], name),
                };
                db.query_typed_one(
                    "select exists (select from pg_catalog.pg_proc p \
                     join pg_catalog.pg_namespace n on n.oid = p.pronamespace \
                     where n.nspname = any ($1) and p.proname = $2 and p.pronargs = $3)",
                    &[
                        (&schemas, Type::TEXT_ARRAY),
                        (&name, Type::TEXT),
                        (&arguments, Type::INT2),
                    ],
                )
            }
        };
        Ok(row.during(step())?.get(0))
    }
}

/// An object and the script that makes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Item {
    object: Object,
    script: &'static str,
}

impl Item {
    /// An object, made by a script below `sql/`.
    pub const fn new(object: Object, script: &'static str) -> Item {
        Item { object, script }
    }
}

/// Installs what is missing of a list, in order and in the caller's transaction, which must commit.
///
/// What exists is left alone. Others who install wait until the transaction ends.
///
/// # Errors
/// The role lacks a privilege, or a file fails: the error names it.
pub fn install(tx: &mut Tx<'_>, scripts: &Scripts, items: &[Item]) -> Result<(), InstallError> {
    lock(tx)?;
    for item in items {
        let name = item.object.name();
        if item.object.exists(&mut **tx)? {
            info!("{name} is installed");
            if let Some(extension) = extension_of(tx, item.object)? {
                warn!(
                    "{name} belongs to the extension {extension}, which is not this program's: \
                     it may lack functions and fixes"
                );
            }
            continue;
        }
        info!("Installing {name}");
        info!("  Reading from {}", item.script);
        scripts.run(&mut **tx, item.script)?;
    }
    Ok(())
}

/// Waits for the lock under which schemas are installed and upgraded; held to the transaction's end.
///
/// # Errors
/// The statement failed.
pub fn lock(tx: &mut Tx<'_>) -> Result<(), DbError> {
    tx.query_typed(
        "select pg_catalog.pg_advisory_xact_lock($1, 0)",
        &[(&INSTALL_LOCK, Type::INT4)],
    )
    .during("wait for other installers")?;
    Ok(())
}

/// Name and version of the extension that a schema belongs to.
fn extension_of(tx: &mut Tx<'_>, object: Object) -> Result<Option<String>, DbError> {
    let Object::Schema(name) = object else {
        return Ok(None);
    };
    let row = tx
        .query_typed(
            "select pg_catalog.concat(e.extname, ' ', e.extversion) \
             from pg_catalog.pg_namespace n \
             join pg_catalog.pg_depend d on d.classid = 'pg_catalog.pg_namespace'::regclass \
              and d.objid = n.oid and d.deptype = 'e' \
             join pg_catalog.pg_extension e on e.oid = d.refobjid \
             where n.nspname = $1",
            &[(&name, Type::TEXT)],
        )
        .during(format!("look for the extension of {name}"))?;
    Ok(row.first().map(|row| row.get(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_their_numbers() {
        assert!(version_numbers("2.1.13") < version_numbers("3.5"));
        assert!(version_numbers("3.10") > version_numbers("3.6.0"));
        assert_eq!(version_numbers("3.6"), version_numbers("3.6.0"));
        assert!(version_numbers("3.6.1") > version_numbers("3.6"));
    }

    #[test]
    fn a_script_is_its_include_lines() -> Result<(), InstallError> {
        let lines = include_lines("x", "-- list\n\\ir a.sql\n\n  \\ir ../b.sql \n")?;
        assert_eq!(lines, ["a.sql", "../b.sql"]);
        assert!(include_lines("x", "select 1;\n")?.is_empty());
        Ok(())
    }

    #[test]
    fn statements_beside_include_lines_are_refused() {
        let error = include_lines("pgq/install.sql", "\\ir a.sql\n\\echo done\n").unwrap_err();
        assert_eq!(
            error.to_string(),
            "pgq/install.sql, line 2: only \\ir FILE is understood here, not \"\\\\echo done\""
        );
    }

    #[test]
    fn parent_directories_are_resolved_by_name() {
        assert_eq!(
            normal(Path::new("pgq_ext/../pgq/./roles.sql")),
            Path::new("pgq/roles.sql")
        );
    }
}
