use std::fmt::Write as _;
use std::io;

use super::Work;
use super::xpurge::parse_segment;
use crate::archive::Listing;
use crate::names::Segment;
use crate::partial::{self, Piece, Taken};
use crate::{Error, receiver};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[arg(value_parser = parse_segment)]
    name: Segment,
    /// Where the bytes begin
    offset: u64,
    /// Bytes that will come on stdin
    bytes: u64,
}

/// `xpartialsync`
pub(super) fn run(work: &mut Work<'_>, args: &Args) -> Result<(), Error> {
    let config = work.slave("xpartialsync")?;
    let piece = Piece {
        segment: args.name,
        offset: args.offset,
        bytes: args.bytes,
    };
    if work.options.not_really {
        return Ok(skytools::app::output(format!("would receive {piece:?}\n"))?);
    }
    let word = match partial::receive(config, &piece, &mut io::stdin().lock())? {
        Taken::Stored => "ok",
        Taken::Complete => "complete",
    };
    Ok(skytools::app::output(format!("{word} {}\n", args.name))?)
}

/// `xwals`: what is here, for the master.
pub(super) fn list(work: &mut Work<'_>) -> Result<(), Error> {
    let config = work.slave("xwals")?;
    let mut text = String::new();
    for name in Listing::read(&config.completed_wals)?.names() {
        let _ = writeln!(text, "complete {name}");
    }
    for segment in partial::names(config) {
        let _ = writeln!(
            text,
            "partial {segment} {}",
            partial::length(config, segment)
        );
    }
    // The last page may be empty as well as full.
    for (name, length) in receiver::unfinished(config) {
        let _ = writeln!(text, "streamed {name} {}", length.saturating_sub(8192));
    }
    Ok(skytools::app::output(text)?)
}
