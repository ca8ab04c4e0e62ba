//! Sending one file into the slave's archive.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::process::Stdio;
use std::thread;

use skytools::failpoint;

use super::Slave;
use crate::Error;
use crate::archive::{Announced, Archive, Form};
use crate::config::SlaveConfig;
use crate::digest::Digest;
use crate::names::WalName;
use crate::sets::Sets;

/// Puts a file into the archive; when this returns, it is there for good.
///
/// # Errors
/// It is not, as far as is known.
pub(crate) fn push(slave: &Slave, name: WalName, source: &Path) -> Result<(), Error> {
    let unread = |error| Error::io("read", source, error);
    let mut file = File::open(source).map_err(unread)?;
    let form = slave.form.for_name(name);
    let size = file.metadata().map_err(unread)?.len();
    let mut announced = Announced {
        name,
        size,
        digest: None,
        form,
    };
    if !slave.is_here() || form != Form::Plain {
        announced.digest = Some(Digest::of(&mut file).map_err(unread)?.0);
        file.seek(SeekFrom::Start(0)).map_err(unread)?;
    }
    failpoint::step("xarchive.read");
    match slave.is_here() {
        true => put(slave, &announced, file)?,
        false => send(slave, &announced, file, source)?,
    }
    failpoint::step("xarchive.sent");
    Ok(())
}

/// Into an archive of this host.
fn put(slave: &Slave, announced: &Announced, mut file: File) -> Result<(), Error> {
    let config = SlaveConfig::load(Path::new(slave.config()))?;
    let sets = Sets::new(&config);
    let archive = Archive::new(&config.completed_wals);
    let has_sets = || sets.has_marked();
    if announced.form == Form::Plain {
        archive.receive(announced, &mut file, has_sets)?;
        return Ok(());
    }
    let (mut compressed, to) = io::pipe()?;
    thread::scope(|scope| {
        // Whoever reads it sees if it ends too early, and why is seen next time.
        scope.spawn(move || announced.form.encode(&mut file, to));
        let received = archive.receive(announced, &mut compressed, has_sets);
        drop(compressed);
        received
    })?;
    Ok(())
}

/// By `xreceive` on the slave: only its own word counts, beside the exit code.
fn send(slave: &Slave, announced: &Announced, mut file: File, source: &Path) -> Result<(), Error> {
    let Announced {
        name,
        size,
        digest: Some(digest),
        form,
    } = announced
    else {
        return Err(Error::Refused("a file without a digest".to_owned()));
    };
    let (name, size, digest) = (name.to_string(), size.to_string(), digest.to_string());
    let args = ["xreceive", &name, &size, &digest, "--form", form.word()];
    let mut child = slave
        .command(true, &args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| slave.unstarted(&args, &error))?;
    // Whatever it says must be read while it is written to, or both wait for each other.
    let said = child
        .stdout
        .take()
        .map(|pipe| thread::spawn(|| text_of(pipe)));
    let complained = child
        .stderr
        .take()
        .map(|pipe| thread::spawn(|| text_of(pipe)));
    let sent = match child.stdin.take() {
        Some(stdin) => form.encode(&mut file, stdin),
        None => Err(std::io::ErrorKind::BrokenPipe.into()),
    };
    failpoint::step("xarchive.written");
    let status = child
        .wait()
        .map_err(|error| slave.unstarted(&args, &error))?;
    let joined = |thread: Option<thread::JoinHandle<String>>| {
        thread
            .and_then(|thread| thread.join().ok())
            .unwrap_or_default()
    };
    let (said, complained) = (joined(said), joined(complained));
    let word = format!("ok {name} {digest}");
    let is_taken = said.lines().any(|line| line == word);
    if status.success() && is_taken {
        return match sent {
            Ok(()) => Ok(()),
            Err(error) => Err(Error::io("send", source, error)),
        };
    }
    Err(Error::Program {
        what: format!("{} of {name}", slave.what(&args)),
        problem: match status.success() {
            true => format!("it did not say that it has the file: '{}'", said.trim()),
            false => slave.ending(status, &complained),
        },
    })
}

/// All that a program says; as much as came before an error is what there is.
pub(super) fn text_of(mut pipe: impl Read) -> String {
    let mut text = Vec::new();
    let _ = pipe.read_to_end(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}
