//! Keys for ssh: one of our own, and those that let others in.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

use skytools::app::output;

use crate::server::run;
use crate::{Error, durable, files};

/// Public keys that an earlier one may have.
const KEYS: [&str; 3] = ["id_ed25519.pub", "id_ecdsa.pub", "id_rsa.pub"];

/// Makes a key without a passphrase if there is none, and shows the public one.
///
/// # Errors
/// `ssh-keygen` is not there, or fails.
pub(crate) fn generate(home: &Path, dry_run: bool) -> Result<(), Error> {
    let dir = home.join(".ssh");
    let there = KEYS
        .iter()
        .map(|name| dir.join(name))
        .find(|path| path.exists());
    let path = match there {
        Some(path) => path,
        None if dry_run => {
            let key = dir.join("id_ed25519");
            return Ok(output(format!("would make the key {}\n", key.display()))?);
        }
        None => {
            files::create_private_dir(&dir).map_err(|error| Error::io("create", &dir, error))?;
            let key = dir.join("id_ed25519");
            let mut keygen = Command::new("ssh-keygen");
            keygen
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(&key);
            run(keygen.stdin(std::process::Stdio::null()))?;
            dir.join(KEYS[0])
        }
    };
    let text = read(&path)?;
    Ok(output(format!(
        "the key of this user, for --ssh-add-key on the other host:\n{text}"
    ))?)
}

/// Lets in who has a public key.
///
/// # Errors
/// The file holds none, or the list of keys cannot be written.
pub(crate) fn add(home: &Path, file: &Path, dry_run: bool) -> Result<(), Error> {
    let text = read(file)?;
    let new: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .collect();
    if new.is_empty() || !new.iter().all(|line| is_public_key(line)) {
        return Err(Error::Refused(format!(
            "{} holds no public key of ssh",
            file.display()
        )));
    }
    change(home, dry_run, |old| {
        let mut lines: Vec<&str> = old.lines().collect();
        for line in &new {
            if !lines.contains(line) {
                lines.push(line);
            }
        }
        lines.iter().map(|line| format!("{line}\n")).collect()
    })
}

/// Lets in nobody any more whose line has this text.
///
/// # Errors
/// The text is empty, or the list of keys cannot be written.
pub(crate) fn remove(home: &Path, text: &str, dry_run: bool) -> Result<(), Error> {
    if text.trim().is_empty() {
        return Err(Error::Refused(
            "--ssh-remove-key: an empty text is in every key".to_owned(),
        ));
    }
    change(home, dry_run, |old| {
        let kept = old.lines().filter(|line| !line.contains(text));
        kept.map(|line| format!("{line}\n")).collect()
    })
}

fn is_public_key(line: &str) -> bool {
    let mut words = line.split(' ');
    let kind = words.next().unwrap_or_default();
    ["ssh-", "ecdsa-", "sk-"]
        .iter()
        .any(|prefix| kind.starts_with(prefix))
        && words.next().is_some_and(|key| key.starts_with("AAAA"))
}

fn change(home: &Path, dry_run: bool, edit: impl Fn(&str) -> String) -> Result<(), Error> {
    let dir = home.join(".ssh");
    let path = dir.join("authorized_keys");
    let old = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => return Err(Error::io("read", &path, error)),
    };
    let new = edit(&old);
    if new == old {
        return Ok(());
    }
    if dry_run {
        return Ok(output(format!("would change {}\n", path.display()))?);
    }
    files::create_private_dir(&dir).map_err(|error| Error::io("create", &dir, error))?;
    durable::write(&path, new.as_bytes()).map_err(|error| Error::io("write", &path, error))
}

fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|error| Error::io("read", path, error))
}
