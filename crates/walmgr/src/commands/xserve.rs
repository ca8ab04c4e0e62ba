use std::io;

use skytools::app::chain;
use tracing::warn;

use super::Work;
use crate::Error;
use crate::archive::{Announced, Archive, Form};
use crate::backup::Taker;
use crate::channel::{Ahead, Hello, Payload, Reply, Request, VERSION, read_line, read_value};
use crate::config::SlaveConfig;
use crate::names::NotAName;
use crate::partial::{self, Piece, Taken};
use crate::sets::Sets;

/// Serves requests on stdin until it ends.
pub(super) fn run(work: &mut Work<'_>) -> Result<(), Error> {
    let config = work.slave("xserve")?;
    if work.options.not_really {
        return Ok(skytools::app::output("would serve requests\n")?);
    }
    let mut input = Ahead::new(io::stdin());
    answer(&Hello::ours())?;
    match read_value(&mut input)? {
        Some(Hello { walmgr: VERSION }) => {}
        Some(Hello { walmgr }) => {
            return Err(Error::Refused(format!(
                "the other side speaks version {walmgr}, and this one {VERSION}: install the same walmgr on \
                 both hosts"
            )));
        }
        None => return Ok(()),
    }
    let mut taker = None;
    while let Some(line) = read_line(&mut input)? {
        let mut payload = Payload::new(&mut input);
        let reply = match serde_json::from_str(&line) {
            Ok(Request::Receive {
                name,
                size,
                sha256,
                form,
            }) => match receive(config, (&name, size, &sha256, form), &mut payload) {
                Ok(()) => Reply {
                    ok: true,
                    name,
                    sha256,
                    ..Reply::default()
                },
                Err(error) => failure(name, &chain(&error).to_string()),
            },
            Ok(Request::Partial {
                name,
                offset,
                bytes,
            }) => match receive_part(config, (&name, offset, bytes), &mut payload) {
                Ok(taken) => Reply {
                    ok: true,
                    name,
                    complete: taken == Taken::Complete,
                    ..Reply::default()
                },
                Err(error) => failure(name, &chain(&error).to_string()),
            },
            Ok(Request::Copy { lock }) => match Taker::open(config, &lock) {
                Ok(opened) => {
                    taker = Some(opened);
                    Reply {
                        ok: true,
                        ..Reply::default()
                    }
                }
                Err(error) => failure(String::new(), &chain(&error).to_string()),
            },
            Ok(request) => match taker
                .as_ref()
                .map(|taker| taker.take(request, &mut payload))
            {
                Some(Ok(reply)) => reply,
                Some(Err(error)) => failure(String::new(), &chain(&error).to_string()),
                None => failure(String::new(), "no copy has been begun"),
            },
            Err(error) => failure(String::new(), &format!("unknown request: {error}")),
        };
        payload.finish()?;
        answer(&reply)?;
    }
    Ok(())
}

fn receive(
    config: &SlaveConfig,
    (name, size, sha256, form): (&str, u64, &str, Form),
    payload: &mut impl io::Read,
) -> Result<(), Error> {
    let wrong = |error: &dyn std::error::Error| Error::Refused(error.to_string());
    let announced = Announced {
        name: name.parse().map_err(|error| wrong(&error))?,
        size,
        digest: Some(sha256.parse().map_err(|error| wrong(&error))?),
        form,
    };
    let sets = Sets::new(config);
    Archive::new(&config.completed_wals).receive(&announced, payload, || sets.has_marked())?;
    Ok(())
}

fn receive_part(
    config: &SlaveConfig,
    (name, offset, bytes): (&str, u64, u64),
    payload: &mut impl io::Read,
) -> Result<Taken, Error> {
    let segment = name
        .parse()
        .map_err(|error: NotAName| Error::Refused(error.to_string()))?;
    let piece = Piece {
        segment,
        offset,
        bytes,
    };
    partial::receive(config, &piece, payload)
}

fn failure(name: String, error: &str) -> Reply {
    warn!(name, "{error}");
    Reply {
        name,
        error: error.to_owned(),
        ..Reply::default()
    }
}

fn answer(value: &impl serde::Serialize) -> io::Result<()> {
    let text = serde_json::to_string(value)?;
    skytools::app::output(format!("{text}\n"))
}
