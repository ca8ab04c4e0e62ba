use std::io;

use super::Work;
use super::xarchive::parse_name;
use crate::Error;
use crate::archive::{Announced, Archive, Form};
use crate::digest::{Digest, NotADigest};
use crate::names::WalName;
use crate::sets::Sets;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[arg(value_parser = parse_name)]
    name: WalName,
    /// Bytes that will come on stdin
    size: u64,
    /// Their SHA-256
    #[arg(value_parser = parse_digest)]
    digest: Digest,
    /// How they come, and are kept
    #[arg(long, value_enum, default_value_t)]
    form: Form,
}

fn parse_digest(text: &str) -> Result<Digest, NotADigest> {
    text.parse()
}

pub(super) fn run(work: &mut Work<'_>, args: &Args) -> Result<(), Error> {
    let config = work.slave("xreceive")?;
    let Args {
        name,
        size,
        digest,
        form,
    } = *args;
    if work.options.not_really {
        return Ok(skytools::app::output(format!("would receive {name}\n"))?);
    }
    let announced = Announced {
        name,
        size,
        digest: Some(digest),
        form,
    };
    let sets = Sets::new(config);
    Archive::new(&config.completed_wals)
        .receive(&announced, &mut io::stdin().lock(), || sets.has_marked())?;
    Ok(skytools::app::output(format!("ok {name} {digest}\n"))?)
}
